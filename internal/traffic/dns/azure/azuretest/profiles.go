package azuretest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	wire "github.com/miekg/dns"

	"github.com/crossfade-dev/crossfade/internal/traffic/dns/bindtest"
)

// Profile is a profile of Traffic Manager in JSON.
type Profile struct {
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	Type       string            `json:"type"`
	Location   string            `json:"location"`
	Tags       map[string]string `json:"tags,omitempty"`
	Properties struct {
		ProfileStatus        string `json:"profileStatus"`
		TrafficRoutingMethod string `json:"trafficRoutingMethod"`
		DNSConfig            struct {
			RelativeName string `json:"relativeName"`
			FQDN         string `json:"fqdn"`
			TTL          int    `json:"ttl"`
		} `json:"dnsConfig"`
		MonitorConfig struct {
			ProfileMonitorStatus string `json:"profileMonitorStatus,omitempty"`
			Protocol             string `json:"protocol"`
			Port                 int    `json:"port"`
			Path                 string `json:"path,omitempty"`
		} `json:"monitorConfig"`
		Endpoints []Endpoint `json:"endpoints"`
	} `json:"properties"`
}

// Endpoint is one of a profile in JSON.
type Endpoint struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	Type       string `json:"type"`
	Properties struct {
		EndpointStatus        string `json:"endpointStatus"`
		EndpointMonitorStatus string `json:"endpointMonitorStatus"`
		AlwaysServe           string `json:"alwaysServe,omitempty"`
		Target                string `json:"target"`
		Weight                int    `json:"weight"`
		Priority              int    `json:"priority"`
	} `json:"properties"`
}

// profiles is where those of the resource group are, and trafficManager the zone with their names.
const (
	profiles       = "/subscriptions/" + Subscription + "/resourceGroups/" + ResourceGroup + "/providers/Microsoft.Network/trafficmanagerprofiles/"
	trafficManager = ".trafficmanager.net."
)

