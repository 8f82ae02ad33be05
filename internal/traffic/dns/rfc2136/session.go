// Package rfc2136 keeps the records of a DNS zone by dynamic updates (RFC 2136) signed by TSIG (RFC 8945). A change of several
// sets is one message that takes effect as a whole or not at all (RFC 2136 section 3.7), and asks for the records that it changes to be
// as they were read.
package rfc2136

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	wire "github.com/miekg/dns"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns"
)

// Options say which zone is written to, and where.
type Options struct {
	Zone   string // such as example.com
	Server string // its primary, which takes updates: host:port
	Key    Key    // signs all that is sent to the primary
}

// Key is a TSIG key.
type Key struct {
	Name      string
	Algorithm string // such as hmac-sha256
	Secret    string // in base64; it is never shown
}

// Backend is a dns.Backend.
type Backend struct {
	options Options
	zone    string // with a dot at its end
}

var _ dns.Backend = (*Backend)(nil)

// New checks the options. It asks no server.
func New(o Options) (*Backend, error) {
	problem := func(format string, args ...any) (*Backend, error) {
		return nil, fault.New(fault.Invalid, "cannot use the DNS zone %q: %s", o.Zone, fmt.Sprintf(format, args...)).
			WithHint("correct the router in the configuration")
	}
	if _, _, err := net.SplitHostPort(o.Server); err != nil {
		return problem("%q is not a server's HOST:PORT", o.Server)
	}
	if err := o.Key.check(); err != nil {
		return problem("%v", err)
	}
	return &Backend{options: o, zone: wire.CanonicalName(o.Zone)}, nil
}

// Powers says that every change takes effect as a whole.
func (b *Backend) Powers() dns.Powers { return dns.Powers{Whole: true} }

// String is the address of the primary.
func (b *Backend) String() string { return b.options.Server }

// callLimit bounds one question and its answer.
const callLimit = 5 * time.Second

// fudge is by how many seconds the clocks of the two may differ, as RFC 8945 section 10 advises.
const fudge = 300

// algorithms are those of TSIG that are sent; MD5 is not (RFC 8945 section 6).
var algorithms = []string{"hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"}

// check says what is wrong with a key, without its secret.
func (k Key) check() error {
	if _, ok := wire.IsDomainName(k.Name); !ok || k.Name == "" {
		return fmt.Errorf("%q is no name of a TSIG key", k.Name)
	}
	if !slices.Contains(algorithms, k.Algorithm) {
		return fmt.Errorf("its key's algorithm %q is none of %s", k.Algorithm, strings.Join(algorithms, ", "))
	}
	if raw, err := base64.StdEncoding.DecodeString(k.Secret); err != nil || len(raw) == 0 {
		return fmt.Errorf("the secret of its key %s is empty or not in base64", k.Name)
	}
	return nil
}

// session is a connection to the primary.
type session struct {
	*Backend
	conn net.Conn
	stop func() bool
}

// Open connects to the primary.
func (b *Backend) Open(ctx context.Context) (dns.Session, error) {
	conn, err := (&net.Dialer{Timeout: callLimit}).DialContext(ctx, "tcp", b.options.Server)
	if err != nil {
		return nil, away(err)
	}
	return &session{Backend: b, conn: conn, stop: context.AfterFunc(ctx, func() { conn.Close() })}, nil
}

// serial is that of the zone, which changes whenever the zone does. A zone that the server does not have is an error of code fault.Invalid.
func (s *session) serial(ctx context.Context) (uint32, error) {
	rrs, err := s.ask(ctx, s.zone, wire.TypeSOA)
	if err != nil {
		return 0, err
	}
	for _, rr := range rrs {
		if soa, ok := rr.(*wire.SOA); ok {
			return soa.Serial, nil
		}
	}
	return 0, fault.New(fault.Invalid, "it has no zone %s", s.options.Zone).WithHint("correct the zone or the server of the router")
}

// maxChanges bounds how often a zone is read again because it changed in between.
const maxChanges = 20

// Look repeats see until the zone has the same serial before and after it.
func (s *session) Look(ctx context.Context, see func() error) error {
	for range maxChanges {
		before, err := s.serial(ctx)
		if err != nil {
			return err
		}
		failed := see()
		if fault.Retryable(failed) {
			return failed
		}
		if after, err := s.serial(ctx); err != nil {
			return err
		} else if before == after {
			return failed
		}
	}
	return fault.New(fault.Unavailable, "the zone changes all the time").WithHint("see what else writes to the zone")
}

// Ask returns the records of a type at a name, as the primary has them.
func (s *session) Ask(ctx context.Context, name string, kind uint16) (dns.Records, error) {
	rrs, err := s.ask(ctx, name, kind)
	if err != nil {
		return nil, err
	}
	found := dns.Records{}
	for _, rr := range rrs {
		found.Add(rr)
	}
	return found, nil
}

// Close hangs up.
func (s *session) Close() {
	s.stop()
	s.conn.Close()
}

// away is the error of a server that does not answer.
func away(err error) error {
	return fault.New(fault.Unavailable, "it does not answer: %w", err).WithHint("see whether the server runs, and the address in the router")
}

