// Package azuretest is a server that speaks the wire format of Azure DNS and Traffic Manager and keeps their rules, for tests.
package azuretest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	wire "github.com/miekg/dns"

	"github.com/crossfade-dev/crossfade/internal/traffic/dns/bindtest"
)

// What every server has: the zone example.com, where it is, and who may change it.
const (
	Subscription  = "0b1f6471-1bf0-4dda-aec3-111122223333"
	ResourceGroup = "dns-production"
	Token         = "geheim.eyJ0eXAiOiJKV1Qi"
)

// perAsk are the sets in one answer, so that there are pages.
const perAsk = 5

// Set is a record set in JSON.
type Set struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Type       string     `json:"type"`
	Etag       string     `json:"etag"`
	Properties Properties `json:"properties"`
}

// Properties are those of a record set in JSON. The API writes some of them otherwise than it documents them, which clients must not mind.
type Properties struct {
	Metadata       map[string]string `json:"metadata,omitempty"`
	FQDN           string            `json:"fqdn"`
	TTL            int               `json:"TTL"`
	A              []Record          `json:"ARecords,omitempty"`
	AAAA           []Record          `json:"AAAARecords,omitempty"`
	CNAME          *Record           `json:"CNAMERecord,omitempty"`
	NS             []Record          `json:"NSRecords,omitempty"`
	MX             []Record          `json:"MXRecords,omitempty"`
	TXT            []Record          `json:"TXTRecords,omitempty"`
	TargetResource struct {
		ID string `json:"id,omitempty"`
	} `json:"targetResource"`
	Provisioning string `json:"provisioningState"`
}

// Record is a record in JSON, of any type.
type Record struct {
	IPv4Address string   `json:"ipv4Address,omitempty"`
	IPv6Address string   `json:"ipv6Address,omitempty"`
	Cname       string   `json:"cname,omitempty"`
	Nsdname     string   `json:"nsdname,omitempty"`
	Exchange    string   `json:"exchange,omitempty"`
	Preference  int      `json:"preference,omitempty"`
	Value       []string `json:"value,omitempty"`
}

// Server is Azure DNS for a test: its API by HTTPS, with its rules, and its name servers by UDP. Beside it is Traffic Manager.
type Server struct {
	DNS    *bindtest.Server // its name servers; who asks them for recursion gets what a resolver tells of shares: where they lead, and not by whom
	Relay  *bindtest.Server // those of Traffic Manager
	HTTP   *httptest.Server // its API
	mu     sync.Mutex
	sets   map[string]Set // by type and name, such as CNAME/www
	served map[string]Set // as the name servers have them
	writes uint32
	// profiles are those of Traffic Manager by their names, servedProfiles as its servers have them, and Taken is a name that somebody else in the
	// world has.
	profiles, servedProfiles map[string]Profile
	Taken                    string
	// Trouble answers in place of the API, and says whether it did; nil for never. What is lost is done, and nobody is told.
	Trouble func(w http.ResponseWriter, r *http.Request) bool
	Lost    func(r *http.Request) bool
	// Lag is how much later the name servers have a change of a set; nil for at once.
	Lag func(key string) time.Duration
	lag sync.WaitGroup
}

// Start starts one with records that a test adds to the zone, as lines of a zone file.
func Start(t *testing.T, more string) *Server {
	t.Helper()
	a := &Server{sets: map[string]Set{}, profiles: map[string]Profile{}, servedProfiles: map[string]Profile{}}
	zone := wire.NewZoneParser(strings.NewReader("$TTL 60\n@ IN NS ns1\nns1 IN A 127.0.0.1\nwww IN A 10.9.9.9\nmail IN MX 10 www\n"+more), bindtest.Zone+".", "")
	for rr, ok := zone.Next(); ok; rr, ok = zone.Next() {
		kind := wire.TypeToString[rr.Header().Rrtype]
		relative := strings.TrimSuffix(strings.TrimSuffix(rr.Header().Name, bindtest.Zone+"."), ".")
		if relative == "" {
			relative = "@"
		}
		set := a.sets[kind+"/"+relative]
		set.Properties.TTL = int(rr.Header().Ttl)
		set.Properties.add(rr)
		a.keep(kind+"/"+relative, set)
	}
	if zone.Err() != nil {
		t.Fatal(zone.Err())
	}
	a.writes = 0
	a.served = maps.Clone(a.sets)
	a.HTTP = httptest.NewTLSServer(a)
	t.Cleanup(func() { a.HTTP.Close(); a.lag.Wait() })
	a.DNS, a.Relay = &bindtest.Server{Address: Serve(t, a.answer)}, &bindtest.Server{Address: Serve(t, a.relay)}
	return a
}