// label is what names of profiles look like.
var label = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9-]{0,61}[a-zA-Z0-9]$`)

// PutProfile changes a profile as somebody else does, and has none where the change says so.
func (a *Server) PutProfile(name string, change func(*Profile) (there bool)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.profiles[name]
	p.Properties.Endpoints = slices.Clone(p.Properties.Endpoints)
	there := change(&p)
	a.keepProfile(name, p, there)
}

// ProfileNames are the names of its profiles.
func (a *Server) ProfileNames() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Sorted(maps.Keys(a.profiles))
}

// keepProfile makes a profile what is at a name, or has none there, and the servers have it later.
func (a *Server) keepProfile(name string, p Profile, there bool) {
	a.writes++
	if delete(a.profiles, name); there {
		p.ID, p.Name, p.Type = profiles+name, name, "Microsoft.Network/trafficManagerProfiles"
		p.Properties.DNSConfig.FQDN = p.Properties.DNSConfig.RelativeName + strings.TrimSuffix(trafficManager, ".")
		p.Properties.MonitorConfig.ProfileMonitorStatus = "Online"
		for i := range p.Properties.Endpoints {
			e := &p.Properties.Endpoints[i]
			e.ID, e.Properties.EndpointMonitorStatus, e.Properties.Priority = profiles+name+"/externalEndpoints/"+e.Name, "Unmonitored", i+1
		}
		a.profiles[name] = p
	}
	a.later("profile/"+name, func() {
		if delete(a.servedProfiles, name); there {
			a.servedProfiles[name] = p
		}
	})
}

// later has something show itself now, or once the lag of a key is over.
func (a *Server) later(key string, show func()) {
	if a.Lag == nil {
		show()
		return
	}
	a.lag.Add(1)
	time.AfterFunc(a.Lag(key), func() {
		defer a.lag.Done()
		a.mu.Lock()
		defer a.mu.Unlock()
		show()
	})
}

// profile answers a request for a profile.
func (a *Server) profile(w http.ResponseWriter, r *http.Request, name string) {
	p, there := a.profiles[name]
	switch {
	case r.URL.Query().Get("api-version") != "2022-04-01":
		wrapped(w, http.StatusBadRequest, "InvalidApiVersionParameter", "The api-version is invalid.")
	case r.Method == http.MethodGet && !there:
		wrapped(w, http.StatusNotFound, "ResourceNotFound", "The Resource 'Microsoft.Network/trafficmanagerprofiles/"+name+"' was not found.")
	case r.Method == http.MethodGet:
		_ = json.NewEncoder(w).Encode(p)
	case r.Method == http.MethodDelete && !there:
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodDelete:
		a.keepProfile(name, p, false)
	case r.Method == http.MethodPut:
		a.putProfile(w, r, name)
	default:
		wrapped(w, http.StatusMethodNotAllowed, "MethodNotAllowed", r.Method)
	}
}

// putProfile makes a profile that of the request, all of it.
func (a *Server) putProfile(w http.ResponseWriter, r *http.Request, name string) {
	var p Profile
	if err := json.NewDecoder(r.Body).Decode(&p); err != nil {
		wrapped(w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	_, there := a.profiles[name]
	if a.Taken == p.Properties.DNSConfig.RelativeName && !there {
		wrapped(w, http.StatusConflict, "Conflict", "Domain name "+a.Taken+".trafficmanager.net is not available. Please choose a different DNS prefix.")
		return
	}
	if wrong := p.wrong(name); wrong != "" {
		wrapped(w, http.StatusBadRequest, "BadRequest", wrong)
		return
	}
	a.keepProfile(name, p, true)
	if !there {
		w.WriteHeader(http.StatusCreated)
	}
	_ = json.NewEncoder(w).Encode(a.profiles[name])
}

// wrong says what of a profile the API does not take; "" for nothing.
func (p Profile) wrong(name string) string {
	q := p.Properties
	switch {
	case p.Location != "global":
		return "The location must be global."
	case !label.MatchString(name) || !label.MatchString(q.DNSConfig.RelativeName):
		return "The name is invalid."
	case q.DNSConfig.TTL < 0 || q.MonitorConfig.Port < 1 || q.MonitorConfig.Protocol == "TCP" && q.MonitorConfig.Path != "" || q.MonitorConfig.Protocol == "":
		return "The dnsConfig or the monitorConfig is invalid."
	case q.TrafficRoutingMethod != "Weighted" || q.ProfileStatus == "":
		return "The trafficRoutingMethod or the profileStatus is invalid."
	}
	names, targets := map[string]bool{}, map[string]bool{}
	for _, e := range q.Endpoints {
		if !strings.HasSuffix(e.Type, "/externalEndpoints") {
			return fmt.Sprintf("The endpoint %s is of the type %q.", e.Name, e.Type)
		}
		if e.Properties.Weight < 1 || e.Properties.Weight > 1000 || e.Properties.Target == "" || names[e.Name] || targets[e.Properties.Target] {
			return fmt.Sprintf("The endpoint %s has the weight %d, or its name or its target is there twice.", e.Name, e.Properties.Weight)
		}
		names[e.Name], targets[e.Properties.Target] = true, true
	}
	return ""
}

// relayed is the record by which a profile leads on, one of its endpoints by their weights; nil for none.
func (a *Server) relayed(name string) *wire.CNAME {
	p := a.servedProfiles[strings.TrimSuffix(name, trafficManager)]
	if len(p.Properties.Endpoints) == 0 {
		return nil
	}
	chosen := bindtest.Pick(p.Properties.Endpoints, func(e Endpoint) int { return e.Properties.Weight })
	return &wire.CNAME{
		Hdr:    wire.RR_Header{Name: name, Rrtype: wire.TypeCNAME, Class: wire.ClassINET, Ttl: uint32(p.Properties.DNSConfig.TTL)},
		Target: wire.Fqdn(chosen.Properties.Target),
	}
}

// relay answers a question as one of the servers of Traffic Manager.
func (a *Server) relay(w wire.ResponseWriter, m *wire.Msg) {
	a.mu.Lock()
	defer a.mu.Unlock()
	reply := new(wire.Msg).SetReply(m)
	reply.Authoritative = true
	name := wire.CanonicalName(m.Question[0].Name)
	switch led := a.relayed(name); {
	case !strings.HasSuffix(name, trafficManager):
		reply.Rcode = wire.RcodeRefused
	case led == nil:
		reply.Rcode = wire.RcodeNameError
	default:
		reply.Answer = []wire.RR{led}
	}
	_ = w.WriteMsg(reply) // who asks sees it
}