// ask returns the records of a type at a name.
func (s *session) ask(ctx context.Context, name string, kind uint16) ([]wire.RR, error) {
	m := new(wire.Msg).SetQuestion(name, kind)
	m.RecursionDesired = false
	answer, err := s.exchange(ctx, m)
	if err != nil {
		return nil, err
	}
	known := answer.Rcode == wire.RcodeSuccess || answer.Rcode == wire.RcodeNameError
	switch {
	case answer.Rcode == wire.RcodeServerFailure:
		return nil, fault.New(fault.Unavailable, "it answers SERVFAIL for %s", strings.TrimSuffix(name, ".")).WithHint("see the log of the server")
	case !known || !answer.Authoritative:
		return nil, fault.New(fault.Invalid, "it is not authoritative for %s (%s)", strings.TrimSuffix(name, "."), wire.RcodeToString[answer.Rcode]).
			WithHint("name the zone that has the name, and the primary server of that zone, in the router")
	}
	var found []wire.RR
	for _, rr := range answer.Answer {
		if h := rr.Header(); h.Rrtype == kind && wire.CanonicalName(h.Name) == name {
			h.Name = name
			found = append(found, rr)
		}
	}
	return found, nil
}

// update sends an update; one whose conditions do not hold returns dns.ErrCollision.
func (s *session) update(ctx context.Context, m *wire.Msg) error {
	answer, err := s.exchange(ctx, m)
	if err != nil {
		return err
	}
	switch answer.Rcode {
	case wire.RcodeSuccess:
		return nil
	case wire.RcodeNXRrset, wire.RcodeYXRrset, wire.RcodeNameError, wire.RcodeYXDomain:
		return dns.ErrCollision
	case wire.RcodeRefused:
		return fault.New(fault.Failed, "it refuses updates of %s by the key %s", s.options.Zone, s.options.Key.Name).
			WithHint("let the key update the zone (BIND: update-policy or allow-update), and name the zone's primary server in the router")
	case wire.RcodeNotAuth, wire.RcodeNotZone:
		return fault.New(fault.Invalid, "it takes no updates of %s (%s)", s.options.Zone, wire.RcodeToString[answer.Rcode]).
			WithHint("name the zone's primary server in the router")
	case wire.RcodeServerFailure:
		return fault.New(fault.Unavailable, "it answers SERVFAIL to an update of %s", s.options.Zone).WithHint("see the log of the server")
	default:
		return fault.New(fault.Failed, "it answers %s to an update of %s", wire.RcodeToString[answer.Rcode], s.options.Zone).WithHint("see the log of the server")
	}
}

// Used reports whether there are records at a name itself, which an answer does not say where there are wildcards.
func (s *session) Used(ctx context.Context, name string) (bool, error) {
	m := new(wire.Msg).SetUpdate(s.zone)
	m.NameUsed([]wire.RR{&wire.ANY{Hdr: header(name, wire.TypeANY, 0)}})
	err := s.update(ctx, m)
	if errors.Is(err, dns.ErrCollision) {
		return false, nil
	}
	return err == nil, err
}

// exchange sends a signed message and returns the answer, which must be signed, too.
func (s *session) exchange(ctx context.Context, m *wire.Msg) (*wire.Msg, error) {
	key := s.options.Key
	name := wire.CanonicalName(key.Name)
	m.SetTsig(name, wire.Fqdn(key.Algorithm), fudge, time.Now().Unix())
	client := wire.Client{Net: "tcp", Timeout: callLimit, TsigSecret: map[string]string{name: key.Secret}}
	// A signature covers the message before it on the same connection, by the library's account, so each has a Conn of its own.
	answer, _, err := client.ExchangeWithConnContext(ctx, m, &wire.Conn{Conn: s.conn})
	if answer != nil && answer.IsTsig() != nil && answer.IsTsig().Error != 0 {
		return nil, key.mistaken(answer.IsTsig().Error)
	}
	switch _, network := errors.AsType[net.Error](err); {
	case err == nil && answer.IsTsig() == nil:
		return nil, fault.New(fault.Failed, "its answer (%s) is not signed", wire.RcodeToString[answer.Rcode]).WithHint("see whether the server knows TSIG")
	case err == nil:
		return answer, nil
	case answer != nil && !network:
		return nil, fault.New(fault.Failed, "its answer is not signed by the key %s: %w", key.Name, err).WithHint("see what is between here and the server")
	default:
		return nil, away(err)
	}
}

// mistaken says what the server finds wrong with what the key signed (RFC 8945 section 5.2).
func (k Key) mistaken(code uint16) error {
	hint := "correct the key's name, algorithm and secret, in the router and on the server"
	switch code {
	case wire.RcodeBadKey:
		return fault.New(fault.Invalid, "it does not know the TSIG key %s with %s (BADKEY)", k.Name, k.Algorithm).WithHint("%s", hint)
	case wire.RcodeBadSig:
		return fault.New(fault.Invalid, "the TSIG key %s has another secret there (BADSIG)", k.Name).WithHint("%s", hint)
	case wire.RcodeBadTime:
		return fault.New(fault.Failed, "its clock and ours differ by more than %d seconds (BADTIME)", fudge).WithHint("set the clocks")
	default:
		return fault.New(fault.Failed, "it does not take what the TSIG key %s signed (error %d)", k.Name, code).WithHint("%s", hint)
	}
}
