package certs

import (
	"context"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/certs/pebbletest"
	bundled "github.com/crossfade-dev/crossfade/internal/edge"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic/caddy"
)

// TestObtainByEdge proves a name by the edge of Crossfade, a Caddy, which goes on to know nothing of the name.
func TestObtainByEdge(t *testing.T) {
	if testing.Short() {
		t.Skip("needs the edge")
	}
	dir, err := os.MkdirTemp("", "crossfade-test-") // short enough for the name of a socket
	ok(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	address := l.Addr().String()
	ok(t, l.Close())
	status, err := bundled.Start(t.Context(), bundled.Options{StateDir: dir, Listen: address})
	ok(t, err)
	t.Cleanup(func() {
		if err := bundled.Stop(context.Background(), dir); err != nil {
			t.Error(err)
		}
	})
	router, err := caddy.New(caddy.Options{Admin: status.Admin, Listen: status.Listen, Edge: true})
	ok(t, err)
	s := newScene(t, pebbletest.Options{})
	_, port, err := net.SplitHostPort(status.Listen)
	ok(t, err)
	s.ca = pebbletest.Start(t, pebbletest.Options{HTTPPort: port})
	r := s.request(t, "shop.example.com", "www.example.com")
	proof := NewHTTP(router, "edge")
	to := status.Listen
	proof.Client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, to)
	}
	r.Prover = proof
	p, err := r.Obtain(t.Context())
	ok(t, err)
	if why := p.Unfit(r.Of.Names, time.Now()); why != "" {
		t.Error(why)
	}
	to = s.edge.server.Listener.Addr().String()
	refused(t, "the name leads elsewhere now", proof.Probe(t.Context(), "shop.example.com"), fault.Refused, to+" (status 404, somebody-else) answered, and that is not the router edge")
}
