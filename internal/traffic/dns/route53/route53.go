// Package route53 keeps the records of a DNS zone in Amazon Route 53.
//
// A change of several sets is one batch of ChangeResourceRecordSets, which takes effect as a whole or not at all. What it replaces it
// deletes and creates, which Route 53 does only where the record is as it was read; an UPSERT would overwrite whatever is there.
//
// Live names are weighted records from the first day, for a simple one cannot stand beside a weighted one, nor be made one. Generations
// without users have none: where all others are unhealthy, records of the weight 0 are answered, too, and where all weights are 0, all are.
package route53

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/aws/smithy-go"
	wire "github.com/miekg/dns"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns"
)

// region is what requests are signed for where the environment names none: Route 53 has but one for all of the commercial partition.
const region = "us-east-1"

// attempts are how often a request is sent while Route 53 throttles it, and longest is the longest pause between two: it takes five
// requests a second of an account.
const (
	attempts = 5
	longest  = 3 * time.Second
)

// syncBeat is how often a change is asked for, and syncLimit how long it may take to be on all servers, of which Route 53 says that it
// is "generally within 60 seconds".
const (
	syncBeat  = 500 * time.Millisecond
	syncLimit = 5 * time.Minute
)

// Options say which zone is written to.
type Options struct {
	Zone       string // such as example.com
	HostedZone string // its id
}

// Backend is a dns.Backend.
type Backend struct {
	zone   string // with a dot at its end
	id     string
	client *route53.Client
	say    func(format string, args ...any)
}

var (
	_ dns.Backend    = (*Backend)(nil)
	_ traffic.Teller = (*Backend)(nil)
)

// New finds where the environment has credentials, and asks nobody.
func New(o Options) (*Backend, error) {
	cfg, err := config.LoadDefaultConfig(context.Background(), config.WithDefaultRegion(region))
	if err != nil {
		return nil, fault.New(fault.Invalid, "cannot use the DNS zone %q: the configuration of AWS cannot be read: %s", o.Zone, line(err.Error())).
			WithHint("correct the AWS_... variables or the files in ~/.aws")
	}
	return with(o, cfg), nil
}

// with makes a backend that speaks to Route 53 as configured.
func with(o Options, cfg aws.Config) *Backend {
	return &Backend{zone: wire.CanonicalName(o.Zone), id: o.HostedZone, say: func(string, ...any) {}, client: route53.NewFromConfig(cfg, func(o *route53.Options) {
		o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = attempts, longest })
	})}
}

// Powers says that changes take effect as a whole, and that names lead shares of their users.
func (b *Backend) Powers() dns.Powers { return dns.Powers{Whole: true, Weighs: true} }

// Tell has the backend say what it waits for.
func (b *Backend) Tell(say func(format string, args ...any)) { b.say = say }

// String is the hosted zone.
func (b *Backend) String() string { return "Route 53 " + b.id }

// Open begins a session; nothing is asked yet.
func (b *Backend) Open(context.Context) (dns.Session, error) { return &session{Backend: b}, nil }

// session is the zone as it was listed last.
type session struct {
	*Backend
	sets dns.Records
	raw  map[dns.Set]types.ResourceRecordSet // the same, to the letter: what is deleted must be as it is there
	odd  map[string]string                   // names with records that Crossfade cannot keep, and why
}

// Look lists the zone before see asks for its records.
func (s *session) Look(ctx context.Context, see func() error) error {
	if err := s.list(ctx); err != nil {
		return err
	}
	return see()
}

// list reads all sets of the zone, 300 with each request.
func (s *session) list(ctx context.Context) error {
	s.sets, s.raw, s.odd = dns.Records{}, map[dns.Set]types.ResourceRecordSet{}, map[string]string{}
	pages := route53.NewListResourceRecordSetsPaginator(s.client, &route53.ListResourceRecordSetsInput{HostedZoneId: &s.id})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return failure(err)
		}
		for _, set := range page.ResourceRecordSets {
			s.add(set)
		}
	}
	if len(s.sets[dns.Set{Name: s.zone, Kind: wire.TypeNS}]) == 0 {
		return fault.New(fault.Invalid, "the hosted zone %s is not that of %s", s.id, strings.TrimSuffix(s.zone, ".")).
			WithHint("correct the zone or the hostedZone of the router")
	}
	return nil
}

