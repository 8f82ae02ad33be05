// Package route53test is a server that speaks the wire format of Amazon Route 53 and keeps its rules, for tests.
package route53test

import (
	"encoding/xml"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	wire "github.com/miekg/dns"

	"github.com/crossfade-dev/crossfade/internal/traffic/dns/bindtest"
)

// What every server has: the zone example.com, and who may change it.
const (
	HostedZone = "Z0123456789ABCDEFGHIJ"
	KeyID      = "AKIDEXAMPLE"
	Secret     = "geheim+wJalrXUtnFEMI"
)

const (
	perAsk = 5 // sets in one answer, so that there are pages
)

// Set is a ResourceRecordSet in XML.
type Set struct {
	Name            string  `xml:"Name"`
	Type            string  `xml:"Type"`
	SetIdentifier   string  `xml:"SetIdentifier,omitempty"`
	Weight          *int    `xml:"Weight"`
	TTL             int     `xml:"TTL,omitempty"`
	ResourceRecords []Value `xml:"ResourceRecords>ResourceRecord"`
	Alias           *struct {
		DNSName string `xml:"DNSName"`
	} `xml:"AliasTarget"`
	HealthCheckID string `xml:"HealthCheckId,omitempty"`
}

// Value is a ResourceRecord in XML.
type Value struct{ Value string }

// values are those of a set, in order.
func (s Set) values() []string {
	var all []string
	for _, v := range s.ResourceRecords {
		all = append(all, v.Value)
	}
	slices.Sort(all)
	return all
}

func (s Set) key() string { return strings.Join([]string{s.Name, s.Type, s.SetIdentifier}, " ") }

// same reports whether a set is the one that a DELETE describes.
func (s Set) same(o Set) bool {
	weight := func(r Set) int {
		if r.Weight == nil {
			return -1
		}
		return *r.Weight
	}
	return s.key() == o.key() && s.TTL == o.TTL && weight(s) == weight(o) && s.HealthCheckID == o.HealthCheckID &&
		slices.Equal(s.values(), o.values())
}

// Server is Route 53 for a test: its API by HTTP, with its rules, and its servers by UDP, which have a change once it is INSYNC.
type Server struct {
	DNS      *bindtest.Server // its servers
	HTTP     *httptest.Server // its API
	mu       sync.Mutex
	Sets     []Set // as the API has them
	served   []Set // as the servers have them
	requests int
	changes  uint32
	asks     int                                          // left until the last change is INSYNC
	lag      int                                          // asks before a change is INSYNC
	Trouble  func(r *http.Request) (status int, c string) // an error in place of an answer; nil for none
}

// Start starts one with records that a test adds to the zone, as lines of a zone file.
func Start(t *testing.T, more string) *Server {
	t.Helper()
	a := &Server{lag: 1}
	zone := wire.NewZoneParser(strings.NewReader("$TTL 60\n@ IN SOA ns1 admin 1 60 60 3600 1\n@ IN NS ns1\nns1 IN A 127.0.0.1\nwww IN A 10.9.9.9\nmail IN MX 10 www\n"+more), bindtest.Zone+".", "")
	for rr, ok := zone.Next(); ok; rr, ok = zone.Next() {
		says := Value{strings.TrimPrefix(rr.String(), rr.Header().String())}
		set := Set{Name: rr.Header().Name, Type: wire.TypeToString[rr.Header().Rrtype], TTL: int(rr.Header().Ttl), ResourceRecords: []Value{says}}
		if i := slices.IndexFunc(a.Sets, func(s Set) bool { return s.key() == set.key() }); i >= 0 {
			a.Sets[i].ResourceRecords = append(a.Sets[i].ResourceRecords, says)
		} else {
			a.Sets = append(a.Sets, set)
		}
	}
	if zone.Err() != nil {
		t.Fatal(zone.Err())
	}
	a.served = slices.Clone(a.Sets)
	a.HTTP = httptest.NewServer(a)
	t.Cleanup(a.HTTP.Close)
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a.DNS = &bindtest.Server{Address: c.LocalAddr().String()}
	server := &wire.Server{PacketConn: c, Handler: wire.HandlerFunc(a.answer)}
	done := make(chan error)
	go func() { done <- server.ActivateAndServe() }()
	t.Cleanup(func() { c.Close(); <-done })
	return a
}

