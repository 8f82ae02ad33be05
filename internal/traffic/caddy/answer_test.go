package caddy_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// TestAnswer has the edge answer a path of a host by itself: of one that it has a route for, and of one that it has none for.
func TestAnswer(t *testing.T) {
	router, _ := startEdge(t)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the generation") }))
	t.Cleanup(s.Close)
	route := traffic.Route{Host: host, PreLiveHost: "next.example.com", PreLive: "g1", Sides: []traffic.Side{
		{Generation: "g1", Endpoints: []string{strings.TrimPrefix(s.URL, "http://")}, Weight: 100},
	}}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	says := func(reason, host, path, want string) {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, router.Entry()+path, nil)
		ok(err)
		req.Host = host
		res, err := http.DefaultClient.Do(req)
		ok(err)
		defer res.Body.Close()
		raw, err := io.ReadAll(res.Body)
		ok(err)
		if string(raw) != want {
			t.Errorf("%s: %s%s answers %q, want %q", reason, host, path, raw, want)
		}
	}
	const path, other = "/.well-known/acme-challenge/a", "/.well-known/acme-challenge/b"
	ok(router.Apply(t.Context(), route))
	for range 2 { // a second run changes nothing
		ok(router.Answer(t.Context(), host, path, "token.thumbprint"))
		ok(router.Answer(t.Context(), "new.example.com", path, "another"))
	}
	says("beside its route", host, path, "token.thumbprint")
	says("the other paths are the generation's", host, other, "the generation")
	says("without a route", "new.example.com", path, "another")
	route.Drain = 1
	ok(router.Apply(t.Context(), route))
	says("its route may change", host, path, "token.thumbprint")
	ok(router.Answer(t.Context(), host, other, "next"))
	says("the next one", host, other, "next")
	says("takes the place of the one before", host, path, "the generation")
	for range 2 {
		ok(router.Silence(t.Context(), host))
	}
	says("it is over", host, other, "the generation")
	says("for that host alone", "new.example.com", path, "another")
	if seen, err := router.Observe(t.Context(), "new.example.com"); seen != nil || err != nil {
		t.Errorf("an answer is no route: %v %v", seen, err)
	}
}