// add notes a set of the zone. Those that have no records or whose routing is neither simple nor weighted, are odd.
func (s *session) add(set types.ResourceRecordSet) {
	name := wire.CanonicalName(aws.ToString(set.Name))
	kind := wire.StringToType[string(set.Type)]
	if why := oddity(set); why != "" {
		s.odd[name] = why
		return
	}
	share := dns.Share{Name: aws.ToString(set.SetIdentifier), Percent: int(aws.ToInt64(set.Weight))}
	s.raw[dns.Set{Name: name, Kind: kind, Share: share}] = set
	for _, r := range set.ResourceRecords {
		value := aws.ToString(r.Value)
		if kind == wire.TypeTXT {
			value = joined(value)
		}
		rr, err := dns.Record(name, kind, uint32(aws.ToInt64(set.TTL)), value)
		if err != nil {
			continue // of a type that no route has
		}
		s.sets.AddTo(share, rr)
	}
}

// oddity says what of a set Crossfade would not keep; "" for nothing.
func oddity(set types.ResourceRecordSet) string {
	switch {
	case set.AliasTarget != nil:
		return "an alias"
	case set.HealthCheckId != nil:
		return "a health check"
	case set.SetIdentifier != nil && set.Weight == nil:
		return "a routing policy that is neither simple nor weighted"
	default:
		return ""
	}
}

// joined is a text without the quotes around its strings.
func joined(value string) string {
	return strings.ReplaceAll(strings.Trim(value, `"`), `" "`, "")
}

// Ask returns the sets of a type at a name, as they were listed. Who answers for the zone is told whatever else is at its name.
func (s *session) Ask(ctx context.Context, name string, kind uint16) (dns.Records, error) {
	if s.sets == nil {
		if err := s.list(ctx); err != nil {
			return nil, err
		}
	}
	if why, is := s.odd[name]; is && kind != wire.TypeNS {
		return nil, fault.New(fault.Refused, "%s has %s, which Crossfade does not keep", strings.TrimSuffix(name, "."), why).
			WithHint("make it a CNAME, simple or weighted, to what it leads to; or lead users by another name")
	}
	found := s.sets.At(name)
	for at := range found {
		if at.Kind != kind {
			delete(found, at)
		}
	}
	return found, nil
}

// Used is true: what is listed is at the names themselves.
func (s *session) Used(context.Context, string) (bool, error) { return true, nil }

// Close does nothing.
func (s *session) Close() {}

// Change sends the batch that makes of the sets that were read those that are wanted, and waits until all servers of Route 53 have it.
func (s *session) Change(ctx context.Context, have, want dns.Records) error {
	var gone, fresh []types.Change
	for _, at := range dns.Sorted(have, want) {
		if dns.Same(have, want, at) {
			continue
		}
		if len(have[at]) > 0 {
			set := s.raw[at]
			gone = append(gone, types.Change{Action: types.ChangeActionDelete, ResourceRecordSet: &set})
		}
		if len(want[at]) > 0 {
			fresh = append(fresh, types.Change{Action: types.ChangeActionCreate, ResourceRecordSet: setOf(at, want[at])})
		}
	}
	s.sets = nil
	out, err := s.client.ChangeResourceRecordSets(ctx, &route53.ChangeResourceRecordSetsInput{
		HostedZoneId: &s.id, ChangeBatch: &types.ChangeBatch{Changes: append(gone, fresh...)},
	})
	if err != nil {
		return failure(err)
	}
	return s.synced(ctx, out.ChangeInfo)
}

// setOf is a set as Route 53 has it.
func setOf(at dns.Set, rrs []wire.RR) *types.ResourceRecordSet {
	set := &types.ResourceRecordSet{Name: &at.Name, Type: types.RRType(wire.TypeToString[at.Kind]), TTL: aws.Int64(int64(rrs[0].Header().Ttl))}
	if at.Share != (dns.Share{}) {
		set.SetIdentifier, set.Weight = aws.String(at.Share.Name), aws.Int64(int64(at.Share.Percent))
	}
	for _, rr := range rrs {
		value := dns.Value(rr)
		if txt, is := rr.(*wire.TXT); is {
			value = `"` + strings.Join(txt.Txt, `" "`) + `"`
		}
		set.ResourceRecords = append(set.ResourceRecords, types.ResourceRecord{Value: &value})
	}
	return set
}

