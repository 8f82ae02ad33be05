package mirror

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

const host = "shop.example.com"

// edge answers users with one handler, and sends copies to another.
type edge struct {
	*httptest.Server
	handler *Handler
	copies  atomic.Int64
}

func newEdge(t *testing.T, users, mirrored http.HandlerFunc) *edge {
	t.Helper()
	e := &edge{}
	to := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.copies.Add(1)
		if r.Header.Get(Header) != "copy" || !strings.HasPrefix(strings.ToLower(r.Host), host) {
			t.Errorf("a copy for %s has the header %q", r.Host, r.Header.Get(Header))
		}
		mirrored(w, r)
	}))
	t.Cleanup(to.Close)
	e.handler = &Handler{
		Host: host, To: t.Name(), Endpoints: []string{strings.TrimPrefix(to.URL, "http://")}, Share: 100,
		Headers: []string{"Cache-Control"},
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	if err := e.handler.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, map[string]any{}))
		_ = e.handler.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			users(w, r)
			return nil
		}))
	}))
	t.Cleanup(e.Close)
	return e
}

// send sends a request for a host, and returns the body of its answer.
func (e *edge) send(t *testing.T, method, host, path, body string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, e.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body == "" {
		r.Body = nil
	}
	r.Host = host
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

// tallied waits until so many copies were seen to, and returns what was found.
func tallied(t *testing.T, want int64) Tally {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for tick := time.NewTicker(5 * time.Millisecond); ; <-tick.C {
		all := Tallies()
		i := slices.IndexFunc(all, func(s Tally) bool { return s.Host == host && s.To == t.Name() })
		if i >= 0 && all[i].Compared+all[i].Skipped >= want {
			return all[i]
		}
		if time.Now().After(deadline) {
			t.Fatalf("the tallies are %+v, want %d requests seen to", all, want)
		}
	}
}

func says(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, body)
	}
}

func TestDiffers(t *testing.T) {
	packed := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		defer z.Close()
		fmt.Fprint(z, `{"price": "2"}`)
	}
	tests := map[string]struct {
		users, mirrored http.HandlerFunc
		want            string
	}{
		"Same":      {says(`{"items": [{"price": 1, "of": null}]}`), says(`{"items": [{"price": 2.5, "of": "x"}, {"price": 0, "of": null}]}`), ""},
		"Empty":     {says(`{"items": [{"price": 1}]}`), says(`{"items": []}`), ""},
		"Null":      {says(`{"items": null}`), says(`{"items": [{"price": 1}]}`), ""},
		"Type":      {says(`{"items": [{"price": 1}]}`), says(`{"items": [{"price": "1"}]}`), ".items[].price is a string, not a number"},
		"Gone":      {says(`{"a": {"b": {"c": 1}}}`), says(`{"a": {}}`), ".a.b is gone"},
		"New":       {says(`{"a": 1}`), says(`{"a": 1, "b": {"c": 1}}`), ".b is new"},
		"Many":      {says(`{"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}`), says(`{}`), ".a is gone; .b is gone; .c is gone; 2 more"},
		"Top":       {says(`[1]`), says(`{}`), "the body is an object, not an array"},
		"Mixed":     {says(`[1, "a"]`), says(`["a", 1]`), ""},
		"NotJSON":   {says(`[1]`), says(`<html>`), "the body is no JSON"},
		"Packed":    {says(`{"price": 2}`), packed, ".price is a string, not a number"},
		"OtherText": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "a") }, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "b") }, ""},
		"Status":    {says(`{}`), func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, "the status is 502, not 200"},
		"Header": {
			func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Cache-Control", "max-age=60") },
			func(http.ResponseWriter, *http.Request) {}, `the header Cache-Control is missing, not "max-age=60"`,
		},
		"Lost": {says(`{}`), func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "it is not answered"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			e := newEdge(t, tc.users, tc.mirrored)
			e.send(t, http.MethodGet, host, "/items?token=secret", "")
			got := tallied(t, 1)
			want := Tally{Host: host, To: t.Name(), Compared: 1, Differences: []Difference{}}
			if tc.want != "" {
				want.Differing = 1
				want.Differences = []Difference{{tc.want, "GET /items", 1}}
			}
			if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
				t.Errorf("the tally is %+v\nwant %+v", got, want)
			}
		})
	}
}

// TestCopied wants a copy of what is safe to do twice, and of nothing else.
func TestCopied(t *testing.T) {
	e := newEdge(t, says("{}"), says("{}"))
	e.send(t, http.MethodPost, host, "/", "")
	e.send(t, http.MethodDelete, host, "/", "")
	e.send(t, http.MethodGet, host, "/", "a body")
	e.send(t, http.MethodGet, "next.example.com", "/", "")
	e.send(t, http.MethodHead, host, "/", "")
	e.send(t, http.MethodGet, strings.ToUpper(host)+":80", "/", "")
	if got := tallied(t, 2); e.copies.Load() != 2 || got.Compared != 2 {
		t.Errorf("%d copies, and the tally is %+v; want those of HEAD and of the last GET", e.copies.Load(), got)
	}
}

// TestUsersDoNotWait has the copies hang: users are answered at once, and all that are too many have no copy.
func TestUsersDoNotWait(t *testing.T) {
	release := make(chan struct{})
	e := newEdge(t, says(`{"a": 1}`), func(http.ResponseWriter, *http.Request) { <-release })
	const requests = underWay + 10
	begun := time.Now()
	for range requests {
		if got := e.send(t, http.MethodGet, host, "/", ""); got != `{"a": 1}` {
			t.Fatalf("a user got %q", got)
		}
	}
	if took := time.Since(begun); took > patience/2 {
		t.Errorf("the users waited for %v", took)
	}
	if got := tallied(t, 10); got.Skipped != 10 {
		t.Errorf("%d requests had no copy, want 10", got.Skipped)
	}
	close(release)
	if got := tallied(t, requests); got.Compared != underWay {
		t.Errorf("%d copies were compared, want %d", got.Compared, underWay)
	}
}

// TestNoEndpoints wants a configuration that cannot be to be refused, and nothing else.
func TestNoEndpoints(t *testing.T) {
	h := &Handler{Host: host, Share: 100}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	defer cancel()
	if err := h.Provision(ctx); err == nil || !strings.Contains(err.Error(), host) {
		t.Errorf("without endpoints: %v", err)
	}
	if err := h.Cleanup(); err != nil {
		t.Error(err)
	}
}

// TestLong passes a long body on, and compares no more of it than its head.
func TestLong(t *testing.T) {
	long := `{"a": "` + strings.Repeat("x", 2*kept) + `"}`
	e := newEdge(t, says(long), says(`{}`))
	if got := e.send(t, http.MethodGet, host, "/", ""); got != long {
		t.Errorf("a user got %d bytes, want %d", len(got), len(long))
	}
	if got := tallied(t, 1); got.Compared != 1 || got.Differing != 0 {
		t.Errorf("the tally is %+v", got)
	}
}
