// Package azure keeps the records of a DNS zone in Azure DNS, and the shares of users in Azure Traffic Manager.
//
// Azure DNS has no batches: every set of records is changed by a request of its own, on condition that its etag is the one that was read,
// or that there is no such set. What somebody else has changed meanwhile is not overwritten, and a CNAME leads elsewhere by one request.
//
// With Traffic Manager, a name whose users have shares is a CNAME to a profile, with an endpoint for each generation that has users. All of a
// profile changes by one request.
package azure

import (
	"context"
	"maps"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/dns/armdns"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/trafficmanager/armtrafficmanager"
	wire "github.com/miekg/dns"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns"
)

// longest is the longest pause before a request is sent again that was throttled or not answered, which happens three times, and callLimit
// bounds one of them.
const (
	longest   = 30 * time.Second
	callLimit = 30 * time.Second
)

// lists bounds how often a zone is listed until two lists are the same.
const lists = 10

// Options say which zone is written to.
type Options struct {
	Zone          string // such as example.com
	Subscription  string // its id
	ResourceGroup string // that the zone is in
	// TrafficManager is whether profiles in the resource group lead shares of the users.
	TrafficManager bool
}

// Backend is a dns.Backend.
type Backend struct {
	zone         string // with a dot at its end
	subscription string
	group        string
	client       *armdns.RecordSetsClient
	profiles     *armtrafficmanager.ProfilesClient // nil without Traffic Manager
	relays       []string                          // its servers; those of its zone unless set
	settles      time.Duration                     // for them to follow; 0 for the usual one
	serveLimit   time.Duration                     // for them to answer a new profile; 0 for the usual one
	say          func(format string, args ...any)
}

var (
	_ dns.Backend    = (*Backend)(nil)
	_ dns.Relay      = (*Backend)(nil)
	_ traffic.Teller = (*Backend)(nil)
)

// New finds where the environment has credentials, and asks nobody.
func New(o Options) (*Backend, error) {
	credential, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return nil, fault.New(fault.Invalid, "cannot use the DNS zone %q: the credentials of Azure cannot be looked for: %s", o.Zone, line(err.Error())).
			WithHint("correct the AZURE_... variables")
	}
	return with(o, credential, arm.ClientOptions{})
}

// with makes a backend that speaks to Azure by a credential and with options of the client.
func with(o Options, credential azcore.TokenCredential, options arm.ClientOptions) (*Backend, error) {
	options.DisableRPRegistration = true // whoever has a zone is registered
	options.Retry = policy.RetryOptions{MaxRetryDelay: longest, TryTimeout: callLimit}
	client, err := armdns.NewRecordSetsClient(o.Subscription, credential, &options)
	b := &Backend{zone: wire.CanonicalName(o.Zone), subscription: o.Subscription, group: o.ResourceGroup, client: client, say: func(string, ...any) {}}
	if err == nil && o.TrafficManager {
		b.profiles, err = armtrafficmanager.NewProfilesClient(o.Subscription, credential, &options)
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "cannot use the DNS zone %q: %s", o.Zone, line(err.Error())).WithHint("correct the router in the configuration")
	}
	return b, nil
}

// Powers says that sets are changed one by one, and that names lead all users or none without Traffic Manager.
func (b *Backend) Powers() dns.Powers {
	if b.profiles == nil {
		return dns.Powers{}
	}
	return dns.Powers{Weighs: true, Relay: b}
}

// Tell has the backend say what it waits for.
func (b *Backend) Tell(say func(format string, args ...any)) { b.say = say }

// String is the resource group of the zone.
func (b *Backend) String() string { return "Azure DNS, resource group " + b.group }

// Open begins a session; nothing is asked yet.
func (b *Backend) Open(context.Context) (dns.Session, error) { return &session{Backend: b}, nil }

// session is the zone as it was listed last.
type session struct {
	*Backend
	sets dns.Records                   // nil where it is to be listed again
	raw  map[dns.Set]*armdns.RecordSet // as Azure has them
	// seen is what the profile of a name was when it was read, nil for none, and settled what its servers are known to have; by name.
	seen, settled map[string]dns.Records
}

// Look lists the zone before see asks for its records. Profiles are read after that: with any of them it is done again, until the zone was the same
// before and after.
func (s *session) Look(ctx context.Context, see func() error) error {
	if err := s.list(ctx); err != nil {
		return err
	}
	for range lists {
		s.seen = nil
		before := s.etags()
		err := see()
		if len(s.seen) == 0 {
			return err
		}
		if again := s.list(ctx); again != nil {
			return again
		}
		if maps.Equal(before, s.etags()) {
			return err
		}
	}
	return changing()
}

// etags are those of all sets of the zone.
func (s *session) etags() map[dns.Set]string {
	etags := map[dns.Set]string{}
	for at, set := range s.raw {
		etags[at] = deref(set.Etag)
	}
	return etags
}

// changing is the error of a zone that cannot be read as it is at one moment.
func changing() error {
	return fault.New(fault.Unavailable, "its record sets change all the time").WithHint("see what else writes to the zone")
}

// list reads all sets of the zone, 100 with each request; where that takes several, until two lists are the same.
func (s *session) list(ctx context.Context) error {
	s.sets = nil
	var before map[dns.Set]string
	for range lists {
		pages, err := s.listOnce(ctx)
		if err != nil {
			return failure(err)
		}
		etags := s.etags()
		if pages == 1 || maps.Equal(etags, before) {
			s.sets = recordsOf(s.raw)
			return nil
		}
		before = etags
	}
	return changing()
}

