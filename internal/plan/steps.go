package plan

import (
	"fmt"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/spec"
)

// Step is one step of a roll-over, for people. Its ID is the one that the run's events bear.
type Step struct {
	ID    string   `json:"id"`
	Needs []string `json:"needs,omitempty"` // the steps that it waits for
	Does  string   `json:"does"`
}

// Steps lists what carrying out a plan will do, in an order in which each step follows those it needs. Steps for which there
// is nothing to do are left out.
func Steps(p *Plan) []Step {
	l := steps{plan: p}
	l.build()
	l.prove()
	l.move()
	l.remove()
	return l.list
}

// steps is a list under way: last are the steps that the next one waits for.
type steps struct {
	plan *Plan
	list []Step
	last []string
}

// then adds a step that waits for everything before it.
func (l *steps) then(id, format string, args ...any) {
	l.list = append(l.list, Step{ID: id, Needs: l.last, Does: fmt.Sprintf(format, args...)})
	l.last = []string{id}
}

func (l *steps) build() {
	p := l.plan
	l.then("plan", "compare what the plan was made from with what is")
	before := l.last
	l.then("provision/cluster", "make %s: %s", p.Generation, describeCluster(p.Cluster))
	l.list = append(l.list, Step{ID: "provision/entry", Needs: before, Does: "open the entry: " + joined(routers(p.Routes), "none, there are no routes")})
	l.last = append(l.last, "provision/entry")
	if len(p.Certificates) > 0 {
		l.then("certificates/restore", "put %s of the backup into %s", count(len(p.Certificates), "certificate"), p.Generation)
	}
	l.units("prime", p.Prime)
	if len(p.Certificates) > 0 {
		l.then("certificates/request", "request those that the backup lacks, or that are due")
	}
	if p.Copy != nil {
		l.then("copy", "recreate what no pipeline owns, from %s", p.Previous)
		l.list = append(l.list, Step{ID: "follow", Needs: l.last, Does: "carry every change over from " + p.Previous + ", until sync"})
	}
	l.units("deploy", p.Services)
}

// units adds a layer of which every unit waits only for those that it needs.
func (l *steps) units(layer string, units []Unit) {
	if len(units) == 0 {
		return
	}
	before := l.last
	l.last = nil
	here := map[string]bool{}
	for _, u := range units {
		here[u.Name] = true
	}
	for _, u := range units {
		s := Step{ID: layer + "/" + u.Name, Needs: before, Does: describeUnit(u)}
		var needs []string
		for _, need := range u.Needs {
			if here[need] {
				needs = append(needs, layer+"/"+need)
			}
		}
		if needs != nil {
			s.Needs = needs
		}
		l.list = append(l.list, s)
		l.last = append(l.last, s.ID)
	}
}

func (l *steps) prove() {
	p := l.plan
	if len(p.Routes) > 0 {
		var names []string
		for _, r := range p.Routes {
			names = append(names, r.PreLive)
		}
		l.then("pre-live", "answer at %s from %s", strings.Join(names, ", "), p.Generation)
	}
	l.then("verify", "prove it: %s through the pre-live names, %s of the environment", count(len(p.Routes), "route"), count(len(p.Verify), "check"))
	switch g := p.Gate; {
	case len(g.Checks) > 0:
		l.then("gate", "%s must hold%s", count(len(g.Checks), "check"), during(g.Soak))
	case g.Soak > 0:
		l.then("gate", "leave it alone%s", during(g.Soak))
	}
	if p.Gate.Approve {
		l.then("approve", "wait for a person: crossfade approve")
	}
}

func (l *steps) move() {
	p := l.plan
	if len(p.Routes) > 0 {
		l.ahead()
		for _, share := range p.Shift.Steps {
			l.then(fmt.Sprintf("shift/%d", share), "%d %% of the users to %s%s", share, p.Generation, watched(p))
		}
	}
	if p.Copy != nil {
		l.then("sync", "copy what has changed in %s since", p.Previous)
	}
	if p.Previous == "" {
		l.then("hand-over", "CronJobs, Jobs and singletons run in %s", p.Generation)
	} else {
		l.then("hand-over", "CronJobs, Jobs and singletons run in %s only, once those of %s have ended, within %s", p.Generation, p.Previous, short(p.Shift.HandOver))
	}
	if p.Previous != "" && len(p.Routes) > 0 {
		l.then("drain", "wait up to %s for what %s still answers", short(p.Shift.Drain), p.Previous)
	}
	l.then("settle", "%s is live, its versions are good", p.Generation)
}

// ahead is what the new generation gets before the first step.
func (l *steps) ahead() {
	p := l.plan
	if p.Previous != "" {
		l.then("shift/scale", "as many pods as autoscalers, or people, have given to %s", p.Previous)
	}
	if m := p.Shift.Mirror; m != nil {
		l.then("shift/mirror", "copies of %d %% of the requests that are safe to repeat to %s%s; %v %% of the answers may differ", m.Share, p.Generation, during(m.Interval), m.Differences)
	}
	if h := p.Shift.Header; h != nil {
		l.then("shift/header", "users with %s: %s to %s%s", h.Name, h.Value, p.Generation, during(h.Interval))
	}
}

func (l *steps) remove() {
	p := l.plan
	if p.Previous == "" || p.Retire.Keep {
		return
	}
	if p.Retire.After > 0 {
		l.then("soak", "keep %s for %s: crossfade switch-back returns to it", p.Previous, short(p.Retire.After))
	}
	l.then("retire/quarantine", "see that nothing goes to %s", p.Previous)
	l.then("retire/delete", "delete %s", p.Previous)
}

func describeCluster(c spec.Cluster) string {
	if c.Provider == "local" && c.Local != nil {
		return fmt.Sprintf("a cluster on this machine, %s", count(c.Local.Nodes, "node"))
	}
	if c.Provider == "existing" && c.Existing != nil {
		return "the idle one of " + strings.Join(c.Existing.Contexts, " and ")
	}
	return "a cluster of " + c.Provider
}

func describeUnit(u Unit) string {
	text := "apply " + count(len(u.Objects), "object")
	if u.Version != "" {
		text += " at " + u.Version
	}
	return text + ", " + count(len(u.Checks), "check")
}

func watched(p *Plan) string {
	text := ", watched" + during(p.Shift.Interval)
	switch {
	case len(p.Shift.Checks) > 0:
		return text + " by " + count(len(p.Shift.Checks), "check") + analysed(p)
	case p.Shift.Interval > 0:
		return text + analysed(p)
	}
	return ""
}

// analysed says that the routers' figures are compared, where there is another generation to compare with.
func analysed(p *Plan) string {
	if p.Shift.Analysis == nil || p.Previous == "" {
		return ""
	}
	return ", and compared by " + count(len(p.Shift.Analysis.Rules), "rule")
}

func during(d spec.Duration) string {
	if d == 0 {
		return ""
	}
	return " for " + short(d)
}

// short writes a duration without the zeros at its end: 30s, 5m, 72h.
func short(d spec.Duration) string {
	text := time.Duration(d).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func count(n int, what string) string {
	switch n {
	case 0:
		return "no " + what + "s"
	case 1:
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// routers names the routers of routes, each once.
func routers(routes []Route) []string {
	var names []string
	seen := map[string]bool{}
	for _, r := range routes {
		if !seen[r.Router.Name] {
			names = append(names, r.Router.Name)
		}
		seen[r.Router.Name] = true
	}
	return names
}

func joined(words []string, none string) string {
	if len(words) == 0 {
		return none
	}
	return strings.Join(words, ", ")
}