// ServeHTTP answers a request of the API.
func (a *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests++
	if a.Trouble != nil {
		if status, code := a.Trouble(r); code != "" {
			refuse(w, status, code, "Rate exceeded")
			return
		}
	}
	path := strings.Trim(strings.TrimPrefix(r.URL.Path, "/2013-04-01/"), "/")
	switch {
	case !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential="+KeyID+"/"):
		refuse(w, http.StatusForbidden, "MissingAuthenticationToken", "Missing Authentication Token")
	case path == "hostedzone/"+HostedZone+"/rrset" && r.Method == http.MethodGet:
		a.list(w, r)
	case path == "hostedzone/"+HostedZone+"/rrset" && r.Method == http.MethodPost:
		a.change(w, r)
	case strings.HasPrefix(path, "hostedzone/"):
		refuse(w, http.StatusNotFound, "NoSuchHostedZone", "No hosted zone found with ID")
	case strings.HasPrefix(path, "change/"):
		if a.asks--; a.asks <= 0 {
			a.served = slices.Clone(a.Sets)
		}
		a.info(w, "GetChangeResponse")
	}
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `<?xml version="1.0"?><ErrorResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>r</RequestId></ErrorResponse>`, code, message)
}

// list answers a page of sets, in order of their reversed names.
func (a *Server) list(w http.ResponseWriter, r *http.Request) {
	place := func(name, kind, id string) string {
		labels := wire.SplitDomainName(name)
		slices.Reverse(labels)
		return strings.Join(labels, ".") + " " + kind + " " + id
	}
	slices.SortFunc(a.Sets, func(x, y Set) int {
		return strings.Compare(place(x.Name, x.Type, x.SetIdentifier), place(y.Name, y.Type, y.SetIdentifier))
	})
	q := r.URL.Query()
	from := slices.IndexFunc(a.Sets, func(s Set) bool {
		return q.Get("name") == "" || place(s.Name, s.Type, s.SetIdentifier) >= place(q.Get("name"), q.Get("type"), q.Get("identifier"))
	})
	page := a.Sets[from:]
	var next Set
	more := len(page) > perAsk
	if more {
		page, next = page[:perAsk], page[perAsk]
	}
	raw, err := xml.Marshal(struct {
		XMLName xml.Name `xml:"ResourceRecordSets"`
		Sets    []Set    `xml:"ResourceRecordSet"`
	}{Sets: page})
	if err != nil {
		panic(err)
	}
	fmt.Fprintf(w, `<?xml version="1.0"?><ListResourceRecordSetsResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/">%s<IsTruncated>%t</IsTruncated><MaxItems>%d</MaxItems>`, raw, more, perAsk)
	if more {
		fmt.Fprintf(w, "<NextRecordName>%s</NextRecordName><NextRecordType>%s</NextRecordType>", next.Name, next.Type)
		if next.SetIdentifier != "" {
			fmt.Fprintf(w, "<NextRecordIdentifier>%s</NextRecordIdentifier>", next.SetIdentifier)
		}
	}
	fmt.Fprint(w, "</ListResourceRecordSetsResponse>")
}

// change makes a batch of changes, or none of them.
func (a *Server) change(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Changes []struct {
			Action string
			Set    Set `xml:"ResourceRecordSet"`
		} `xml:"ChangeBatch>Changes>Change"`
	}
	if err := xml.NewDecoder(r.Body).Decode(&request); err != nil {
		refuse(w, http.StatusBadRequest, "InvalidInput", err.Error())
		return
	}
	if a.asks > 0 {
		refuse(w, http.StatusBadRequest, "PriorRequestNotComplete", "The request was rejected because Route 53 was still processing a prior request.")
		a.asks, a.served = 0, slices.Clone(a.Sets)
		return
	}
	next := slices.Clone(a.Sets)
	var problems []string
	for _, c := range request.Changes {
		i := slices.IndexFunc(next, func(s Set) bool { return s.key() == c.Set.key() })
		at := fmt.Sprintf("[name='%s', type='%s']", c.Set.Name, c.Set.Type)
		switch {
		case c.Action == "DELETE" && i < 0:
			problems = append(problems, "Tried to delete resource record set "+at+" but it was not found")
		case c.Action == "DELETE" && !next[i].same(c.Set):
			problems = append(problems, "Tried to delete resource record set "+at+" but the values provided do not match the current values")
		case c.Action == "DELETE":
			next = slices.Delete(next, i, i+1)
		case c.Action == "CREATE" && i >= 0:
			problems = append(problems, "Tried to create resource record set "+at+" but it already exists")
		case c.Action == "CREATE":
			next = append(next, c.Set)
		default:
			problems = append(problems, "unexpected action "+c.Action)
		}
	}
	if problems = append(problems, rules(next)...); len(problems) > 0 {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `<?xml version="1.0"?><InvalidChangeBatch xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><Messages>`)
		for _, p := range problems {
			fmt.Fprintf(w, "<Message>%s</Message>", p)
		}
		fmt.Fprint(w, `</Messages><RequestId>r</RequestId></InvalidChangeBatch>`)
		return
	}
	a.Sets = next
	a.changes++
	if a.asks = a.lag; a.asks == 0 {
		a.served = slices.Clone(a.Sets)
	}
	a.info(w, "ChangeResourceRecordSetsResponse")
}