// listOnce reads all sets of the zone, and returns how many requests that took.
func (s *session) listOnce(ctx context.Context) (requests int, err error) {
	s.raw = map[dns.Set]*armdns.RecordSet{}
	for pages := s.client.NewListAllByDNSZonePager(s.group, s.apex(), nil); pages.More(); requests++ {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return 0, err
		}
		for _, set := range page.Value {
			if set == nil || set.Name == nil || set.Type == nil || set.Properties == nil {
				continue
			}
			kind := (*set.Type)[strings.LastIndex(*set.Type, "/")+1:]
			s.raw[dns.Set{Name: s.absolute(*set.Name), Kind: wire.StringToType[kind]}] = set
		}
	}
	return requests, nil
}

// apex is the zone's name as Azure has it.
func (s *session) apex() string { return strings.TrimSuffix(s.zone, ".") }

// relative is a name as Azure has it, without the zone.
func (s *session) relative(name string) string {
	if name == s.zone {
		return "@"
	}
	return strings.TrimSuffix(name, "."+s.zone)
}

// absolute is a name that Azure has without the zone.
func (s *session) absolute(relative string) string {
	if relative == "@" {
		return s.zone
	}
	return wire.CanonicalName(relative + "." + s.zone)
}

// Ask returns the records of a type at a name, as they were listed.
func (s *session) Ask(ctx context.Context, name string, kind uint16) (dns.Records, error) {
	if s.sets == nil {
		if err := s.list(ctx); err != nil {
			return nil, err
		}
	}
	at := dns.Set{Name: name, Kind: kind}
	if set := s.raw[at]; set != nil && set.Properties.TargetResource != nil && set.Properties.TargetResource.ID != nil {
		return nil, fault.New(fault.Refused, "%s has an alias record set, which Crossfade does not keep", strings.TrimSuffix(name, ".")).
			WithHint("make it a CNAME to what it leads to; or lead users by another name")
	}
	if kind == wire.TypeCNAME && s.leadsOn(name) {
		led, err := s.shares(ctx, name)
		if err != nil || led != nil {
			return led, err
		}
	}
	if len(s.sets[at]) == 0 {
		return dns.Records{}, nil
	}
	return dns.Records{at: s.sets[at]}, nil
}

// Used is true: what is listed is at the names themselves.
func (s *session) Used(context.Context, string) (bool, error) { return true, nil }

// Close does nothing.
func (s *session) Close() {}

// Change makes of the sets that were read those that are wanted, each by a request; those that lead shares of a name's users are one.
func (s *session) Change(ctx context.Context, have, want dns.Records) error {
	s.sets = nil
	done := map[dns.Set]bool{}
	for _, at := range dns.Sorted(have, want) {
		whole := dns.Set{Name: at.Name, Kind: at.Kind}
		if dns.Same(have, want, at) || done[whole] {
			continue
		}
		done[whole] = true
		rrs := want[whole]
		if led := sharing(want, whole); len(led) > 0 {
			if err := s.lead(ctx, at.Name, led); err != nil {
				return err
			}
			if s.leadsOn(at.Name) {
				continue
			}
			rrs = []wire.RR{s.via(at.Name, led)}
		}
		if err := s.change(ctx, whole, rrs); err != nil {
			return err
		}
	}
	return nil
}

// sharing are the sets among some that lead shares of the users of one.
func sharing(sets dns.Records, whole dns.Set) dns.Records {
	found := sets.At(whole.Name)
	maps.DeleteFunc(found, func(at dns.Set, _ []wire.RR) bool { return at.Kind != whole.Kind || at.Share == dns.Share{} })
	return found
}

// change makes a set that which is wanted, on condition that it is as it was listed.
func (s *session) change(ctx context.Context, at dns.Set, rrs []wire.RR) error {
	old := s.raw[at]
	kind := armdns.RecordType(wire.TypeToString[at.Kind])
	if old != nil && deref(old.Etag) == "" {
		return fault.New(fault.Failed, "it gives no etag of %s %s, without which what others change would be overwritten", kind, strings.TrimSuffix(at.Name, ".")).
			WithHint("see the record set in Azure")
	}
	if len(rrs) == 0 {
		if old == nil {
			return nil
		}
		if _, err := s.client.Delete(ctx, s.group, s.apex(), s.relative(at.Name), kind, &armdns.RecordSetsClientDeleteOptions{IfMatch: old.Etag}); err != nil {
			return failure(err)
		}
		delete(s.raw, at)
		return nil
	}
	only := &armdns.RecordSetsClientCreateOrUpdateOptions{IfNoneMatch: ref("*")}
	properties := propertiesOf(rrs)
	if old != nil {
		only = &armdns.RecordSetsClientCreateOrUpdateOptions{IfMatch: old.Etag}
		properties.Metadata = old.Properties.Metadata // which are not ours
	}
	put, err := s.client.CreateOrUpdate(ctx, s.group, s.apex(), s.relative(at.Name), kind, armdns.RecordSet{Properties: properties}, only)
	if err != nil {
		return failure(err)
	}
	s.raw[at] = &armdns.RecordSet{Etag: put.Etag, Properties: properties}
	return nil
}