// synced waits until a change is on all servers. One that takes too long is an error of code fault.Unavailable: it is made, and is
// waited for by whoever applies it again, by asking the servers.
func (s *session) synced(ctx context.Context, change *types.ChangeInfo) error {
	again := time.NewTicker(syncBeat)
	defer again.Stop()
	if change.Status != types.ChangeStatusInsync {
		s.say("%s waits: the change %s is not on all servers of Route 53", strings.TrimSuffix(s.zone, "."), aws.ToString(change.Id))
	}
	for deadline := time.Now().Add(syncLimit); change.Status != types.ChangeStatusInsync; {
		if time.Now().After(deadline) {
			return fault.New(fault.Unavailable, "the change %s is not on all servers after %v", aws.ToString(change.Id), syncLimit).
				WithHint("see the status of Route 53")
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Unavailable, "the wait for the change %s was ended: %w", aws.ToString(change.Id), ctx.Err())
		case <-again.C:
		}
		now, err := s.client.GetChange(ctx, &route53.GetChangeInput{Id: change.Id})
		if err != nil {
			return failure(err)
		}
		change = now.ChangeInfo
	}
	return nil
}

// meanwhile are what Route 53 says of a batch whose conditions do not hold.
var meanwhile = []string{"but it was not found", "do not match the current values", "but it already exists", "conflicts with other records"}

// busy are codes of errors that pass.
var busy = []string{"Throttling", "ThrottlingException", "PriorRequestNotComplete", "RequestLimitExceeded", "ServiceUnavailable", "InternalFailure"}

// denied are codes of errors of credentials. What comes with them may tell of the request, and is left out.
var denied = []string{
	"AccessDenied", "AccessDeniedException", "InvalidClientTokenId", "SignatureDoesNotMatch", "ExpiredToken", "ExpiredTokenException",
	"IncompleteSignature", "MissingAuthenticationToken", "UnrecognizedClientException", "OptInRequired", "NotAuthorizedException",
}

// failure is an error of the client in our words.
func failure(err error) error {
	if batch, is := errors.AsType[*types.InvalidChangeBatch](err); is {
		said := strings.Join(append(batch.Messages, aws.ToString(batch.Message)), " ")
		if slices.ContainsFunc(meanwhile, func(part string) bool { return strings.Contains(said, part) }) {
			return dns.ErrCollision
		}
		return fault.New(fault.Failed, "it refuses the change: %s", line(said)).WithHint("see the records of the zone")
	}
	api, answered := errors.AsType[smithy.APIError](err)
	_, network := errors.AsType[net.Error](err)
	switch {
	case answered && slices.Contains(busy, api.ErrorCode()):
		return fault.New(fault.Unavailable, "it is busy (%s)", api.ErrorCode()).WithHint("see who else asks the API of the account: it takes five requests a second")
	case answered && slices.Contains(denied, api.ErrorCode()):
		return fault.New(fault.Failed, "it does not let us (%s)", api.ErrorCode()).
			WithHint("let the credentials list and change the zone: route53:ListResourceRecordSets, route53:ChangeResourceRecordSets, route53:GetChange")
	case answered && (api.ErrorCode() == "NoSuchHostedZone" || api.ErrorCode() == "InvalidInput"):
		return fault.New(fault.Invalid, "it has no such hosted zone (%s)", api.ErrorCode()).WithHint("correct the hostedZone of the router")
	case answered:
		return fault.New(fault.Failed, "it answers %s: %s", api.ErrorCode(), line(api.ErrorMessage())).WithHint("see the status of Route 53")
	case strings.Contains(err.Error(), "get credentials"):
		return fault.New(fault.Failed, "there are no credentials for it").
			WithHint("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or give the machine a role, where crossfade runs")
	case network || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled):
		return fault.New(fault.Unavailable, "it does not answer: %s", line(err.Error())).WithHint("see whether its API is reached from here")
	default:
		return fault.New(fault.Unavailable, "it does not answer as expected: %s", line(err.Error())).WithHint("see whether its API is reached from here")
	}
}

// line is a text of others on one line, of a length that people read.
func line(text string) string {
	const most = 300
	text = strings.Join(strings.Fields(text), " ")
	return text[:min(len(text), most)]
}
