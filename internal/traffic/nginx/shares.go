package nginx

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

const (
	// lots are the numbers of the dice.
	lots = 100
	// nobody is what a number leads to while there is no live side, and the pre-live name when its side, which follows, has no endpoint.
	nobody = "none"
)

// sharesScript and lookScript write and read shares.
var (
	//go:embed shares.sh
	sharesScript string
	//go:embed look.sh
	lookScript string
	// closeScript has clients close their connections.
	//
	//go:embed close.sh
	closeScript string
)

// targets say where the numbers and the pre-live name lead, as the script takes them: FROM-TO=SIDES, next=SIDES.
func targets(r traffic.Route) []string {
	var all []string
	from := 0
	for i, s := range r.Sides {
		if s.Weight == 0 {
			continue
		}
		g := group{side: s}
		for j, o := range r.Sides {
			if i != j && o.Weight > 0 {
				g.standIns = append(g.standIns, o)
			}
		}
		all = append(all, fmt.Sprintf("%d-%d=%s", from, from+s.Weight-1, g.name()))
		from += s.Weight
	}
	if from == 0 {
		all = append(all, fmt.Sprintf("0-%d=%s", lots-1, nobody))
	}
	next := cmp.Or(r.PreLive, nobody)
	if slices.ContainsFunc(r.Sides, func(s traffic.Side) bool { return s.Generation == r.PreLive && len(s.Endpoints) == 0 }) {
		next = nobody + "+" + r.PreLive
	}
	return append(all, "next="+next)
}

// nameOf is the name of shares.
func nameOf(targets []string) string {
	return fmt.Sprintf("shares-%x", sha256.Sum256([]byte(strings.Join(targets, " "))))[:len("shares-")+12]
}

// shares are those in force on a node.
type shares struct {
	name string // "" when there are none
	lots map[string]string
}

// parseShares reads what lookScript prints.
func parseShares(text string) shares {
	s := shares{lots: map[string]string{}}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		switch {
		case len(words) == 2 && words[0] == "name":
			s.name = words[1]
		case len(words) == 3 && words[0] == "lot":
			lot := strings.TrimPrefix(words[1], s.name+"/")
			s.lots[lot] = strings.TrimSuffix(strings.TrimPrefix(words[2], "../sides/"), "/"+lot)
		}
	}
	return s
}

// routed are the generations that any link leads to, also in the place of others.
func (s shares) routed() map[string]bool {
	all := map[string]bool{}
	for _, sides := range s.lots {
		for generation := range strings.SplitSeq(sides, "+") {
			all[generation] = true
		}
	}
	return all
}

// onto gives a route, which has none, the weights and the pre-live side. Shares that we have not written just so are refused.
func (s shares) onto(r traffic.Route) (traffic.Route, error) {
	r.Sides = slices.Clone(r.Sides)
	known := map[string]int{}
	for i, side := range r.Sides {
		known[side.Generation] = i
	}
	for lot, sides := range s.lots {
		generation, _, _ := strings.Cut(sides, "+")
		if i, ok := known[generation]; ok && lot != "next" {
			r.Sides[i].Weight++
		}
	}
	r.PreLive = strings.TrimPrefix(strings.TrimPrefix(s.lots["next"], nobody), "+")
	wanted := targets(r)
	if nameOf(wanted) != s.name || !maps.Equal(expand(wanted), s.lots) {
		return r, fault.New(fault.Refused, "somebody has changed its links")
	}
	return r, nil
}

// expand are the links of targets, by name.
func expand(targets []string) map[string]string {
	all := map[string]string{}
	for _, t := range targets {
		what, sides, _ := strings.Cut(t, "=")
		var from, to int
		if _, err := fmt.Sscanf(what, "%d-%d", &from, &to); err != nil {
			all[what] = sides
			continue
		}
		for lot := from; lot <= to; lot++ {
			all[fmt.Sprintf("%02d", lot)] = sides
		}
	}
	return all
}
