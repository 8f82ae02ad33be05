package step

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/check"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/workload"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/objects/withhold"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/release/httproute"
)

// Confirm refuses a plan whose premises have changed since it was made. It only observes, once no service is being deployed any more.
func (t *Toolbox) Confirm(ctx context.Context, id ID) error {
	return t.do(ctx, id, "comparing what the plan was made from with what is", "the plan still fits", func(ctx context.Context, j *job) error {
		if err := j.plan.Intact(); err != nil {
			return err
		}
		if err := j.awaitDeploys(ctx); err != nil {
			return err
		}
		seen, err := j.look(ctx)
		if err != nil {
			return err
		}
		return plan.Check(j.plan, seen)
	})
}

// Provision makes the cluster of the new generation, or completes it.
func (t *Toolbox) Provision(ctx context.Context, id ID) error {
	return t.do(ctx, id, "making the cluster", "the cluster is ready", func(ctx context.Context, j *job) error {
		provider, err := j.clusters()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, j.plan.Cluster.Timeout.Or(10*time.Minute))
		defer cancel()
		if first, ok := provider.(adopter); ok && j.plan.Previous != "" && !slices.Contains(j.plan.Premises.Generations, j.plan.Previous) {
			if err := first.Adopt(ctx, j.plan.Cluster.Existing.Live, j.plan.Previous); err != nil {
				return err
			}
			j.say("adopted what serves the users in %s as %s", j.plan.Cluster.Existing.Live, j.plan.Previous)
			if err := j.announce(ctx, j.plan.Previous); err != nil {
				return err
			}
		}
		if err := provider.Create(ctx, j.plan.Generation, j.say); err != nil {
			return err
		}
		return j.announce(ctx, j.plan.Generation)
	})
}

// announce tells the programs in a generation which one they run in, and which one is active.
func (j *job) announce(ctx context.Context, generation string) error {
	c, err := j.connect(ctx, generation)
	if err != nil {
		return err
	}
	return withhold.Announce(ctx, c, generation, j.plan.Previous)
}

// ApplyUnit applies the rendered objects of a unit of priming or of a service to the new generation, waits until they are
// ready and its checks hold, and records the release. What only one generation may run is withheld until the hand-over.
func (t *Toolbox) ApplyUnit(ctx context.Context, id ID) error {
	layer, name, _ := strings.Cut(id.Name, "/")
	return t.do(ctx, id, "applying "+name, name+" is ready, its checks hold", func(ctx context.Context, j *job) error {
		u, err := unitOf(j.plan, layer, name)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, u.Timeout)
		defer cancel()
		if err := j.apply(ctx, u); err != nil {
			return err
		}
		if layer == "prime" {
			return nil
		}
		if u.Version != "" {
			j.done = fmt.Sprintf("%s %s is ready, its checks hold", name, u.Version)
		}
		return t.Records.PutRelease(ctx, record.Release{
			Environment: j.plan.Environment, Generation: j.plan.Generation, Service: name, Version: u.Version,
			Manifests: u.Manifests, Run: id.Run, At: t.Now(),
		})
	})
}

func unitOf(p *plan.Plan, layer, name string) (plan.Unit, error) {
	units := p.Services
	if layer == "prime" {
		units = p.Prime
	}
	for _, u := range units {
		if u.Name == name {
			return u, nil
		}
	}
	return plan.Unit{}, fault.New(fault.Failed, "the plan has no %s/%s", layer, name)
}

func (j *job) apply(ctx context.Context, u plan.Unit) error {
	to, target, err := j.target(ctx, u.Namespace)
	if err != nil {
		return err
	}
	if u.BlueGreen {
		err = j.applyFirst(ctx, to, u)
	} else {
		err = j.applyAll(ctx, to, u)
	}
	if err == nil {
		var held []check.Result
		held, err = check.Hold(ctx, u.Checks, target, j.say)
		applied, _ := j.data.(kube.Applied)
		j.data = proof{Applied: applied, Checks: held}
	}
	if err != nil {
		return j.explained(ctx, to, []string{u.Namespace}, err)
	}
	return nil
}

// applyFirst applies the first version in the generation of a service that is deployed in colours, and has users led to it.
func (j *job) applyFirst(ctx context.Context, to *kube.Cluster, u plan.Unit) error {
	b, err := j.coloursOf(ctx, u)
	if err != nil {
		return err
	}
	if routes, are := b.Front.(*httproute.Front); are {
		routes.Standby = true
	}
	wanted, err := b.First(ctx)
	if err != nil {
		return err
	}
	if err := j.bring(ctx, to, wanted); err != nil {
		return err
	}
	return b.Open(ctx)
}

func (j *job) applyAll(ctx context.Context, to *kube.Cluster, u plan.Unit) error {
	wanted, err := j.objects(ctx, u.Manifests)
	if err != nil {
		return err
	}
	return j.bring(ctx, to, wanted)
}

// bring applies objects to the new generation and waits until they are ready.
func (j *job) bring(ctx context.Context, to *kube.Cluster, wanted []*unstructured.Unstructured) error {
	wanted, err := withhold.Standby(ctx, to, wanted)
	if err != nil {
		return err
	}
	applied, err := to.Apply(ctx, wanted, j.say)
	if err != nil {
		return err
	}
	j.data = applied
	return workload.WaitReady(ctx, to, wanted, j.say)
}

// target is the new generation, as checks meet it: routes answer at their pre-live names.
func (j *job) target(ctx context.Context, namespace string) (*kube.Cluster, check.Target, error) {
	status, err := j.ready(ctx, j.plan.Generation)
	if err != nil {
		return nil, check.Target{}, err
	}
	to, err := kube.Connect(status.Access)
	if err != nil {
		return nil, check.Target{}, err
	}
	target := check.Target{
		Run: j.run.ID, Environment: j.plan.Environment, Generation: j.plan.Generation, Previous: j.plan.Previous, Namespace: namespace,
		Access: status.Access, Route: j.entry(preLive),
	}
	if j.plan.Copy != nil {
		target.Original = func(ctx context.Context) (*kube.Cluster, decide.Rules, error) {
			from, err := j.connect(ctx, j.plan.Previous)
			return from, j.copying().Rules, err
		}
	}
	if len(status.Nodes) > 0 {
		target.Ingress = status.Nodes[0]
	}
	return to, target, nil
}

// explained records what the pods of some namespaces say when a step failed for good, and returns the failure.
func (j *job) explained(ctx context.Context, in *kube.Cluster, namespaces []string, err error) error {
	if fault.Retryable(err) || ctx.Err() != nil && context.Cause(ctx) != context.DeadlineExceeded { //nolint:errorlint // compared by identity on purpose
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	for _, ns := range namespaces {
		lines := workload.Diagnose(ctx, in, ns)
		if len(lines) > 0 {
			j.tell(record.Event{Kind: record.Progress, Key: j.id.key("diagnosis/" + ns), Message: "what the pods of " + ns + " say", Detail: jsonOf(lines)})
		}
	}
	return err
}

func (j *job) connect(ctx context.Context, generation string) (*kube.Cluster, error) {
	status, err := j.ready(ctx, generation)
	if err != nil {
		return nil, err
	}
	return kube.Connect(status.Access)
}
