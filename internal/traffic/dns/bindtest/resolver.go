package bindtest

import (
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	wire "github.com/miekg/dns"
)

// Resolver is a tiny one, with a habit of its own in how long it keeps an answer.
type Resolver struct {
	Address string // HOST:PORT, over UDP
	from    *Server
	stop    func() error

	mu    sync.Mutex
	keeps func(ttl time.Duration) time.Duration
	kept  map[wire.Question]*wire.Msg
	until map[wire.Question]time.Time
}

// StartResolver runs one for the time of a test, which asks a BIND and keeps an answer for as long as keeps says for its TTL.
func StartResolver(t *testing.T, from *Server, keeps func(ttl time.Duration) time.Duration) *Resolver {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &Resolver{Address: c.LocalAddr().String(), from: from, stop: c.Close}
	r.Keep(keeps)
	server := &wire.Server{PacketConn: c, Handler: wire.HandlerFunc(func(w wire.ResponseWriter, m *wire.Msg) {
		answer, err := r.answer(m.Question[0])
		if err != nil {
			answer = &wire.Msg{MsgHdr: wire.MsgHdr{Rcode: wire.RcodeServerFailure}}
		}
		reply := answer.Copy()
		reply.SetRcode(m, answer.Rcode)
		_ = w.WriteMsg(reply) // who asks sees it
	})}
	done := make(chan error)
	go func() { done <- server.ActivateAndServe() }()
	t.Cleanup(func() { r.Stop(); <-done })
	return r
}

// Stop ends it: it answers nothing from then on.
func (r *Resolver) Stop() { _ = r.stop() } // it may have been stopped before

// Lose has it lose whom it asks: it answers that it cannot tell from then on.
func (r *Resolver) Lose() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.from = &Server{Address: "127.0.0.1:1"}
	r.forget()
}

// Keep gives it another habit, and has it forget what it has kept.
func (r *Resolver) Keep(keeps func(ttl time.Duration) time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keeps = keeps
	r.forget()
}

// Forget has it forget what it has kept.
func (r *Resolver) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget()
}

// forget is Forget with mu held.
func (r *Resolver) forget() {
	r.kept, r.until = map[wire.Question]*wire.Msg{}, map[wire.Question]time.Time{}
}

func (r *Resolver) answer(q wire.Question) (*wire.Msg, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Now().Before(r.until[q]) {
		return r.kept[q], nil
	}
	answer, err := r.from.Query(q.Name, q.Qtype)
	if err != nil {
		return nil, err
	}
	ttl := time.Second // of negative answers
	for i, rr := range answer.Answer {
		if of := time.Duration(rr.Header().Ttl) * time.Second; i == 0 || of < ttl {
			ttl = of
		}
	}
	r.kept[q], r.until[q] = answer, time.Now().Add(r.keeps(ttl))
	return answer, nil
}

// Leads is the address to which a user of the resolver is led by a name; words that begin with "nowhere" where it is none.
func (r *Resolver) Leads(name string) string {
	client := wire.Client{Timeout: time.Second}
	answer, _, err := client.Exchange(new(wire.Msg).SetQuestion(wire.Fqdn(name), wire.TypeA), r.Address)
	if err == nil && len(answer.Answer) > 0 {
		if a, ok := answer.Answer[len(answer.Answer)-1].(*wire.A); ok {
			return a.A.String()
		}
	}
	return fmt.Sprintf("nowhere: %v %v", answer, err)
}
