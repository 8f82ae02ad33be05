package kubetest

import (
	"io"
	"net"
	"sync"
	"testing"

	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/crossfade-dev/crossfade/internal/cluster"
)

// Line is a line to a server that can be cut.
type Line struct {
	Access cluster.Access
	to     string

	lock sync.Mutex
	open map[net.Conn]bool
}

// Line returns a line to the server, until the test ends.
func (s *Server) Line(t *testing.T) *Line {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &Line{to: s.address(t), open: map[net.Conn]bool{}}
	l.Access = s.changed(t, func(c *api.Cluster, _ *api.AuthInfo) { c.Server = "https://" + listener.Addr().String() })
	var pending sync.WaitGroup
	pending.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			pending.Go(func() { l.carry(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		l.Cut()
		pending.Wait()
	})
	return l
}

// Cut cuts every connection there is, in the middle of whatever it carries. New ones can be made.
func (l *Line) Cut() {
	l.lock.Lock()
	defer l.lock.Unlock()
	for conn := range l.open {
		_ = conn.Close()
	}
}

func (l *Line) carry(conn net.Conn) {
	defer conn.Close()
	up, err := net.Dial("tcp", l.to)
	if err != nil {
		return
	}
	defer up.Close()
	l.lock.Lock()
	l.open[conn], l.open[up] = true, true
	l.lock.Unlock()
	defer func() {
		l.lock.Lock()
		defer l.lock.Unlock()
		delete(l.open, conn)
		delete(l.open, up)
	}()
	var pending sync.WaitGroup
	defer pending.Wait()
	pending.Go(func() {
		_, _ = io.Copy(up, conn) // ends when either is closed
		_ = up.Close()
	})
	_, _ = io.Copy(conn, up)
	_ = conn.Close()
}
