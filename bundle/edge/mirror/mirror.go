// Package mirror is a handler of Caddy that sends copies of users' requests to other endpoints, and compares how they are answered
// with what the users get. Users wait for nothing: a copy that is late, lost, or one too many changes no answer of theirs.
//
// Only what is safe to do twice is copied: GET, HEAD and OPTIONS (RFC 9110, section 9.2.1) without a body, and no upgrade.
package mirror

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http/httpguts"

	"github.com/crossfade-dev/crossfade/bundle/edge/brief"
)

const (
	// underWay is how many copies may be under way at once, over all routes; the requests beyond have none.
	underWay = 64
	// patience is how long a copy may take, its body included.
	patience = 10 * time.Second
	// kept is how much of a body is compared; of longer ones only the status and the headers are.
	kept = 256 << 10
	// Header is that of every copy, by which its server, and its logs, can tell it from what a user sent.
	Header = "Crossfade-Mirror"
)

// Handler is the module http.handlers.mirror. It stands before the handler that answers the users.
type Handler struct {
	Host      string   `json:"host"`              // whose requests are copied: no port, in small letters; those for other names are not
	To        string   `json:"to"`                // what the endpoints are, under which the answers are tallied
	Endpoints []string `json:"endpoints"`         // host:port, used in turn
	Share     int      `json:"share"`             // of the requests that can be copied, in percent
	Headers   []string `json:"headers,omitempty"` // of the answers, whose values are compared

	transport *brief.Transport
	next      atomic.Uint64 // the number of the last copy
}

var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)

// slots are those of this process, whatever its configurations are.
var slots = make(chan struct{}, underWay)

// CaddyModule describes the module to Caddy.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.mirror", New: func() caddy.Module { return new(Handler) }}
}

// Provision is called by Caddy before the first request.
func (h *Handler) Provision(ctx caddy.Context) error {
	if len(h.Endpoints) == 0 {
		return fmt.Errorf("the mirror of %s has no endpoints", h.Host)
	}
	h.transport = &brief.Transport{DialTimeout: caddy.Duration(time.Second)}
	return h.transport.Provision(ctx)
}

// Cleanup is called by Caddy when no request is to come.
func (h *Handler) Cleanup() error {
	if h.transport == nil {
		return nil // it could not be provisioned
	}
	return h.transport.Cleanup()
}

// ServeHTTP has the next handler answer the user, and sends a copy of the request beside it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if brief.Name(r.Host) != h.Host || !safe(r) || rand.IntN(100) >= h.Share {
		return next.ServeHTTP(w, r)
	}
	select {
	case slots <- struct{}{}:
	default:
		h.tally().skip()
		return next.ServeHTTP(w, r)
	}
	seen := make(chan answer, 1) // what the user got
	copied := h.copied(r)
	go func() {
		defer func() { <-slots }()
		h.compare(r.Method, r.URL.Path, copied, seen)
	}()
	recorded := &recorder{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}}
	err := next.ServeHTTP(recorded, r)
	if err != nil || r.Context().Err() != nil {
		close(seen) // the user got another answer than that, or none
		return err
	}
	seen <- recorded.answer()
	return nil
}

// safe reports whether a request can be made twice.
func safe(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return r.ContentLength == 0 && !httpguts.HeaderValuesContainsToken(r.Header["Connection"], "upgrade")
	}
	return false
}

// copied is the request as it is sent to an endpoint of the mirror.
func (h *Handler) copied(r *http.Request) *http.Request {
	out := r.Clone(context.Background()) //nolint:contextcheck // the copy does not end with the user's request
	out.RequestURI, out.Close = "", false
	out.Body, out.ContentLength = nil, 0
	for _, hop := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"} {
		out.Header.Del(hop)
	}
	if trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool); !trusted {
		forwarded(out.Header, r)
	}
	out.Header.Set(Header, "copy")
	out.URL.Scheme = "http"
	out.URL.Host = h.Endpoints[h.next.Add(1)%uint64(len(h.Endpoints))]
	return out
}

// forwarded sets what a proxy says of a user's request, as Caddy's does.
func forwarded(h http.Header, r *http.Request) {
	if user, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		h.Set("X-Forwarded-For", user)
	}
	h.Set("X-Forwarded-Host", r.Host)
	h.Set("X-Forwarded-Proto", "http")
	if r.TLS != nil {
		h.Set("X-Forwarded-Proto", "https")
	}
}

// compare sends a copy, and compares its answer with the user's, once both are there.
func (h *Handler) compare(method, path string, out *http.Request, seen <-chan answer) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	mirrored, err := h.send(out.WithContext(ctx))
	users, known := wait(ctx, seen)
	switch {
	case !known:
		h.tally().skip()
	case err != nil:
		h.tally().add(method, path, "it is not answered")
	default:
		h.tally().add(method, path, users.differs(mirrored, h.Headers))
	}
}

// wait returns what the user got, unless that is not known in time.
func wait(ctx context.Context, seen <-chan answer) (users answer, known bool) {
	select {
	case users, known = <-seen:
		return users, known
	default:
	}
	select {
	case users, known = <-seen:
		return users, known
	case <-ctx.Done():
		return answer{}, false
	}
}

func (h *Handler) send(out *http.Request) (answer, error) {
	res, err := h.transport.RoundTrip(out)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	a := answer{status: res.StatusCode, header: res.Header}
	body, err := io.ReadAll(io.LimitReader(res.Body, kept+1))
	a.body.add(body)
	return a, err
}

func (h *Handler) tally() *tally { return tallyOf(h.Host, h.To) }

// recorder passes an answer on, and keeps what is compared.
type recorder struct {
	*caddyhttp.ResponseWriterWrapper
	status int
	header http.Header
	body   bounded
}

// WriteHeader passes the head of the answer on; those of status 1xx come before it.
func (r *recorder) WriteHeader(status int) {
	if status >= http.StatusOK && r.status == 0 {
		r.status, r.header = status, r.Header().Clone()
	}
	r.ResponseWriterWrapper.WriteHeader(status)
}

// Write passes a part of the body on.
func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	r.body.add(p)
	return r.ResponseWriterWrapper.Write(p)
}

// ReadFrom passes a body on as Write does.
func (r *recorder) ReadFrom(from io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{r}, from)
}

func (r *recorder) answer() answer {
	if r.status == 0 {
		return answer{status: http.StatusOK, header: r.Header().Clone()}
	}
	return answer{r.status, r.header, r.body}
}

// bounded keeps a body unless it is too long.
type bounded struct {
	kept bytes.Buffer
	long bool
}

func (b *bounded) add(p []byte) {
	if b.long = b.long || b.kept.Len()+len(p) > kept; !b.long {
		b.kept.Write(p)
	}
}