// Serve answers DNS by UDP for the time of a test, at the address that it returns.
func Serve(t *testing.T, answer wire.HandlerFunc) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &wire.Server{PacketConn: c, Handler: answer}
	done := make(chan error)
	go func() { done <- server.ActivateAndServe() }()
	t.Cleanup(func() { c.Close(); <-done })
	return c.LocalAddr().String()
}

// add adds a record to those of a set.
func (p *Properties) add(rr wire.RR) {
	switch rr := rr.(type) {
	case *wire.A:
		p.A = append(p.A, Record{IPv4Address: rr.A.String()})
	case *wire.AAAA:
		p.AAAA = append(p.AAAA, Record{IPv6Address: rr.AAAA.String()})
	case *wire.CNAME:
		p.CNAME = &Record{Cname: rr.Target}
	case *wire.NS:
		p.NS = append(p.NS, Record{Nsdname: rr.Ns})
	case *wire.MX:
		p.MX = append(p.MX, Record{Exchange: rr.Mx, Preference: int(rr.Preference)})
	case *wire.TXT:
		p.TXT = append(p.TXT, Record{Value: rr.Txt})
	}
}

// keep makes a set what is at a key, and the name servers have it later.
func (a *Server) keep(key string, set Set) {
	kind, relative, _ := strings.Cut(key, "/")
	a.writes++
	set.ID = base + "/" + key
	set.Name, set.Type, set.Etag = relative, "Microsoft.Network/dnszones/"+kind, fmt.Sprintf("00000000-0000-0000-0000-%012d", a.writes)
	set.Properties.FQDN, set.Properties.Provisioning = strings.TrimPrefix(relative+"."+bindtest.Zone+".", "@."), "Succeeded"
	a.sets[key] = set
	a.serve(key)
}

// drop deletes what is at a key, and the name servers do later.
func (a *Server) drop(key string) {
	a.writes++
	delete(a.sets, key)
	a.serve(key)
}

// serve has the name servers have a set as it is now, or once the lag is over.
func (a *Server) serve(key string) {
	if a.served == nil {
		return
	}
	set, there := a.sets[key]
	a.later(key, func() {
		if delete(a.served, key); there {
			a.served[key] = set
		}
	})
}

// Put changes a set as somebody else does.
func (a *Server) Put(key string, change func(*Set)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	set := a.sets[key]
	change(&set)
	a.keep(key, set)
}

// Get is a set as it is.
func (a *Server) Get(key string) Set {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sets[key]
}

// base is the path of the zone.
const base = "/subscriptions/" + Subscription + "/resourceGroups/" + ResourceGroup + "/providers/Microsoft.Network/dnsZones/" + bindtest.Zone

// ServeHTTP answers a request of the API.
func (a *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if a.Trouble != nil && a.Trouble(w, r) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.Lost != nil && a.Lost(r) {
		defer Refuse(w, http.StatusBadGateway, "BadGateway", "lost")
		w = httptest.NewRecorder()
	}
	key, inside := strings.CutPrefix(r.URL.Path, base+"/")
	profile, beside := strings.CutPrefix(r.URL.Path, profiles)
	switch {
	case r.Header.Get("Authorization") != "Bearer "+Token:
		wrapped(w, http.StatusUnauthorized, "InvalidAuthenticationToken", "The access token "+r.Header.Get("Authorization")+" is invalid.")
	case beside:
		a.profile(w, r, profile)
	case r.URL.Query().Get("api-version") != "2018-05-01":
		wrapped(w, http.StatusBadRequest, "InvalidApiVersionParameter", "The api-version is invalid.")
	case !strings.HasPrefix(r.URL.Path, "/subscriptions/"+Subscription+"/"):
		wrapped(w, http.StatusNotFound, "SubscriptionNotFound", "The subscription could not be found.")
	case !strings.HasPrefix(r.URL.Path, "/subscriptions/"+Subscription+"/resourceGroups/"+ResourceGroup+"/"):
		wrapped(w, http.StatusNotFound, "ResourceGroupNotFound", "Resource group could not be found.")
	case !inside:
		wrapped(w, http.StatusNotFound, "ParentResourceNotFound", "Failed to perform 'read' on resource(s) of type 'dnszones/all', because the parent resource could not be found.")
	case key == "all" && r.Method == http.MethodGet:
		a.list(w, r)
	case r.Method == http.MethodPut:
		a.put(w, r, key)
	case r.Method == http.MethodDelete:
		a.delete(w, r, key)
	default:
		wrapped(w, http.StatusMethodNotAllowed, "MethodNotAllowed", r.Method)
	}
}

