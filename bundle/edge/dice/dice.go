// Package dice is a matcher of Caddy that holds for a share of the requests, chosen by a number that each of them has. Caddy can do it in a
// language of its own (CEL), which costs every request more than all else that leads it.
package dice

import (
	"math/rand/v2"
	"net/http"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// variable is where a request keeps its number, for all matchers that it meets.
const variable = "crossfade_dice"

// Match is the module http.matchers.dice. It holds for the numbers between two percentages of all that there are, the first one included.
type Match struct {
	From int `json:"from"`
	To   int `json:"to"`
	// Of is a placeholder of the number, whose first eight characters are its hexadecimal digits, such as a UUID of version 4 (RFC 9562) has them. A request
	// for which it says nothing else than that is nobody's. Unless set, each request throws the dice.
	Of string `json:"of,omitempty"`
}

var _ caddyhttp.RequestMatcherWithError = (*Match)(nil)

// CaddyModule describes the module to Caddy.
func (*Match) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.matchers.dice", New: func() caddy.Module { return new(Match) }}
}

// MatchWithError reports whether the number of a request is one of ours.
func (m *Match) MatchWithError(r *http.Request) (bool, error) {
	n, ok := m.number(r)
	return ok && bound(m.From) <= n && n < bound(m.To), nil
}

func (m *Match) number(r *http.Request) (uint64, bool) {
	if m.Of != "" {
		digits := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).ReplaceAll(m.Of, "") //nolint:forcetypeassert // so says Caddy
		n, err := strconv.ParseUint(digits[:min(8, len(digits))], 16, 32)
		return n, err == nil && len(digits) >= 8
	}
	if n, ok := caddyhttp.GetVar(r.Context(), variable).(uint64); ok {
		return n, true
	}
	n := uint64(rand.Uint32())
	caddyhttp.SetVar(r.Context(), variable, n)
	return n, true
}

// bound is the first number past a percentage of all numbers of 32 bits.
func bound(percent int) uint64 { return uint64(percent) << 32 / 100 }
