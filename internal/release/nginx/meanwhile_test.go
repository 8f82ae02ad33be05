package nginx_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/host/local"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
	"github.com/crossfade-dev/crossfade/internal/release/nginx"
)

// TestReloadedMeanwhile has somebody else reload nginx just before the file is written, then stops: the file does not count as read.
func TestReloadedMeanwhile(t *testing.T) {
	t.Parallel()
	l := newLab(t, 1)
	l.nearby(t)
	l.lead(t, colour.Blue)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var once sync.Once
	l.hosts[0].before = func(_ int64, doing string) error {
		switch {
		case doing == "write":
			once.Do(func() {
				if err := l.nginx[0].Node(local.New("somebody else")).Reload(t.Context(), 20*time.Second); err != nil {
					t.Error(err)
				}
			})
		case strings.HasPrefix(doing, "flock"):
			stop()
			return fault.New(fault.Interrupted, "stopped: %w", context.Canceled)
		}
		return nil
	}
	err := l.Lead(ctx, nginx.Toward(colour.Green, colour.Blue, 100))
	refused(t, "stopped", err, fault.Interrupted)
	l.hosts[0].before = nil
	if led, err := l.Led(t.Context()); err != nil || names(led) != "blue,green" {
		t.Errorf("users may be led to %v, want both: %v", led, err)
	}
	l.lead(t, colour.Green)
	l.leads(t, "completed", "green")
}

// TestSideBySide switches two services on the same nodes at the same time.
func TestSideBySide(t *testing.T) {
	t.Parallel()
	l := newLab(t, 2)
	other := *l.Upstream
	other.Service, other.Name = "orders", "orders"
	var both sync.WaitGroup
	for _, u := range []*nginx.Upstream{l.Upstream, &other} {
		both.Go(func() {
			for i := range 4 {
				c := []colour.Colour{colour.Green, colour.Blue}[i%2]
				if err := u.Lead(t.Context(), nginx.Toward(c, colour.None, 100)); err != nil {
					t.Error(err)
				}
				if led, err := u.Led(t.Context()); err != nil || names(led) != string(c) {
					t.Errorf("users of %s are led to %v, want %s: %v", u.Service, led, c, err)
				}
				if got := asks(t, l.nginx[0], "/"); u == l.Upstream && got != string(c) {
					t.Errorf("users of %s get %s, want %s", u.Service, got, c)
				}
			}
		})
	}
	both.Wait()
}

// TestDraining counts what goes on with a connection from before.
func TestDraining(t *testing.T) {
	t.Parallel()
	l := newLab(t, 2)
	l.lead(t, colour.Blue)
	until := filepath.Join(t.TempDir(), "until")
	got := make(chan string, 1)
	response, err := http.Get("http://" + l.nginx[1].Address + "/?until=" + until)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		got <- fmt.Sprintf("%s%v", body, err)
	}()
	l.lead(t, colour.Green)
	if n, err := l.Draining(t.Context()); err != nil || n != 1 {
		t.Errorf("%d workers go on with connections from before, want 1: %v", n, err)
	}
	if err := os.WriteFile(until, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if text := <-got; text != "blue<nil>" {
		t.Errorf("the request got %s, want blue", text)
	}
	await(t, "nothing is left", func() bool {
		n, err := l.Draining(t.Context())
		return err == nil && n == 0
	})
}

// TestUpload switches while a user still sends the body of a request. nginx may not have begun to pass it on: it counts by its worker, and is answered
// by the version from before.
func TestUpload(t *testing.T) {
	t.Parallel()
	l := newLab(t, 2)
	l.lead(t, colour.Blue)
	c, err := net.Dial("tcp", l.nginx[0].Address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbo")
	asks(t, l.nginx[0], "/") // it has been accepted by then
	l.lead(t, colour.Green)
	if n, err := l.Draining(t.Context()); err != nil || n != 1 {
		t.Errorf("%d workers go on with connections from before, want 1: %v", n, err)
	}
	fmt.Fprint(c, "dy")
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if answer, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200") || !strings.HasSuffix(string(answer), "blue") {
		t.Errorf("the upload is answered %q %v, want 200 from blue", answer, err)
	}
	await(t, "nothing is left", func() bool {
		n, err := l.Draining(t.Context())
		return err == nil && n == 0
	})
}

// TestStale meets a node that was made again from a backup, and one that was added.
func TestStale(t *testing.T) {
	t.Parallel()
	l := newLab(t, 2)
	l.lead(t, colour.Blue)
	backup := l.files(t)
	l.lead(t, colour.Green)
	n := l.nginx[0]
	n.Stop(t)
	n.Write(t, "conf.d/crossfade-web.conf", backup[n.File("crossfade-web.conf")])
	n.Run(t)
	if led, err := l.Led(t.Context()); err != nil || names(led) != "blue,green" {
		t.Errorf("users are led to %v, want both: %v", led, err)
	}
	l.lead(t, colour.Green)
	l.leads(t, "it is mended", "green")
	n.Stop(t)
	if err := os.Remove(n.File("conf.d/crossfade-web.conf")); err != nil {
		t.Fatal(err)
	}
	n.Run(t)
	if led, err := l.Led(t.Context()); err != nil || names(led) != "green" {
		t.Errorf("users are led to %v, want green: a node without the file leads nowhere: %v", led, err)
	}
	l.lead(t, colour.Green)
	l.leads(t, "it is added", "green")
}