// Refuse answers an error as Azure DNS does, and wrapped does as Azure Resource Manager, which stands before it.
func Refuse(w http.ResponseWriter, status int, code, message string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"code": code, "message": message})
}

func wrapped(w http.ResponseWriter, status int, code, message string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]string{"code": code, "message": message}})
}

// list answers a page of sets.
func (a *Server) list(w http.ResponseWriter, r *http.Request) {
	keys := slices.Sorted(maps.Keys(a.sets))
	from := r.URL.Query().Get("$skiptoken")
	keys = slices.DeleteFunc(keys, func(key string) bool { return key < from })
	page := struct {
		NextLink string `json:"nextLink,omitempty"`
		Value    []Set  `json:"value"`
	}{}
	if len(keys) > perAsk {
		page.NextLink = fmt.Sprintf("%s%s/all?api-version=2018-05-01&$skiptoken=%s", a.HTTP.URL, base, url.QueryEscape(keys[perAsk]))
		keys = keys[:perAsk]
	}
	for _, key := range keys {
		page.Value = append(page.Value, a.sets[key])
	}
	_ = json.NewEncoder(w).Encode(page)
}

// holds reports whether the condition of a request holds, and says where it does not.
func (a *Server) holds(w http.ResponseWriter, r *http.Request, key string) bool {
	set, there := a.sets[key]
	match, none := r.Header.Get("If-Match"), r.Header.Get("If-None-Match")
	switch {
	case none == "*" && there:
		Refuse(w, http.StatusPreconditionFailed, "PreconditionFailed", "The condition '*' in the If-None-Match header was not satisfied. The current was '"+set.Etag+"'.")
		return false
	case match != "" && (!there || match != "*" && match != set.Etag):
		Refuse(w, http.StatusPreconditionFailed, "PreconditionFailed", "The condition '"+match+"' in the If-Match header was not satisfied. The current was '"+set.Etag+"'.")
		return false
	}
	return true
}

