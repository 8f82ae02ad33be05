package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxBody bounds how much of a response is kept for its check.
const maxBody = 16 << 20

// errClosedIdle tells a connection that the server closed before we used it: not a failure, every client meets it.
var errClosedIdle = errors.New("closed while idle")

// response is what came back for one request, or err.
type response struct {
	status     int
	generation string
	body       []byte
	reused     bool
	firstByte  time.Time // when the head of the response was there; zero when it never was
	finished   time.Time
	err        error
}

// verdict returns why a request counts as failed, or "".
func verdict(k *Kind, r response) string {
	switch {
	case r.err != nil:
		return r.err.Error()
	case r.status >= 500:
		return "status " + strconv.Itoa(r.status)
	case k.Check != nil:
		if err := k.Check(r.status, r.body); err != nil {
			return err.Error()
		}
	}
	return ""
}

// pool keeps the idle keep-alive connections to one address. It is an HTTP/1.1 client that never sends a request twice:
// the client of net/http repeats a request whose re-used connection broke, and so hides exactly what we want to see.
type pool struct {
	address string
	dialer  net.Dialer
	opened  atomic.Int64

	mu   sync.Mutex
	idle []*connection
}

// connection is one connection with its buffer.
type connection struct {
	net.Conn
	reader *bufio.Reader
	used   bool
}

func newPool(address string) *pool { return &pool{address: address} }

// do sends one request and reads the whole response.
func (p *pool) do(ctx context.Context, k *Kind, host string, timeout time.Duration) (r response) {
	defer func() { r.finished = time.Now() }()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c, err := p.get(ctx, !k.NewConnection)
	if err != nil {
		return response{err: fmt.Errorf("cannot connect: %w", err)}
	}
	undo := context.AfterFunc(ctx, func() { c.Close() })
	keep := c.exchange(k, host, &r)
	if undo() && keep && !k.NewConnection {
		p.put(c)
		return r
	}
	c.Close()
	if r.err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		r.err = fmt.Errorf("no whole response within %v", timeout)
	}
	return r
}

// get returns an idle connection that the server has not closed, when there is one and it is wanted, or else a new one.
func (p *pool) get(ctx context.Context, reuse bool) (*connection, error) {
	for reuse {
		c := p.pop()
		if c == nil {
			break
		}
		if c.alive() == nil {
			c.used = true
			return c, nil
		}
		c.Close()
	}
	conn, err := p.dialer.DialContext(ctx, "tcp", p.address)
	if err != nil {
		return nil, err
	}
	p.opened.Add(1)
	return &connection{Conn: conn, reader: bufio.NewReader(conn)}, nil
}

func (p *pool) pop() *connection {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == 0 {
		return nil
	}
	// The one that waited longest comes first, so that all of them stay in use, each idle for a while: as in real clients,
	// and the hardest case for a server that closes idle connections.
	c := p.idle[0]
	p.idle = p.idle[1:]
	return c
}

func (p *pool) put(c *connection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, c)
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.idle {
		c.Close()
	}
	p.idle = nil
}

// alive looks, without waiting or reading, whether the server has closed the connection.
func (c *connection) alive() error {
	raw, err := c.Conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	var state error
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		if n >= 0 && err == nil || err != nil && !errors.Is(err, unix.EAGAIN) {
			state = errClosedIdle
		}
	})
	return errors.Join(err, state)
}

// exchange writes the request and reads the response into r. It says whether the connection can be used again.
func (c *connection) exchange(k *Kind, host string, r *response) bool {
	r.reused = c.used
	if _, err := io.WriteString(c, head(k, host)+k.Body); err != nil {
		r.err = fmt.Errorf("cannot send (%s connection): %w", c.age(), err)
		return false
	}
	res, err := http.ReadResponse(c.reader, &http.Request{Method: k.method()})
	if err != nil {
		r.err = fmt.Errorf("no response (%s connection): %w", c.age(), err)
		return false
	}
	defer res.Body.Close()
	r.firstByte = time.Now()
	r.status, r.generation = res.StatusCode, res.Header.Get("X-Generation")
	if r.body, err = io.ReadAll(io.LimitReader(res.Body, maxBody)); err != nil {
		r.err = fmt.Errorf("body broke off after %d bytes: %w", len(r.body), err)
		return false
	}
	return !res.Close
}

func (c *connection) age() string {
	if c.used {
		return "re-used"
	}
	return "new"
}

func (k *Kind) method() string {
	if k.Method == "" {
		return http.MethodGet
	}
	return k.Method
}

// head renders the request's first line and header.
func head(k *Kind, host string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: crossfade-load\r\n", k.method(), k.Path, host)
	if k.Body != "" {
		fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(k.Body))
	}
	if k.NewConnection {
		b.WriteString("Connection: close\r\n")
	}
	b.WriteString("\r\n")
	return b.String()
}
