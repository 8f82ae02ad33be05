package dns

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// shares are the generations that a name leads users to, with how many percent of them; generations without users are not in it.
type shares map[string]int

// String is how shares are written in a note and for people: the name of the generation that has everybody, or "g1:95,g2:5".
func (s shares) String() string {
	if len(s) == 1 {
		for generation := range s {
			return generation
		}
	}
	var parts []string
	for _, generation := range slices.Sorted(maps.Keys(s)) {
		parts = append(parts, fmt.Sprintf("%s:%d", generation, s[generation]))
	}
	return strings.Join(parts, ",")
}

// sharesIn reads what String wrote.
func sharesIn(text string) (shares, error) {
	s := shares{}
	if text == "" {
		return s, nil
	}
	if !strings.Contains(text, ":") {
		return shares{text: 100}, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		generation, percent, _ := strings.Cut(part, ":")
		n, err := strconv.Atoi(percent)
		if err != nil {
			return nil, err
		}
		s[generation] = n
	}
	return s, nil
}

// equal reports whether both lead alike.
func (s shares) equal(o shares) bool { return maps.Equal(s, o) }

// most is the generation that most users are led to; "" for none.
func (s shares) most() string {
	all := slices.Sorted(maps.Keys(s))
	if len(all) == 0 {
		return ""
	}
	return slices.MaxFunc(all, func(a, b string) int { return cmp.Compare(s[a], s[b]) })
}

// generations are those that users are led to, in order.
func (s shares) generations() []string { return slices.Sorted(maps.Keys(s)) }
