package plan

import (
	"cmp"
	"slices"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// What holds where the configuration says nothing.
const (
	clusterTimeout = 10 * time.Minute
	unitTimeout    = 5 * time.Minute
	checkTimeout   = 30 * time.Second
	jobTimeout     = 2 * time.Minute
	parityTimeout  = 5 * time.Minute
	drain          = 30 * time.Second
	handOver       = 10 * time.Minute
)

// Rendered is what a unit's manifests became.
type Rendered struct {
	Manifests string   // digest of the rendered objects, a blob of the record
	Objects   []string // what is in it: "apps/Deployment shop/web"
	Images    []string
	Owned     []string // see Unit
}

// Make plans a roll-over of an environment: from the configuration as spec.Load returned it, from what its units were
// rendered to (by "prime/NAME" and "service/NAME"; a service at its good version or else the one of the environment), and
// from what was observed. It is pure: the same input makes the same plan. Nothing in the plan is left to a default.
func Make(cfg *spec.Config, environment string, rendered map[string]Rendered, seen Observed) (*Plan, error) {
	env, err := cfg.Environment(environment)
	if err != nil {
		return nil, err
	}
	generation, err := generationName(env.GenerationPrefix(), seen)
	if err != nil {
		return nil, err
	}
	p := &Plan{
		Environment: environment,
		Prefix:      env.GenerationPrefix(),
		Generation:  generation,
		Previous:    seen.Live,
		Cluster:     withClusterDefaults(env.Spec.Cluster),
		Verify:      withDefaults(env.Spec.Verify),
		Gate:        env.Spec.Gate,
		Shift:       withShiftDefaults(env.Spec.Shift, seen.Live),
		Retire:      env.Spec.Retire,
		Premises:    seen,
	}
	p.Gate.Checks = withDefaults(p.Gate.Checks)
	if p.Prime, err = prime(env, rendered); err != nil {
		return nil, err
	}
	if p.Services, err = services(cfg, env, rendered, seen.Good); err != nil {
		return nil, err
	}
	p.Nginx = withNginxDefaults(env.Spec.Nginx)
	if err := p.replaceable(); err != nil {
		return nil, err
	}
	if p.Routes, err = Routes(cfg, env); err != nil {
		return nil, err
	}
	if p.Certificates, err = Certificates(cfg, env); err != nil {
		return nil, err
	}
	p.CertificateBackup = env.Spec.CertificateBackup
	if seen.Live != "" {
		p.Copy = &Copy{Rules: env.Spec.Copy, Owned: owned(p.Certificates, p.Prime, p.Services)}
	}
	if p.Hash, err = p.sum(); err != nil {
		return nil, err
	}
	return p, nil
}

// replaceable refuses to replace a live generation while the nginx of its nodes leads users to a service: they would stay with it.
func (p *Plan) replaceable() error {
	for _, u := range p.Services {
		if p.Previous != "" && u.Front != nil && u.Front.Nginx != nil {
			return fault.New(fault.Invalid, "cannot replace %s: nginx leads users to %s there, and a roll-over does not move those", p.Previous, u.Name).
				WithHint("lead the users of %s by a route, and take nginx from its blueGreen.front", u.Name)
		}
	}
	return nil
}

// generationName returns the prefix and the time, with a letter where that name was given before: the time stays true.
func generationName(prefix string, seen Observed) (string, error) {
	name := prefix + seen.Now.UTC().Format("0601021504")
	taken := func(name string) bool {
		return name == seen.Live || slices.Contains(seen.Generations, name) || slices.Contains(seen.Taken, name)
	}
	if !taken(name) {
		return name, nil
	}
	for letter := 'b'; letter <= 'z'; letter++ {
		if next := name + string(letter); !taken(next) {
			return next, nil
		}
	}
	return "", fault.New(fault.Failed, "cannot name a generation: %s and its 25 followers are taken", name).WithHint("try again in a minute")
}

func prime(env *spec.Environment, rendered map[string]Rendered) ([]Unit, error) {
	needs := map[string][]string{}
	units := map[string]Unit{}
	var names []string
	for _, u := range env.Spec.Prime {
		r, ok := rendered["prime/"+u.Name]
		if !ok {
			return nil, fault.New(fault.Failed, "cannot plan: prime/%s of %s was not rendered", u.Name, env.Metadata.Name)
		}
		names = append(names, u.Name)
		needs[u.Name] = u.Needs
		units[u.Name] = Unit{
			Name: u.Name, Namespace: u.Namespace, Needs: u.Needs, Manifests: r.Manifests, Objects: r.Objects, Images: r.Images,
			Checks: withDefaults(u.Checks), Timeout: u.Timeout.Or(unitTimeout),
		}
	}
	return inOrder("prime of "+env.Metadata.Name, names, needs, units)
}

func services(cfg *spec.Config, env *spec.Environment, rendered map[string]Rendered, good map[string]string) ([]Unit, error) {
	needs := map[string][]string{}
	units := map[string]Unit{}
	var names []string
	for _, ref := range env.Spec.Services {
		s, err := cfg.ServiceIn(env, ref.Name)
		if err != nil {
			return nil, err
		}
		r, ok := rendered["service/"+ref.Name]
		if !ok {
			return nil, fault.New(fault.Failed, "cannot plan: service/%s was not rendered", ref.Name)
		}
		names = append(names, ref.Name)
		needs[ref.Name] = s.Spec.Needs
		units[ref.Name] = Unit{
			Name: ref.Name, Namespace: s.Spec.Namespace, Version: cmp.Or(good[ref.Name], ref.Version), Needs: s.Spec.Needs,
			Manifests: r.Manifests, Objects: r.Objects, Images: r.Images, BlueGreen: s.Spec.Strategy.BlueGreen != nil, Owned: r.Owned,
			Checks: withDefaults(s.Spec.Checks), Timeout: s.Spec.Timeout.Or(unitTimeout), Front: frontOf(s),
		}
	}
	return inOrder("services of "+env.Metadata.Name, names, needs, units)
}

// inOrder lists units so that each follows its needs.
func inOrder(what string, names []string, needs map[string][]string, units map[string]Unit) ([]Unit, error) {
	order, cycle := spec.Order(names, needs)
	if cycle != nil {
		return nil, fault.New(fault.Invalid, "cannot order the %s: they need each other: %v", what, cycle)
	}
	var result []Unit
	for _, name := range order {
		result = append(result, units[name])
	}
	return result, nil
}

// owned lists the Secrets of certificates and the objects of units, in order and each once.
func owned(certificates []Certificate, layers ...[]Unit) []string {
	var all []string
	for _, c := range certificates {
		all = append(all, "Secret "+c.Secret.Namespace+"/"+c.Secret.Name)
	}
	for _, u := range slices.Concat(layers...) {
		all = append(all, u.Objects...)
		all = append(all, u.Owned...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Certificates resolves the certificates of an environment: the router that proves each.
func Certificates(cfg *spec.Config, env *spec.Environment) ([]Certificate, error) {
	var all []Certificate
	for _, c := range env.Spec.Certificates {
		router, err := cfg.Router(cmp.Or(c.HTTP01, c.DNS01))
		if err != nil {
			return nil, err
		}
		all = append(all, Certificate{Certificate: c, Router: *router})
	}
	return all, nil
}

// Routes resolves the routes of an environment: the router, the Kubernetes Service that answers, the pre-live name.
func Routes(cfg *spec.Config, env *spec.Environment) ([]Route, error) {
	var routes []Route
	for _, r := range env.Spec.Routes {
		router, err := cfg.Router(r.Router)
		if err != nil {
			return nil, err
		}
		route := Route{Host: r.Host, PreLive: r.PreLiveHost(), Router: *router, Port: r.Port, Health: r.Health, H2C: r.Protocol == "h2c", Sticky: r.Sticky}
		if r.Backend != nil {
			route.Namespace, route.Service = r.Backend.Namespace, r.Backend.Name
		} else {
			s, err := cfg.ServiceIn(env, r.Service)
			if err != nil {
				return nil, err
			}
			route.Namespace, route.Service = s.Spec.Namespace, s.Metadata.Name
		}
		routes = append(routes, route)
	}
	return routes, nil
}

func withClusterDefaults(c spec.Cluster) spec.Cluster {
	c.Timeout = spec.Duration(c.Timeout.Or(clusterTimeout))
	if c.Provider == "local" {
		local := spec.LocalCluster{}
		if c.Local != nil {
			local = *c.Local
		}
		local.Nodes = max(local.Nodes, 1)
		c.Local = &local
	}
	return c
}

// withShiftDefaults fills in how users move. Where nothing is live there is nobody to move in steps: the first generation
// has them all at once.
func withShiftDefaults(s spec.Shift, live string) spec.Shift {
	if len(s.Steps) == 0 || live == "" {
		s.Steps = []int{100}
	}
	if live == "" {
		s.Mirror, s.Header = nil, nil
	}
	if s.Mirror != nil {
		m := *s.Mirror
		m.Share, m.Requests = cmp.Or(m.Share, 100), cmp.Or(m.Requests, enough)
		s.Mirror = &m
	}
	s.HandOver, s.Drain = spec.Duration(s.HandOver.Or(handOver)), spec.Duration(s.Drain.Or(drain))
	s.Checks = withDefaults(s.Checks)
	if s.Analysis != nil {
		a := *s.Analysis
		a.Requests = cmp.Or(a.Requests, enough)
		if len(a.Rules) == 0 {
			a.Rules = slices.Clone(rules)
		}
		s.Analysis = &a
	}
	return s
}

// What an analysis, or a mirror, asks for unless it is set.
const enough = 100

var rules = []string{"new.errorRate <= old.errorRate + 0.003", "new.p90 <= 1.15 * old.p90 + 0.001"}

// withDefaults returns the checks with every timeout, method and status written out.
func withDefaults(checks []spec.Check) []spec.Check {
	checks = slices.Clone(checks)
	for i := range checks {
		c := &checks[i]
		if c.Job != nil {
			c.Timeout = spec.Duration(c.Timeout.Or(jobTimeout))
		}
		if c.Parity != nil {
			c.Timeout = spec.Duration(c.Timeout.Or(parityTimeout))
		}
		c.Timeout = spec.Duration(c.Timeout.Or(checkTimeout))
		if c.HTTP != nil {
			http := *c.HTTP
			http.Method, http.Status = cmp.Or(http.Method, "GET"), cmp.Or(http.Status, 200)
			c.HTTP = &http
		}
	}
	return checks
}
