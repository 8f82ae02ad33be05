// Package brief is a transport of Caddy's reverse proxy for endpoints behind which a Kubernetes Service chooses a pod for each
// connection. Neither of the usual ways does there: a connection for each request fills the endpoint's side with connections in
// TIME_WAIT, and its kernel turns down new ones that happen to look like them; a connection that is kept goes on to a pod that
// is leaving, and the request that meets the end of it is lost unless it can be repeated.
//
// So a request that can be repeated (GET, HEAD, OPTIONS, TRACE without a body; RFC 9110, section 9.2.2) may use a connection that
// is there, and is sent again by net/http when the endpoint has just closed it. No connection is used for longer than its age. All
// other requests have a connection of their own, which this side ends.
package brief

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"golang.org/x/net/http/httpguts"
	"golang.org/x/sys/unix"
)

const (
	// usualAge is how long a connection is used for further requests.
	usualAge = time.Second
	// maxIdle is how many connections to one endpoint wait for further requests.
	maxIdle = 256
	// silence is how long an endpoint may leave unacknowledged what was sent: one that has gone without a word would keep
	// the requests on its connections waiting for minutes.
	silence = 5 * time.Second
)

// Transport is the module http.reverse_proxy.transport.brief. It may be used by any number of requests at once.
type Transport struct {
	DialTimeout caddy.Duration `json:"dial_timeout,omitempty"` // 3 s unless set

	// H2C has the endpoint spoken to in HTTP/2 without TLS, as gRPC needs it. Its connections carry any number of requests at once; each gets new
	// ones for as long as it is not older than its age, and is closed when they have ended. A server that leaves tells so beforehand.
	H2C bool `json:"h2c,omitempty"`

	age  time.Duration // of a connection when it gets its last request
	base *reverseproxy.HTTPTransport
	own  *http.Transport // a connection for each request, which is over with the answer
	tied *http.Transport // a connection that is both sides' after the answer

	mu     sync.Mutex
	shared *http.Transport // connections that wait for further requests
	since  time.Time       // that shared is used
}

var (
	_ caddy.Provisioner  = (*Transport)(nil)
	_ caddy.CleanerUpper = (*Transport)(nil)
	_ http.RoundTripper  = (*Transport)(nil)
)

// CaddyModule describes the module to Caddy.
func (*Transport) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.reverse_proxy.transport.brief", New: func() caddy.Module { return new(Transport) }}
}

// Provision is called by Caddy before the first request.
func (t *Transport) Provision(ctx caddy.Context) error {
	if t.age == 0 {
		t.age = usualAge
	}
	versions := []string{"1.1"}
	if t.H2C {
		versions = []string{"h2c"}
	}
	t.base = &reverseproxy.HTTPTransport{
		DialTimeout: t.DialTimeout, Versions: versions,
		KeepAlive: &reverseproxy.KeepAlive{MaxIdleConnsPerHost: maxIdle, IdleConnTimeout: caddy.Duration(t.age)},
	}
	var err error
	if t.shared, err = t.base.NewTransport(ctx); err != nil {
		return err
	}
	dial := t.shared.DialContext
	t.shared.DialContext = dialing(dial, boundSilence)
	t.tied = t.shared.Clone()
	t.tied.DialContext = dial
	t.tied.MaxIdleConnsPerHost = -1 // the server is not asked to end the connection: who does has it in TIME_WAIT
	t.own = t.tied.Clone()
	t.own.DialContext = dialing(dial, leaveNothing)
	t.since = time.Now()
	return nil
}

// Cleanup is called by Caddy when no request is to come.
func (t *Transport) Cleanup() error {
	if t.base != nil {
		t.current().CloseIdleConnections()
	}
	return nil
}

// RoundTrip sends a request to the endpoint that Caddy has chosen for it, and counts what becomes of it.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	t.base.SetScheme(r)
	sent := time.Now()
	answer, err := t.fit(r).RoundTrip(r)
	observe(r, sent, answer, err)
	return answer, err
}

// fit returns the transport for a request.
func (t *Transport) fit(r *http.Request) *http.Transport {
	switch {
	case t.H2C:
		return t.current()
	case httpguts.HeaderValuesContainsToken(r.Header["Connection"], "upgrade"):
		return t.tied
	case repeatable(r):
		return t.current()
	}
	return t.own
}

// repeatable reports whether net/http sends the request again when the endpoint closes the connection before it answers.
func repeatable(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return r.Body == nil || r.Body == http.NoBody
	}
	return false
}

// current returns the transport whose connections are not older than their age. The one before closes its connections as
// the requests on them end.
func (t *Transport) current() *http.Transport {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := time.Now(); now.Sub(t.since) >= t.age {
		before := t.shared
		t.shared, t.since = before.Clone(), now
		before.CloseIdleConnections()
	}
	return t.shared
}

type dialer = func(ctx context.Context, network, address string) (net.Conn, error)

// dialing sets each connection up as it is made. One that cannot be set up is broken, and says so when it is used.
func dialing(dial dialer, set func(*net.TCPConn)) dialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if tcp, ok := c.(*net.TCPConn); ok && err == nil {
			set(tcp)
		}
		return c, err
	}
}

// leaveNothing has the connection leave nothing behind when this side closes it: not TIME_WAIT on either side, of which an endpoint
// would have thousands.
func leaveNothing(c *net.TCPConn) { _ = c.SetLinger(0) }

// boundSilence bounds how long what was sent may stay unacknowledged (TCP_USER_TIMEOUT of tcp(7)).
func boundSilence(c *net.TCPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silence.Milliseconds()))
	})
}