// rules are what of the zone as a whole Route 53 does not take.
func rules(sets []Set) []string {
	var problems []string
	names := map[string][]Set{}
	for _, s := range sets {
		names[s.Name] = append(names[s.Name], s)
	}
	for name, at := range names {
		for _, s := range at {
			for _, o := range at {
				if s.Type == o.Type && (s.SetIdentifier == "") != (o.SetIdentifier == "") {
					problems = append(problems, fmt.Sprintf("RRSet with DNS name %s, type %s, SetIdentifier cannot be created as a non-weighted set exists with the same name and type", name, s.Type))
				}
				if s.Type == "CNAME" && o.Type != "CNAME" {
					problems = append(problems, fmt.Sprintf("RRSet of type CNAME with DNS name %s is not permitted as it conflicts with other records with the same DNS name in zone %s", name, bindtest.Zone))
				}
			}
			if s.Alias == nil && s.TTL == 0 || (s.SetIdentifier == "") != (s.Weight == nil) || s.Weight != nil && (*s.Weight < 0 || *s.Weight > 255) {
				problems = append(problems, "Invalid request: TTL, Weight or SetIdentifier of "+name)
			}
			for _, v := range s.values() {
				if s.Type == "TXT" && (!strings.HasPrefix(v, `"`) || slices.ContainsFunc(strings.Split(v, `" "`), func(part string) bool { return len(part) > 257 })) {
					problems = append(problems, "InvalidCharacterString (Value should be enclosed in quotation marks) of "+name)
				}
			}
		}
	}
	return problems
}

func (a *Server) info(w http.ResponseWriter, response string) {
	status := "INSYNC"
	if a.asks > 0 {
		status = "PENDING"
	}
	fmt.Fprintf(w, `<?xml version="1.0"?><%[1]s xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><ChangeInfo><Id>/change/C%[2]d</Id><Status>%[3]s</Status><SubmittedAt>2026-11-21T00:00:00Z</SubmittedAt></ChangeInfo></%[1]s>`, response, a.changes, status)
}

// answer answers a question as one of its servers: CNAMEs within the zone are followed.
func (a *Server) answer(w wire.ResponseWriter, m *wire.Msg) {
	a.mu.Lock()
	defer a.mu.Unlock()
	reply := new(wire.Msg).SetReply(m)
	reply.Authoritative = true
	name := wire.CanonicalName(m.Question[0].Name)
	for range 8 {
		led := pick(a.served, name, "CNAME")
		rrs := led
		if len(led) == 0 || m.Question[0].Qtype == wire.TypeCNAME {
			rrs, led = pick(a.served, name, wire.TypeToString[m.Question[0].Qtype]), nil
		}
		reply.Answer = append(reply.Answer, rrs...)
		if len(led) == 0 {
			break
		}
		name = wire.CanonicalName(led[0].(*wire.CNAME).Target)
	}
	if len(reply.Answer) == 0 && !slices.ContainsFunc(a.served, func(s Set) bool { return s.Name == source(a.served, name) }) {
		reply.Rcode = wire.RcodeNameError
	}
	_ = w.WriteMsg(reply) // who asks sees it
}

// source is the name whose records are answered for a name.
func source(sets []Set, name string) string {
	var names []string
	for _, s := range sets {
		names = append(names, s.Name)
	}
	return bindtest.Source(names, name)
}

// pick is the set that is answered: of weighted ones, one by its weight.
func pick(sets []Set, name, kind string) []wire.RR {
	var all []Set
	from := source(sets, name)
	for _, s := range sets {
		if s.Name == from && s.Type == kind {
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return nil
	}
	chosen := bindtest.Pick(all, func(s Set) int {
		if s.Weight == nil {
			return 0
		}
		return *s.Weight
	})
	var rrs []wire.RR
	for _, v := range chosen.values() {
		if kind == "CNAME" || kind == "NS" {
			v = wire.Fqdn(v)
		}
		rr, err := wire.NewRR(strings.Join([]string{name, strconv.Itoa(chosen.TTL), kind, v}, " "))
		if err != nil {
			panic(err)
		}
		rrs = append(rrs, rr)
	}
	return rrs
}

// All are the records of the zone but its SOA, a line each.
func (a *Server) All(*testing.T) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var lines []string
	for _, s := range a.Sets {
		for _, v := range s.values() {
			weight := ""
			if s.Weight != nil {
				weight = fmt.Sprintf(" %s %d", s.SetIdentifier, *s.Weight)
			}
			if s.Type != "SOA" {
				lines = append(lines, fmt.Sprintf("%s %d IN %s %s%s", s.Name, s.TTL, s.Type, v, weight))
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// Writes counts its changes.
func (a *Server) Writes(*testing.T) uint32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.changes
}