// put makes a set that of the request, all of it.
func (a *Server) put(w http.ResponseWriter, r *http.Request, key string) {
	var set Set
	if err := json.NewDecoder(r.Body).Decode(&set); err != nil {
		Refuse(w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	if !a.holds(w, r, key) {
		return
	}
	kind, relative, _ := strings.Cut(key, "/")
	for other := range a.sets {
		otherKind, at, _ := strings.Cut(other, "/")
		switch {
		case at != relative || otherKind == kind:
		case kind == "CNAME":
			Refuse(w, http.StatusConflict, "Conflict", "The CNAME record could not be created because another record with the same name already exists in this zone.")
			return
		case otherKind == "CNAME":
			Refuse(w, http.StatusConflict, "Conflict", "The record could not be created because a CNAME record with the same name already exists in this zone.")
			return
		}
	}
	if wrong := set.Properties.wrong(kind); wrong != "" {
		Refuse(w, http.StatusBadRequest, "BadRequest", wrong)
		return
	}
	status := http.StatusOK
	if _, there := a.sets[key]; !there {
		status = http.StatusCreated
	}
	a.keep(key, set)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(a.sets[key])
}

// wrong says what of the properties of a set the API does not take; "" for nothing.
func (p Properties) wrong(kind string) string {
	counts := map[string]int{"A": len(p.A), "AAAA": len(p.AAAA), "TXT": len(p.TXT), "NS": len(p.NS), "MX": len(p.MX), "CNAME": 0}
	if p.CNAME != nil {
		counts["CNAME"] = 1
	}
	for other, n := range counts {
		if n > 20 || other != kind && n > 0 || other == kind && n == 0 {
			return fmt.Sprintf("The record set of type '%s' has %d records of type '%s'.", kind, n, other)
		}
	}
	if p.TTL < 1 {
		return "The TTL is invalid."
	}
	for _, record := range p.TXT {
		if len(strings.Join(record.Value, "")) > 4096 || slices.ContainsFunc(record.Value, func(part string) bool { return len(part) > 255 }) {
			return "The TXT record is too long."
		}
	}
	for _, record := range slices.Concat(p.A, p.AAAA) {
		if net.ParseIP(record.IPv4Address+record.IPv6Address) == nil {
			return "The address is invalid."
		}
	}
	return ""
}

// delete deletes a set; that which is not there is gone.
func (a *Server) delete(w http.ResponseWriter, r *http.Request, key string) {
	if _, there := a.sets[key]; !there && r.Header.Get("If-Match") == "" {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if a.holds(w, r, key) {
		a.drop(key)
	}
}

// answer answers a question as one of its name servers: CNAMEs within the zone are followed.
func (a *Server) answer(w wire.ResponseWriter, m *wire.Msg) {
	a.mu.Lock()
	defer a.mu.Unlock()
	reply := new(wire.Msg).SetReply(m)
	reply.Authoritative = true
	name := wire.CanonicalName(m.Question[0].Name)
	for range 8 {
		if strings.HasSuffix(name, trafficManager) && m.RecursionDesired && m.Question[0].Qtype != wire.TypeCNAME {
			if led := a.relayed(name); led != nil {
				first := reply.Answer[len(reply.Answer)-1].(*wire.CNAME)
				first.Target, first.Hdr.Ttl, name = led.Target, led.Hdr.Ttl, led.Target
				continue
			}
			reply.Answer = nil // there is no such profile
			break
		}
		led := a.at(name, "CNAME")
		rrs := led
		if len(led) == 0 || m.Question[0].Qtype == wire.TypeCNAME {
			rrs, led = a.at(name, wire.TypeToString[m.Question[0].Qtype]), nil
		}
		reply.Answer = append(reply.Answer, rrs...)
		if len(led) == 0 {
			break
		}
		name = wire.CanonicalName(led[0].(*wire.CNAME).Target)
	}
	if len(reply.Answer) == 0 {
		reply.Rcode = wire.RcodeNameError
		source := a.source(name)
		for _, set := range a.served {
			if set.Properties.FQDN == source {
				reply.Rcode = wire.RcodeSuccess
			}
		}
	}
	_ = w.WriteMsg(reply) // who asks sees it
}

// source is the name whose records its name servers answer for a name.
func (a *Server) source(name string) string {
	var names []string
	for _, set := range a.served {
		names = append(names, set.Properties.FQDN)
	}
	return bindtest.Source(names, name)
}

// at are the records of a type that its name servers answer for a name.
func (a *Server) at(name, kind string) []wire.RR {
	source := a.source(name)
	for _, set := range a.served {
		if set.Properties.FQDN == source && strings.HasSuffix(set.Type, "/"+kind) {
			rrs := set.records()
			for _, rr := range rrs {
				rr.Header().Name = name
			}
			return rrs
		}
	}
	return nil
}

// records are those of a set.
func (s Set) records() []wire.RR {
	p := s.Properties
	all := slices.Concat(p.A, p.AAAA, p.NS, p.MX, p.TXT)
	if p.CNAME != nil {
		all = append(all, *p.CNAME)
	}
	var rrs []wire.RR
	for _, r := range all {
		says := r.IPv4Address + r.IPv6Address
		switch {
		case r.Cname+r.Nsdname != "":
			says = wire.Fqdn(r.Cname + r.Nsdname)
		case r.Exchange != "":
			says = strconv.Itoa(r.Preference) + " " + wire.Fqdn(r.Exchange)
		case len(r.Value) > 0:
			says = `"` + strings.Join(r.Value, `" "`) + `"`
		}
		rr, err := wire.NewRR(fmt.Sprintf("%s %d %s %s", p.FQDN, p.TTL, s.Type[strings.LastIndex(s.Type, "/")+1:], says))
		if err != nil {
			panic(err)
		}
		rrs = append(rrs, rr)
	}
	return rrs
}

// All are the records of the zone, a line each.
func (a *Server) All(*testing.T) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var lines []string
	for _, set := range a.sets {
		for _, rr := range set.records() {
			lines = append(lines, rr.String())
		}
	}
	for name, p := range a.profiles {
		for _, e := range p.Properties.Endpoints {
			lines = append(lines, fmt.Sprintf("profile %s %d %s %d %s", name, p.Properties.DNSConfig.TTL, e.Name, e.Properties.Weight, e.Properties.Target))
		}
	}
	slices.Sort(lines)
	return lines
}

// Writes counts its changes.
func (a *Server) Writes(*testing.T) uint32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.writes
}
