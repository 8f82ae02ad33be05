package hold

import (
	"bytes"
	"net"
	"net/http"
	"sync"
	"time"
)

// Conn is a connection as one server sees it. When it is handed over, another Conn takes the same connection on, and this one
// is closed for its server.
type Conn struct {
	net.Conn
	listener *Listener

	mu      sync.Mutex
	state   http.ConnState
	used    bool   // the server has read something
	reading bool   // the server waits in Read
	leaving bool   // it shall be handed over when it is idle
	broken  bool   // the user closed it, or it was idle for too long
	gone    bool   // it was handed over
	begun   bool   // the server has done something with the connection since the request became active
	many    bool   // it is of HTTP/2: it has a state that only its server knows, which tells the user when it goes
	sent    []byte // what the server has read of a request that it has not begun to handle
	unread  []byte // what another server had read, for this one to read first
}

// past is a deadline that ends a Read at once.
var past = time.Unix(1, 0)

// pause is how long to wait when the socket cannot accept.
func pause() <-chan time.Time { return time.After(5 * time.Millisecond) }

// idle reports whether no request is under way, so that another server can take the connection on without a difference to
// its user. mu is held.
func (c *Conn) idle() bool {
	return !c.broken && !c.many && !c.gone && (c.state == http.StateIdle || c.state == http.StateNew && !c.used)
}

// Read reads for the server. What it has read since it was idle is remembered: those bytes go along when the connection is
// handed over before the server has begun to handle the request.
func (c *Conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	if c.leaving && c.idle() {
		c.handOver()
	}
	if c.gone {
		c.mu.Unlock()
		return 0, net.ErrClosed
	}
	c.begin()
	if len(c.unread) > 0 {
		defer c.mu.Unlock()
		n := copy(p, c.unread)
		c.unread = c.unread[n:]
		c.note(p[:n])
		return n, nil
	}
	c.reading = true
	c.mu.Unlock()

	n, err := c.Conn.Read(p)

	c.mu.Lock()
	defer c.mu.Unlock()
	c.reading = false
	if c.idle() && c.leaving && (n > 0 || isTimeout(err)) {
		c.note(p[:n])
		c.handOver()
		return 0, net.ErrClosed
	}
	c.note(p[:n])
	c.broken = c.broken || err != nil && c.state != http.StateActive
	return n, err
}

// preface is how every connection of HTTP/2 begins (RFC 9113, section 3.4), up to where no request of HTTP/1 is like it.
var preface = []byte("PRI * HTTP/2.0\r\n")

// maxSent bounds what is remembered: a whole header of net/http's usual size does not come near it.
const maxSent = 1 << 20

// note remembers what the server reads of a request that it has not begun to handle. During a request net/http watches for
// the end of the connection with reads of one byte; such a byte is the first of the next request. mu is held.
func (c *Conn) note(p []byte) {
	switch {
	case c.state == http.StateNew && len(c.sent) > maxSent: // it is no HTTP/1 at all
		c.sent = nil
	case c.many:
	case c.state == http.StateNew, c.state == http.StateIdle, c.state == http.StateActive && len(p) == 1:
		c.sent = append(c.sent, p...)
	}
	if c.state == http.StateNew && bytes.HasPrefix(c.sent, preface) {
		c.many, c.sent = true, nil
	}
	c.used = c.used || len(p) > 0
}

// begin notes that the server handles the active request: from now on it must not go to another one. mu is held.
func (c *Conn) begin() {
	if c.state == http.StateActive && !c.begun {
		c.begun, c.sent = true, nil
	}
}

// dropped reports whether the server has let go of a request that it had read and not begun to handle: net/http does that
// when it shuts down at that moment. A request that was handled, and be it by a panic, leaves a trace: its answer, or the
// call that ends the watch for the end of the connection. mu is held.
func (c *Conn) dropped() bool {
	return c.state == http.StateActive && !c.begun && !c.broken && !c.gone && !c.many
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error) //nolint:errorlint // as the connection itself returns it
	return ok && e.Timeout()
}

// Close is called by the server's connection when it has ended, and by a server that shuts down on its idle connections. The
// connection is closed when ConnState says that the server has let go of it, so that the two can be told apart.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.gone {
		c.mu.Unlock()
		return nil
	}
	if c.state == http.StateHijacked || c.broken || c.many || c.state == http.StateNew && c.used || !c.listener.others() {
		c.mu.Unlock()
		c.listener.forget(c)
		return c.Conn.Close()
	}
	c.mu.Unlock()
	c.leave()
	return nil
}

// leave asks for the connection to be handed over as soon as it is idle, and sees to it that a waiting server notices.
func (c *Conn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving = true
	if c.reading && c.idle() {
		_ = c.Conn.SetReadDeadline(past) // an error means that it is closed, which ends the Read as well
	}
}

// set follows what the server does with the connection.
func (c *Conn) set(state http.ConnState) {
	newest := c.listener.newest()
	c.mu.Lock()
	before := c.state
	switch state {
	case http.StateActive: // the request is the server's now
		c.leaving, c.begun = false, false
	case http.StateNew, http.StateIdle:
		c.leaving = c.leaving || !newest
	case http.StateClosed:
		if c.gone {
			break
		}
		if (c.idle() || c.dropped()) && c.listener.others() {
			c.handOver()
			break
		}
		defer c.Conn.Close()
	}
	if before != http.StateHijacked {
		c.state = state
	}
	c.mu.Unlock()
	if state == http.StateClosed || state == http.StateHijacked {
		c.listener.forget(c)
	}
}

// handOver gives the connection to the newest listener. mu is held.
func (c *Conn) handOver() {
	c.gone = true
	_ = c.Conn.SetDeadline(time.Time{}) // a connection that is closed shows when the next server reads
	sent := append(c.sent, c.unread...)
	go c.listener.hub.give(c.Conn, sent)
}

// Write writes for the server.
func (c *Conn) Write(p []byte) (int, error) {
	if !c.use() {
		return 0, net.ErrClosed
	}
	return c.Conn.Write(p)
}

// SetDeadline sets the deadlines of the connection as long as it is this server's; so do the other two.
func (c *Conn) SetDeadline(t time.Time) error { return c.deadline(t, c.Conn.SetDeadline) }

// SetReadDeadline is described at SetDeadline.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.deadline(t, c.Conn.SetReadDeadline) }

// SetWriteDeadline is described at SetDeadline.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.deadline(t, c.Conn.SetWriteDeadline) }

func (c *Conn) deadline(t time.Time, set func(time.Time) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return net.ErrClosed
	}
	c.begin()
	return set(t)
}

// CloseWrite ends what the server sends, while it still reads.
func (c *Conn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || !c.use() {
		return net.ErrClosed
	}
	return half.CloseWrite()
}

// use notes that the server uses the connection, and reports whether it is still its own.
func (c *Conn) use() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begin()
	return !c.gone
}
