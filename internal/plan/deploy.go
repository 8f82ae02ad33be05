package plan

import (
	"cmp"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// What holds where the configuration says nothing.
const (
	connectionDrain = 30 * time.Second
	goodTag         = "latest"
)

// Deploy is one service that is brought to a version in the live generation.
type Deploy struct {
	Unit     Unit          `json:"unit"`            // its version is the digest that runs
	Image    string        `json:"image,omitempty"` // the repository of the version; empty for a service without one
	Tag      string        `json:"tag,omitempty"`   // the version as it was asked for; empty for a digest
	Strategy spec.Strategy `json:"strategy"`
	GoodTag  string        `json:"goodTag,omitempty"`  // is moved to the version in the end; empty outside of production
	Restart  bool          `json:"restart,omitempty"`  // the pods are to be replaced although nothing else changes
	Back     bool          `json:"back,omitempty"`     // what was good before was asked for, without saying what that is
	Promoted bool          `json:"promoted,omitempty"` // what is good in the stage before was asked for, in the same way
}

// Version is the version as people call it.
func (d Deploy) Version() string { return cmp.Or(d.Tag, d.Unit.Version, "as its manifests say") }

// Tags reports whether a tag of the registry is moved to the version in the end: one that is known by its digest, in production.
func (d Deploy) Tags() bool { return d.GoodTag != "" && strings.HasPrefix(d.Unit.Version, "sha256:") }

// Again reports whether the deployment is of what runs or ran, which is another thing when something else is deployed meanwhile.
func (d Deploy) Again() bool { return d.Restart || d.Back }

// Service is the one service that the plan is about; empty when it is about more.
func (p *Plan) Service() string {
	if p.Deploy == nil {
		return ""
	}
	return p.Deploy.Unit.Name
}

// Names is what the plan deploys, for people.
func (p *Plan) Names() string {
	if p.Set != nil {
		return "the set " + p.Set.Name
	}
	return p.Service()
}

// Wanted is the version of a service that is to be deployed.
type Wanted struct {
	Rendered
	Version  string // the digest that runs
	Tag      string // as it was asked for
	Restart  bool   // see Deploy
	Back     bool   // see Deploy
	Promoted bool   // see Deploy

	Needs     []string   // of a service of a set: those of the set that it needs
	Promotion *Promotion // see Plan; nil for a service of a set
}

// Deployable returns the service that is to be deployed into an environment, as it is there. One that the environment does not have is an error of code
// fault.Invalid, which says what there is.
func Deployable(cfg *spec.Config, environment, service string) (*spec.Environment, *spec.Service, error) {
	env, err := cfg.Environment(environment)
	if err != nil {
		return nil, nil, err
	}
	s, err := cfg.ServiceIn(env, service)
	return env, s, err
}

// HasLive is nil when an environment has a generation to deploy into, and an error of code fault.Failed otherwise.
func HasLive(environment string, seen Observed) error {
	if seen.Live != "" {
		return nil
	}
	return fault.New(fault.Failed, "environment %s has no live generation to deploy into", environment).
		WithHint("crossfade rollover %s builds one, with every service", environment)
}

// MakeDeploy plans the deployment of a service into the generation that is live. It is pure, as Make is. Its errors are those of Deployable
// and HasLive.
func MakeDeploy(cfg *spec.Config, environment, service string, w Wanted, seen Observed) (*Plan, error) {
	d, err := deployment(cfg, environment, service, w)
	if err != nil {
		return nil, err
	}
	p, err := around(cfg, environment, []Unit{d.Unit}, seen)
	if err != nil {
		return nil, err
	}
	p.Deploy, p.Promotion = d, w.Promotion
	p.Hash, err = p.sum()
	return p, err
}

// deployment is what is to be done with one service.
func deployment(cfg *spec.Config, environment, service string, w Wanted) (*Deploy, error) {
	_, s, err := Deployable(cfg, environment, service)
	if err != nil {
		return nil, err
	}
	d := &Deploy{
		Unit: Unit{
			Name: service, Namespace: s.Spec.Namespace, Version: w.Version, Needs: w.Needs, Manifests: w.Manifests, Objects: w.Objects, Images: w.Images,
			Checks: withDefaults(s.Spec.Checks), Timeout: s.Spec.Timeout.Or(unitTimeout), Front: frontOf(s),
		},
		Image: s.Spec.Image, Tag: w.Tag, Strategy: withStrategyDefaults(service, s.Spec.Strategy), Restart: w.Restart, Back: w.Back,
		Promoted: w.Promoted,
	}
	if b := d.Strategy.BlueGreen; w.Back && b != nil && b.Front != nil && b.Front.HTTPRoute != nil {
		b.Front = &spec.Front{HTTPRoute: &spec.HTTPRoute{Steps: []int{100}}} // the way back is not taken step by step
	}
	if stages := cfg.Platform.Spec.Stages; s.Spec.Image != "" && (len(stages) == 0 || stages[len(stages)-1] == environment) {
		d.GoodTag = cmp.Or(cfg.Platform.Spec.GoodTag, goodTag)
	}
	return d, nil
}

// around is a plan that deploys units into the live generation of an environment, without what it deploys.
func around(cfg *spec.Config, environment string, units []Unit, seen Observed) (*Plan, error) {
	env, err := cfg.Environment(environment)
	if err != nil {
		return nil, err
	}
	if err := HasLive(environment, seen); err != nil {
		return nil, err
	}
	p := &Plan{
		Environment: environment, Prefix: env.GenerationPrefix(), Generation: seen.Live, Cluster: withClusterDefaults(env.Spec.Cluster),
		Services: units, Nginx: withNginxDefaults(env.Spec.Nginx), Premises: seen,
	}
	if _, p.Stage = cfg.Platform.StagesBefore(environment); p.Stage {
		p.Verify = withDefaults(env.Spec.Verify)
	}
	p.Routes, err = Routes(cfg, env)
	return p, err
}

func withStrategyDefaults(service string, s spec.Strategy) spec.Strategy {
	s.OnFailure = cmp.Or(s.OnFailure, "leave")
	if s.BlueGreen != nil {
		b := *s.BlueGreen
		b.Checks, b.Drain, b.Front = withDefaults(b.Checks), spec.Duration(b.Drain.Or(connectionDrain)), withFrontDefaults(service, b.Front)
		s.BlueGreen = &b
	}
	return s
}
