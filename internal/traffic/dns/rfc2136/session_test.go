package rfc2136

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	wire "github.com/miekg/dns"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/bindtest"
)

// TestAnswers: what a server may say that BIND does not say to order. Only what the key signed is believed.
func TestAnswers(t *testing.T) {
	signed := func(secret string, change func(*wire.TSIG)) func(wire.ResponseWriter, *wire.Msg) {
		return func(w wire.ResponseWriter, m *wire.Msg) {
			reply := soa(m)
			reply.SetTsig("crossfade.", wire.HmacSHA256, fudge, time.Now().Unix())
			change(reply.IsTsig())
			raw, _, err := wire.TsigGenerate(reply, secret, m.IsTsig().MAC, false)
			if err == nil {
				_, _ = w.Write(raw)
			}
		}
	}
	for says, tc := range map[string]struct {
		reason string
		answer func(wire.ResponseWriter, *wire.Msg)
		code   fault.Code
	}{
		"its answer (NOERROR) is not signed": {"anybody can say that", func(w wire.ResponseWriter, m *wire.Msg) { _ = w.WriteMsg(soa(m)) }, fault.Failed},
		"not signed by the key crossfade":    {"somebody else signed it", signed(bindtest.ReaderSecret, func(*wire.TSIG) {}), fault.Failed},
		"by more than 300 seconds (BADTIME)": {"its clock is wrong", signed(bindtest.Secret, func(s *wire.TSIG) { s.Error = wire.RcodeBadTime }), fault.Failed},
		"what the TSIG key crossfade signed": {"another error of TSIG", signed(bindtest.Secret, func(s *wire.TSIG) { s.Error = wire.RcodeBadTrunc }), fault.Failed},
		"it does not answer":                 {"it hangs up", func(w wire.ResponseWriter, _ *wire.Msg) { _ = w.Close() }, fault.Unavailable},
		"it answers SERVFAIL": {"it cannot now", func(w wire.ResponseWriter, m *wire.Msg) {
			reply := new(wire.Msg).SetRcode(m, wire.RcodeServerFailure)
			reply.SetTsig("crossfade.", wire.HmacSHA256, fudge, time.Now().Unix())
			raw, _, _ := wire.TsigGenerate(reply, bindtest.Secret, m.IsTsig().MAC, false)
			_, _ = w.Write(raw)
		}, fault.Unavailable},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := &wire.Server{Listener: l, Handler: wire.HandlerFunc(tc.answer)}
		done := make(chan error)
		go func() { done <- server.ActivateAndServe() }()
		backend, err := New(Options{Zone: bindtest.Zone, Server: l.Addr().String(), Key: Key{Name: bindtest.Key, Algorithm: "hmac-sha256", Secret: bindtest.Secret}})
		if err != nil {
			t.Fatal(err)
		}
		session, err := backend.Open(t.Context())
		if err == nil {
			err = session.Look(t.Context(), func() error { return nil })
			session.Close()
		}
		if fault.CodeOf(err) != tc.code || fault.HintOf(err) == "" || !strings.Contains(fmt.Sprint(err), says) || strings.Contains(fmt.Sprint(err), bindtest.Secret) {
			t.Errorf("%s: got %v (%s, hint %q), want %s that says %q, and no secret", tc.reason, err, fault.CodeOf(err), fault.HintOf(err), tc.code, says)
		}
		l.Close()
		<-done
	}
}

// soa is an answer with the zone's SOA.
func soa(m *wire.Msg) *wire.Msg {
	reply := new(wire.Msg).SetReply(m)
	reply.Authoritative = true
	reply.Answer = []wire.RR{&wire.SOA{Hdr: header("example.com.", wire.TypeSOA, 60), Ns: "ns1.example.com.", Mbox: "admin.example.com.", Serial: 1}}
	return reply
}
