package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// sum returns the hash over everything in the plan but the hash itself and the time at which it was made. encoding/json
// writes the fields in order of the types and the keys of maps in order of name, so equal plans have equal hashes.
func (p Plan) sum() (string, error) {
	p.Hash, p.Premises.Now = "", time.Time{}
	raw, err := json.Marshal(p)
	if err != nil {
		return "", fault.New(fault.Failed, "cannot write the plan for %s as JSON: %w", p.Environment, err)
	}
	digest := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(digest[:]), nil
}

// Intact refuses a plan whose hash does not fit its contents: it was changed, or cut off, after it had been made.
func (p Plan) Intact() error {
	sum, err := p.sum()
	if err != nil {
		return err
	}
	if sum != p.Hash {
		return fault.New(fault.Invalid, "the plan for %s was changed after it was made: its hash is %s, its contents have %s", p.Environment, p.Hash, sum).
			WithHint("make a new plan")
	}
	return nil
}

// Check refuses a plan whose premises no longer hold, and names each that changed: the live generation, the weights, the
// generations that stand, the good versions of the plan's services.
func Check(p *Plan, seen Observed) error {
	var changes []string
	changed := func(what, was, is string) {
		if was != is {
			changes = append(changes, fmt.Sprintf("%s was %s, is %s", what, orNone(was), orNone(is)))
		}
	}
	changed("the live generation", p.Premises.Live, seen.Live)
	weights := maps.Clone(p.Premises.Weights)
	if weights == nil {
		weights = map[string]int{}
	}
	maps.Copy(weights, seen.Weights)
	for _, g := range sortedKeys(weights) {
		changed("the share of "+g, fmt.Sprintf("%d %%", p.Premises.Weights[g]), fmt.Sprintf("%d %%", seen.Weights[g]))
	}
	for _, g := range seen.Generations {
		if !slices.Contains(p.Premises.Generations, g) {
			changes = append(changes, "the generation "+g+" has appeared")
		}
	}
	for _, g := range p.Premises.Generations {
		if !slices.Contains(seen.Generations, g) {
			changes = append(changes, "the generation "+g+" has gone")
		}
	}
	for _, s := range p.Services {
		changed("the good version of "+s.Name, p.Premises.Good[s.Name], seen.Good[s.Name])
	}
	if len(changes) == 0 {
		return nil
	}
	return fault.New(fault.Failed, "the plan no longer fits: %s", strings.Join(changes, "; ")).WithHint("make a new plan")
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
