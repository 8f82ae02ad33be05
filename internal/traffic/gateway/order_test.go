package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
)

// late is an answer each part of which comes late.
type late struct {
	http.ResponseWriter
	ended <-chan struct{}
}

// Unwrap is for http.ResponseController.
func (l late) Unwrap() http.ResponseWriter { return l.ResponseWriter }

func (l late) Write(p []byte) (int, error) {
	select {
	case <-time.After(500 * time.Millisecond):
	case <-l.ended:
	}
	return l.ResponseWriter.Write(p)
}

// TestLate has the controller learn of EndpointSlices half a second later than of HTTPRoutes. Endpoints of the side with all users move to other ports, and
// nobody notices.
func TestLate(t *testing.T) {
	l := newLabBehind(t, func(pass http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/endpointslices") && r.URL.Query().Has("watch") {
				w = late{w, r.Context().Done()}
			}
			pass.ServeHTTP(w, r)
		})
	}, "--providers.providersthrottleduration=10ms")
	r := l.mustRouter(t)
	apply(t, r, shop(0, []string{endpoint(t, "g1")}, nil))
	report := l.users(t, func() {
		for range 6 {
			apply(t, r, shop(0, []string{endpoint(t, "g1")}, nil))
		}
	})
	if report.Requests.Failed > 0 || report.Requests.Sent < 500 {
		t.Errorf("%d of %d requests failed: %v", report.Requests.Failed, report.Requests.Sent, report.Failures)
	}
}

// scissors is a way to the API server that takes so many writes and no more.
type scissors struct {
	lock  sync.Mutex
	left  int
	taken []string
}

func (s *scissors) handle(pass http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			s.lock.Lock()
			s.left--
			left := s.left
			parts := strings.Split(r.URL.Path, "/")
			if left >= 0 {
				s.taken = append(s.taken, r.Method+" "+parts[len(parts)-2])
			}
			s.lock.Unlock()
			if left < 0 {
				http.Error(w, "stopped", http.StatusForbidden)
				return
			}
		}
		pass.ServeHTTP(w, r)
	})
}

// TestOrder stops a change after each of its writes: whatever the HTTPRoutes lead to is there at every moment, no user fails, and the next
// Apply goes on.
func TestOrder(t *testing.T) {
	l := newLab(t, "--providers.providersthrottleduration=200ms")
	r, s := l.mustRouter(t), &scissors{}
	cut := (&lab{Access: l.server.Behind(t, s.handle), Entry: l.Entry}).mustRouter(t)
	from := shop(0, []string{endpoint(t, "g1")}, nil)
	to := shop(50, []string{endpoint(t, "g1")}, []string{endpoint(t, "g2")})
	apply(t, r, from)
	report := l.users(t, func() {
		for writes, err := 0, error(fault.New(fault.Failed, "not yet")); err != nil; writes++ {
			if writes > 40 {
				t.Fatal(err)
			}
			s.left, s.taken = writes, nil
			err = cut.Apply(t.Context(), to)
			l.whole(t, s.taken)
			if err == nil {
				continue
			}
			apply(t, r, to)
			apply(t, r, from)
		}
	})
	t.Log(s.taken)
	if report.Requests.Failed > 0 {
		t.Errorf("%d of %d requests failed: %v", report.Requests.Failed, report.Requests.Sent, report.Failures)
	}
	led := false
	for _, write := range s.taken {
		if (write == "PATCH services" || write == "PATCH endpointslices") && led || strings.HasPrefix(write, "DELETE") && !led {
			t.Errorf("%s comes at the wrong time: %v", write, s.taken)
		}
		led = led || write == "PATCH httproutes"
	}
}

// whole wants all that the routes lead to to be there.
func (l *lab) whole(t *testing.T, after []string) {
	t.Helper()
	all := l.list(t, true)
	for name, obj := range all {
		if !strings.HasPrefix(name, "httproutes ") {
			continue
		}
		for _, rule := range field.List(obj, "spec", "rules") {
			refs, _ := field.AsMap(rule)["backendRefs"].([]any)
			for _, ref := range refs {
				service := fmt.Sprint(field.AsMap(ref)["name"])
				if all["services edge/"+service] == nil || all["endpointslices edge/"+service] == nil {
					t.Errorf("after %v, %s leads to %s, which is not there", after, name, service)
				}
			}
		}
	}
}
