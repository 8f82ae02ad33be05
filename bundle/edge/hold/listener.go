// Package hold keeps the connections of users open while one HTTP server replaces another in the same process, as Caddy does
// at every change of its configuration.
//
// Without it such a change costs requests: the kernel resets connections that wait to be accepted by the socket of the
// server that goes, and a user whose request leaves at the moment in which that server closes the idle connection gets a
// reset in place of an answer. Here one socket serves an address for as long as anybody listens on it, and an idle
// connection is not closed but handed to the newest server, with whatever the user has sent over it in the meantime.
//
// Requests under way are none of its business: net/http lets them end on the server that they began on.
package hold

import (
	"context"
	"net"
	"net/http"
	"sync"
)

// hubs are the sockets that are open, by address.
var (
	hubsMu sync.Mutex
	hubs   = map[string]*hub{}
)

// hub is one socket with everybody who listens on it. The newest who has begun to accept gets all connections.
type hub struct {
	address string
	socket  net.Listener

	mu        sync.Mutex
	listeners []*Listener   // open and accepting, the newest last
	changed   chan struct{} // closed when listeners change
	open      int           // listeners made and not closed, accepting or not
	done      chan struct{} // closed with the socket
}

// Listener is one server's view of the socket.
type Listener struct {
	hub      *hub
	incoming chan net.Conn
	closed   chan struct{}
	begin    sync.Once
	end      sync.Once

	mu    sync.Mutex
	conns map[*Conn]struct{} // those that this server serves
}

var _ net.Listener = (*Listener)(nil)

// Listen returns a listener on an address of the network tcp. Any number may be open on one address; its socket is closed
// with the last of them. The server that uses it must have ConnState as its hook.
func Listen(ctx context.Context, config net.ListenConfig, address string) (*Listener, error) {
	hubsMu.Lock()
	defer hubsMu.Unlock()
	h := hubs[address]
	if h == nil {
		socket, err := config.Listen(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		h = &hub{address: address, socket: socket, changed: make(chan struct{}), done: make(chan struct{})}
		hubs[address] = h
		go h.accept()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open++
	return &Listener{hub: h, incoming: make(chan net.Conn), closed: make(chan struct{}), conns: map[*Conn]struct{}{}}, nil
}

// accept takes connections from the socket until it is closed.
func (h *hub) accept() {
	for {
		raw, err := h.socket.Accept()
		if err != nil {
			select {
			case <-h.done:
				return
			default: // the process has no more files, say: net/http tries again, too
				h.wait()
				continue
			}
		}
		h.give(raw, nil)
	}
}

// give lets the newest listener accept a connection, whose user has already sent the given bytes.
func (h *hub) give(raw net.Conn, sent []byte) {
	for {
		h.mu.Lock()
		changed := h.changed
		var newest *Listener
		if len(h.listeners) > 0 {
			newest = h.listeners[len(h.listeners)-1]
		}
		h.mu.Unlock()
		if newest == nil {
			select {
			case <-changed:
			case <-h.done:
				raw.Close()
				return
			}
			continue
		}
		c := &Conn{Conn: raw, listener: newest, unread: sent}
		if newest.serve(c, changed) {
			return
		}
	}
}

// serve passes a connection to whoever accepts, unless that changes first.
func (l *Listener) serve(c *Conn, changed <-chan struct{}) bool {
	l.track(c)
	select {
	case l.incoming <- c:
		return true
	case <-changed:
	case <-l.closed:
	}
	l.forget(c)
	return false
}

// Accept returns the next connection. The first call makes the listener the one that gets all of them, and the idle ones of
// the others.
func (l *Listener) Accept() (net.Conn, error) {
	l.begin.Do(func() { l.hub.change(func(all []*Listener) []*Listener { return append(all, l) }) })
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-l.incoming:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close ends the listener; its idle connections go to the newest that is left. The last one closes the socket.
func (l *Listener) Close() error {
	err := net.ErrClosed
	l.end.Do(func() {
		close(l.closed)
		l.hub.change(func(all []*Listener) []*Listener {
			var rest []*Listener
			for _, other := range all {
				if other != l {
					rest = append(rest, other)
				}
			}
			return rest
		})
		err = l.hub.release()
	})
	return err
}

// Addr returns the address of the socket.
func (l *Listener) Addr() net.Addr { return l.hub.socket.Addr() }

// change changes who listens, and calls off the idle connections of all but the newest.
func (h *hub) change(edit func([]*Listener) []*Listener) {
	h.mu.Lock()
	before := h.listeners
	h.listeners = edit(before)
	close(h.changed)
	h.changed = make(chan struct{})
	after := h.listeners
	h.mu.Unlock()
	if len(after) == 0 { // nobody is left to take them: the server that goes closes them
		return
	}
	for _, l := range before {
		if l != after[len(after)-1] {
			l.callOff()
		}
	}
}

// newest reports whether the listener is the one that gets connections.
func (l *Listener) newest() bool {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	all := l.hub.listeners
	return len(all) > 0 && all[len(all)-1] == l
}

// others reports whether there is another listener than l: one that accepts, or one whose server is about to.
func (l *Listener) others() bool {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	select {
	case <-l.closed:
		return l.hub.open > 0
	default:
		return l.hub.open > 1
	}
}

func (h *hub) wait() {
	h.mu.Lock()
	changed := h.changed
	h.mu.Unlock()
	select {
	case <-changed:
	case <-h.done:
	case <-pause():
	}
}

// release closes the socket with its last listener.
func (h *hub) release() error {
	hubsMu.Lock()
	defer hubsMu.Unlock()
	h.mu.Lock()
	h.open--
	left := h.open
	h.mu.Unlock()
	if left > 0 {
		return nil
	}
	delete(hubs, h.address)
	close(h.done)
	return h.socket.Close()
}

func (l *Listener) track(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[c] = struct{}{}
}

func (l *Listener) forget(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

// callOff hands over the connections that are idle now; others follow when they become idle.
func (l *Listener) callOff() {
	l.mu.Lock()
	conns := make([]*Conn, 0, len(l.conns))
	for c := range l.conns {
		conns = append(conns, c)
	}
	l.mu.Unlock()
	for _, c := range conns {
		c.leave()
	}
}

// ConnState is the hook (http.Server.ConnState) by which the connections of a Listener learn what their server does with them.
func ConnState(c net.Conn, state http.ConnState) {
	if c, ok := c.(*Conn); ok {
		c.set(state)
	}
}
