package certs

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	gosync "sync"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/certs/pebbletest"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// childEnv tells a process of this test that it is to request a certificate, and how.
const childEnv = "CROSSFADE_CERTS_CHILD"

// errand is what a child does. It proves names by files of a directory, which the edge of its parent answers.
type errand struct {
	Of             spec.Certificate
	Dir, Key, Edge string
}

// child requests a certificate, and says that it has it.
func child() {
	var e errand
	if err := json.Unmarshal([]byte(os.Getenv(childEnv)), &e); err != nil {
		fmt.Println(err)
		os.Exit(2)
	}
	b, err := OpenBackup(e.Dir, e.Key)
	if err == nil {
		r := &Request{Of: e.Of, Backup: b, Prover: (&edge{}).proof(e.Edge), Now: time.Now, Say: func(string, ...any) {}}
		r.Prover.(*HTTP).Router = remote(e.Edge)
		_, err = r.Obtain(context.Background())
	}
	fmt.Println("obtained:", err)
	os.Exit(0)
}

// remote is the edge of another process, which is told by HTTP what to answer.
type remote string

func (r remote) Answer(ctx context.Context, host, path, text string) error {
	return r.tell(ctx, http.MethodPut, host, path, text)
}

func (r remote) Silence(ctx context.Context, host string) error {
	return r.tell(ctx, http.MethodDelete, host, "/", "")
}

func (r remote) tell(ctx context.Context, method, host, path, text string) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+string(r)+path, strings.NewReader(text))
	if err != nil {
		return err
	}
	req.Host = host
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// TestKilled kills a process with SIGKILL at every point of a request, when the CA has done what it was asked for and before the process knows
// it. The next process brings the request to its end, and no second certificate is requested.
func TestKilled(t *testing.T) {
	cases := map[string]struct {
		reason string
		at     string
		orders int
	}{
		"Ordered":    {"the order was made, and nobody knows its URL: there is another order, which asks for no certificate by itself", pebbletest.NewOrder, 2},
		"Looked":     {"the order is recorded: it goes on", pebbletest.Authorize, 1},
		"Challenged": {"the challenge was begun: the order goes on", pebbletest.Challenge, 1},
		"Finalized":  {"the CA has signed, and the process has not heard of it: the certificate is there, for the key that was kept", pebbletest.Finalize, 1},
		"Downloaded": {"the certificate was sent, and not kept: it is sent again", pebbletest.Download, 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, pebbletest.Options{Nonces: 1})
			r := s.request(t, "shop.example.com")
			cmd := s.child(t, r.Of)
			var once gosync.Once
			s.ca.After(func(req *http.Request) {
				if strings.HasPrefix(req.URL.Path, tc.at) {
					once.Do(func() {
						if err := cmd.Process.Kill(); err != nil {
							t.Error(err)
						}
						_, _ = cmd.Process.Wait()
					})
				}
			})
			started := time.Now()
			ok(t, cmd.Start())
			for state := "x"; state != ""; state = alive(cmd.Process.Pid) {
				if time.Since(started) > time.Minute {
					t.Fatal("the process is not killed")
				}
				<-time.After(20 * time.Millisecond)
			}
			s.ca.After(nil)
			if p, err := r.Backup.Get("shop"); p != nil || err != nil {
				t.Fatalf("it was not killed in time: %v", err)
			}
			p, err := r.Obtain(t.Context())
			ok(t, err)
			if why := p.Unfit([]string{"shop.example.com"}, time.Now()); why != "" {
				t.Error(why)
			}
			s.asked(t, tc.reason, tc.orders, 1)
			if _, err := os.Stat(r.orderFile()); !os.IsNotExist(err) {
				t.Error("the order is not forgotten")
			}
			s.noKeys(t, p)
		})
	}
}

// child is a process that requests a certificate, not yet started.
func (s *scene) child(t *testing.T, of spec.Certificate) *exec.Cmd {
	t.Helper()
	raw, err := json.Marshal(errand{Of: of, Dir: s.dir, Key: s.key, Edge: s.edge.server.Listener.Addr().String()})
	ok(t, err)
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childEnv+"="+string(raw))
	return cmd
}

// alive is "" once a process has gone.
func alive(pid int) string {
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err != nil {
		return ""
	}
	return "runs"
}
