package dice

import (
	"context"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// request is one as Caddy prepares it.
func request(user string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	replacer := caddy.NewReplacer()
	replacer.Set("user", user)
	ctx := context.WithValue(r.Context(), caddy.ReplacerCtxKey, replacer)
	return r.WithContext(context.WithValue(ctx, caddyhttp.VarsCtxKey, map[string]any{}))
}

// TestOneSide has every request meet exactly one of the sides that share all of them, in their proportions.
func TestOneSide(t *testing.T) {
	sides := []Match{{From: 0, To: 1}, {From: 1, To: 34}, {From: 34, To: 34}, {From: 34, To: 100}}
	const all = 100_000
	met := make([]int, len(sides))
	for range all {
		r, n := request(""), 0
		for i := range sides {
			if mustMatch(t, &sides[i], r) {
				met[i]++
				n++
			}
		}
		if n != 1 {
			t.Fatalf("a request is of %d sides", n)
		}
	}
	for i, s := range sides {
		p := float64(s.To-s.From) / 100
		if got, off := float64(met[i])/all, 6*math.Sqrt(p*(1-p)/all); math.Abs(got-p) > off { // 6 standard deviations
			t.Errorf("side %d has %.4f of the requests, want %.2f", i, got, p)
		}
	}
}

// TestOf has the number come from the request.
func TestOf(t *testing.T) {
	for user, want := range map[string]bool{
		"00000000-0000-4000-8000-000000000000": false,
		"3fffffff-0000-4000-8000-000000000000": false,
		"40000000-0000-4000-8000-000000000000": true,
		"bfffffff-0000-4000-8000-000000000000": true,
		"BFFFFFFF":                             true,
		"c0000000-0000-4000-8000-000000000000": false,
		"":                                     false,
		"7fffff":                               false,
		"somebody":                             false,
	} {
		if got := mustMatch(t, &Match{From: 25, To: 75, Of: "{user}"}, request(user)); got != want {
			t.Errorf("%q: %v, want %v", user, got, want)
		}
	}
	for user, want := range map[string]bool{"ffffffff": true, "00000000": true, "": false} {
		if got := mustMatch(t, &Match{From: 0, To: 100, Of: "{user}"}, request(user)); got != want {
			t.Errorf("all of them, %q: %v, want %v", user, got, want)
		}
	}
}

func mustMatch(t *testing.T, m *Match, r *http.Request) bool {
	t.Helper()
	ok, err := m.MatchWithError(r)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}
