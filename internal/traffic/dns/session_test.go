package dns

import (
	"net"
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
		"not signed by the key crossfade":    {"somebody else signed it", signed(otherSecret, func(*wire.TSIG) {}), fault.Failed},
		"by more than 300 seconds (BADTIME)": {"its clock is wrong", signed(secret, func(s *wire.TSIG) { s.Error = wire.RcodeBadTime }), fault.Failed},
		"what the TSIG key crossfade signed": {"another error of TSIG", signed(secret, func(s *wire.TSIG) { s.Error = wire.RcodeBadTrunc }), fault.Failed},
		"it does not answer":                 {"it hangs up", func(w wire.ResponseWriter, _ *wire.Msg) { _ = w.Close() }, fault.Unavailable},
		"it answers SERVFAIL": {"it cannot now", func(w wire.ResponseWriter, m *wire.Msg) {
			reply := new(wire.Msg).SetRcode(m, wire.RcodeServerFailure)
			reply.SetTsig("crossfade.", wire.HmacSHA256, fudge, time.Now().Unix())
			raw, _, _ := wire.TsigGenerate(reply, secret, m.IsTsig().MAC, false)
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
		b := &bindtest.Server{Address: l.Addr().String()}
		_, err = router(t, options(b)).Observe(t.Context(), host)
		refused(t, tc.reason, err, tc.code, says)
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
