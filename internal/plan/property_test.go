package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// drawConfig draws an environment whose services and units of prime need each other without a cycle, written in any order.
func drawConfig(t *rapid.T) (*spec.Config, map[string]Rendered) {
	cfg := &spec.Config{Environments: []spec.Environment{{Metadata: spec.Metadata{Name: "e"}, Spec: spec.EnvironmentSpec{Cluster: spec.Cluster{Provider: "local"}}}}}
	env, results := &cfg.Environments[0].Spec, map[string]Rendered{}
	needs := drawNeeds(t, "services")
	for _, name := range rapid.Permutation(slices.Sorted(maps.Keys(needs))).Draw(t, "order of services") {
		cfg.Services = append(cfg.Services, spec.Service{Metadata: spec.Metadata{Name: name}, Spec: spec.ServiceSpec{Namespace: "n", Needs: needs[name]}})
		env.Services = append(env.Services, spec.ServiceRef{Name: name})
		results["service/"+name] = Rendered{Manifests: name, Objects: []string{"ConfigMap n/" + name}}
	}
	needs = drawNeeds(t, "prime")
	for _, name := range rapid.Permutation(slices.Sorted(maps.Keys(needs))).Draw(t, "order of prime") {
		env.Prime = append(env.Prime, spec.Unit{Name: name, Needs: needs[name]})
		results["prime/"+name] = Rendered{Manifests: name}
	}
	return cfg, results
}

// drawNeeds draws a graph without cycles: each name only needs smaller ones.
func drawNeeds(t *rapid.T, what string) map[string][]string {
	needs := map[string][]string{}
	for i := range rapid.IntRange(0, 8).Draw(t, what) {
		var mine []string
		for j := range i {
			if rapid.Bool().Draw(t, fmt.Sprintf("%s: %d needs %d", what, i, j)) {
				mine = append(mine, fmt.Sprintf("u%d", j))
			}
		}
		needs[fmt.Sprintf("u%d", i)] = mine
	}
	return needs
}

func drawSeen(t *rapid.T) Observed {
	generations := rapid.SliceOfNDistinct(rapid.StringMatching(`e26112101[0-9]{2}`), 0, 3, rapid.ID[string]).Draw(t, "generations")
	seen := Observed{Now: now, Generations: generations, Weights: map[string]int{}, Good: map[string]string{}}
	for _, g := range generations {
		seen.Live = g
		seen.Weights[g] = rapid.IntRange(0, 100).Draw(t, "weight")
		seen.Good["u"+g[len(g)-1:]] = g
	}
	return seen
}

// Every unit follows those it needs, each is there once, and the steps keep to the same order.
func TestOrderRespectsNeeds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg, results := drawConfig(t)
		p, err := Make(cfg, "e", results, drawSeen(t))
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Services) != len(cfg.Services) || len(p.Prime) != len(cfg.Environments[0].Spec.Prime) {
			t.Fatalf("the plan has %d services and %d units of prime", len(p.Services), len(p.Prime))
		}
		for _, layer := range [][]Unit{p.Prime, p.Services} {
			done := map[string]bool{}
			for _, u := range layer {
				for _, need := range u.Needs {
					if !done[need] {
						t.Fatalf("%s comes before %s, which it needs", u.Name, need)
					}
				}
				done[u.Name] = true
			}
		}
		done := map[string]bool{}
		for _, s := range Steps(p) {
			for _, need := range s.Needs {
				if !done[need] {
					t.Fatalf("step %s comes before %s", s.ID, need)
				}
			}
			if done[s.ID] {
				t.Fatalf("two steps %s", s.ID)
			}
			if len(s.Needs) == 0 && s.ID != "plan" {
				t.Fatalf("step %s waits for nothing", s.ID)
			}
			done[s.ID] = true
		}
	})
}

// The same input gives the same plan, whatever the order of its maps, the time's seconds, and a trip through JSON.
func TestHashIsStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg, results := drawConfig(t)
		seen := drawSeen(t)
		a, err := Make(cfg, "e", results, seen)
		if err != nil {
			t.Fatal(err)
		}
		again := seen
		again.Now = again.Now.Add(-time.Second) // the same minute
		again.Weights, again.Good = reversed(seen.Weights), reversed(seen.Good)
		b, err := Make(cfg, "e", reversed(results), again)
		if err != nil {
			t.Fatal(err)
		}
		if a.Hash != b.Hash {
			t.Fatalf("one input, two hashes: %s and %s", a.Hash, b.Hash)
		}
		raw, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		var back Plan
		if err := json.Unmarshal(raw, &back); err != nil {
			t.Fatal(err)
		}
		if err := back.Intact(); err != nil {
			t.Fatal(err)
		}
	})
}

// reversed returns a copy of a map that was filled in the other order.
func reversed[V any](m map[string]V) map[string]V {
	result := map[string]V{}
	keys := slices.Sorted(maps.Keys(m))
	slices.Reverse(keys)
	for _, k := range keys {
		result[k] = m[k]
	}
	return result
}

// Different input gives a different hash, and a plan that was changed is refused.
func TestHashCoversEverything(t *testing.T) {
	changes := map[string]func(*Plan){
		"generation": func(p *Plan) { p.Generation += "b" },
		"previous":   func(p *Plan) { p.Previous = "x" },
		"nodes":      func(p *Plan) { p.Cluster.Local.Nodes++ },
		"manifests":  func(p *Plan) { p.Services[0].Manifests = "sha256:0" },
		"version":    func(p *Plan) { p.Services[0].Version = "x" },
		"check":      func(p *Plan) { p.Verify[0].HTTP.Status = 500 },
		"order":      func(p *Plan) { slices.Reverse(p.Services) },
		"approve":    func(p *Plan) { p.Gate.Approve = false },
		"steps":      func(p *Plan) { p.Shift.Steps = []int{100} },
		"retire":     func(p *Plan) { p.Retire.Keep = true },
		"route":      func(p *Plan) { p.Routes[0].Service = "x" },
		"rules":      func(p *Plan) { p.Copy.Rules.Exclude = nil },
		"owned":      func(p *Plan) { p.Copy.Owned = nil },
		"weights":    func(p *Plan) { p.Premises.Weights = nil },
		"good":       func(p *Plan) { p.Premises.Good["web"] = "x" },
		"hash":       func(p *Plan) { p.Hash = "" },
	}
	hashes := map[string]string{}
	for name, change := range changes {
		p, err := Make(shop(), "production", rendered(), live())
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Intact(); err != nil {
			t.Fatal(err)
		}
		change(p)
		if err := p.Intact(); fault.CodeOf(err) != fault.Invalid {
			t.Errorf("%s was changed and the plan passes: %v", name, err)
		}
		sum, err := p.sum()
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := hashes[sum]; ok {
			t.Errorf("%s and %s give one hash", name, other)
		}
		hashes[sum] = name
	}
}
