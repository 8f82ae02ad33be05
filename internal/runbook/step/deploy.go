package step

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/check"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/endpoint"
	"github.com/crossfade-dev/crossfade/internal/kube/workload"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/release"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
	"github.com/crossfade-dev/crossfade/internal/render"
)

// Deploy is the name of the operation that brings one service to a version.
const Deploy = "deploy"

// Kept is the step in which such a run only keeps the version before. It holds up nobody: not a roll-over, not the next run of the service.
const Kept = "keep"

// Roll applies the next version of a service over the one before, whose pods are replaced one after the other, and proves it.
func (t *Toolbox) Roll(ctx context.Context, id ID) error {
	return t.do(ctx, id, "replacing the pods", "every pod is of the next version, and the checks hold", func(ctx context.Context, j *job) error {
		u := j.plan.Deploy.Unit
		ctx, cancel := context.WithTimeout(ctx, u.Timeout)
		defer cancel()
		switch coloured, err := j.coloured(ctx); {
		case err != nil:
			return err
		case coloured:
			return fault.New(fault.Refused, "cannot deploy %s as rolling into %s: it was deployed there as blueGreen", u.Name, j.plan.Generation).
				WithHint("set its strategy to blueGreen again until the next roll-over, which begins with the new one")
		}
		if err := j.released(ctx); err != nil {
			return err
		}
		return j.roll(ctx, u.Manifests)
	})
}

// coloured reports whether the service stands in colours. What is rolled over that would lead its users to both versions.
func (j *job) coloured(ctx context.Context) (bool, error) {
	objs, err := j.objects(ctx, j.plan.Deploy.Unit.Manifests)
	if err != nil {
		return false, err
	}
	c, err := j.connect(ctx, j.plan.Generation)
	if err != nil {
		return false, err
	}
	for _, obj := range objs {
		if obj.GroupVersionKind().GroupKind().String() != "Service" {
			continue
		}
		found, err := c.Get(ctx, obj)
		if err != nil || found != nil && field.String(found, "spec", "selector", colour.Label) != "" {
			return err == nil, err
		}
	}
	return false, nil
}

// Unroll applies the release that was good before the next one failed. A version that has a colour was not rolled over, and is left.
func (t *Toolbox) Unroll(ctx context.Context, id ID) error {
	return t.do(ctx, id, "putting the version before in its place again", "the version before is in its place", func(ctx context.Context, j *job) error {
		ctx, cancel := context.WithTimeout(ctx, j.plan.Deploy.Unit.Timeout)
		defer cancel()
		if coloured, err := j.coloured(ctx); err != nil || coloured {
			return err
		}
		good, err := j.Records.Good(ctx, j.plan.Environment)
		if err != nil {
			return err
		}
		before, found := good[j.plan.Deploy.Unit.Name]
		if !found {
			j.done = "no release before was good: the pods are left as they are"
			return nil
		}
		return j.roll(ctx, before.Manifests)
	})
}

// roll applies the objects of a blob, waits until they are ready, and holds the service's checks.
func (j *job) roll(ctx context.Context, manifests string) error {
	objs, err := j.objects(ctx, manifests)
	if err != nil {
		return err
	}
	if j.plan.Deploy.Restart {
		if err := touch(objs, j.run.Started); err != nil {
			return err
		}
	}
	c, err := j.connect(ctx, j.plan.Generation)
	if err != nil {
		return err
	}
	applied, err := c.Apply(ctx, objs, j.say)
	if err != nil {
		return err
	}
	namespaces := []string{j.plan.Deploy.Unit.Namespace}
	if err := workload.WaitReady(ctx, c, objs, j.say); err != nil {
		return j.explained(ctx, c, namespaces, err)
	}
	held, err := j.hold(ctx, c)
	j.data = proof{Applied: applied, Checks: held}
	return err
}

// proof is what the last event of a step carries that applies objects and holds checks.
type proof struct {
	Applied kube.Applied   `json:"applied"`
	Checks  []check.Result `json:"checks,omitempty"`
}

// hold holds the checks of the service, as its users meet it.
func (j *job) hold(ctx context.Context, c *kube.Cluster) ([]check.Result, error) {
	u := j.plan.Deploy.Unit
	_, target, err := j.target(ctx, u.Namespace)
	if err != nil {
		return nil, err
	}
	target.Route = j.entry(live)
	held, err := check.Hold(ctx, u.Checks, target, j.say)
	if err != nil {
		return nil, j.explained(ctx, c, []string{u.Namespace}, err)
	}
	return held, nil
}

// touch has the pods of workloads replaced once, by a mark on their template with the time at which that was asked for.
func touch(objs []*unstructured.Unstructured, at time.Time) error {
	for _, obj := range objs {
		if _, found, _ := unstructured.NestedMap(obj.Object, "spec", "template", "spec"); !found || obj.GetKind() == "Job" {
			continue
		}
		mark := at.UTC().Format(time.RFC3339)
		if err := unstructured.SetNestedField(obj.Object, mark, "spec", "template", "metadata", "annotations", "crossfade.dev/restarted-at"); err != nil {
			return err
		}
	}
	return nil
}

// released records the release, which is not good yet.
func (j *job) released(ctx context.Context) error {
	return j.Records.PutRelease(ctx, j.release())
}

func (j *job) release() record.Release {
	u := j.plan.Deploy.Unit
	return record.Release{
		Environment: j.plan.Environment, Generation: j.plan.Generation, Service: u.Name, Version: u.Version, Tag: j.plan.Deploy.Tag,
		Manifests: u.Manifests, Run: j.run.ID, At: j.Now(),
	}
}

// objects reads rendered objects from the record.
func (t *Toolbox) objects(ctx context.Context, digest string) ([]*unstructured.Unstructured, error) {
	raw, err := t.Records.Blob(ctx, digest)
	if err != nil {
		return nil, err
	}
	return render.Decode(raw)
}

// blueGreen is the plan's service in its generation.
func (j *job) blueGreen(ctx context.Context) (*release.BlueGreen, error) {
	return j.coloursOf(ctx, j.plan.Deploy.Unit)
}

// coloursOf is a service of the plan that is deployed in colours, in the plan's generation.
func (j *job) coloursOf(ctx context.Context, u plan.Unit) (*release.BlueGreen, error) {
	objs, err := j.objects(ctx, u.Manifests)
	if err != nil {
		return nil, err
	}
	c, err := j.connect(ctx, j.plan.Generation)
	if err != nil {
		return nil, err
	}
	p, err := split(u.Name, u.Front, objs)
	if err != nil {
		return nil, err
	}
	front, err := j.front(ctx, u, p, c)
	return &release.BlueGreen{Name: u.Name, Run: j.run.ID, Parts: p.parts, Front: front, Cluster: c, Progress: j.say}, err
}

// Stage starts the next version of a service beside the live one, which is not touched.
func (t *Toolbox) Stage(ctx context.Context, id ID) error {
	return t.do(ctx, id, "starting the next version beside the live one", "", func(ctx context.Context, j *job) error {
		b, err := j.blueGreen(ctx)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, j.plan.Deploy.Unit.Timeout)
		defer cancel()
		if err := j.released(ctx); err != nil {
			return err
		}
		if err := b.Stage(ctx); err != nil {
			return j.explained(ctx, b.Cluster, []string{j.plan.Deploy.Unit.Namespace}, err)
		}
		state, err := b.Observe(ctx)
		j.done = fmt.Sprintf("%s %s is ready in %s", b.Name, j.plan.Deploy.Version(), state.Next)
		return err
	})
}

// Preview holds the checks of the next version before any user is led to it.
func (t *Toolbox) Preview(ctx context.Context, id ID) error {
	return t.do(ctx, id, "asking the next version", "", func(ctx context.Context, j *job) error {
		b, err := j.blueGreen(ctx)
		if err != nil {
			return err
		}
		_, target, err := j.target(ctx, j.plan.Deploy.Unit.Namespace)
		if err != nil {
			return err
		}
		if target.Preview, err = j.previewAddress(ctx, b); err != nil {
			return err
		}
		results, err := check.Hold(ctx, j.plan.Deploy.Strategy.BlueGreen.Checks, target, j.say)
		if err != nil {
			return j.explained(ctx, b.Cluster, []string{j.plan.Deploy.Unit.Namespace}, err)
		}
		j.data, j.done = results, count(len(results), "check holds", "checks hold")
		return nil
	})
}

// preview says where the next version of a service can be looked at; nothing where a run is about something else, or the cluster cannot be asked
// now.
func (t *Toolbox) preview(ctx context.Context, w Waiting) (string, error) {
	r, p, err := t.load(ctx, w.Step.Run)
	if err == nil {
		err = p.Pick(w.Service)
	}
	if err != nil || p.Deploy == nil || w.Gate {
		return "", err
	}
	j := &job{Toolbox: t, id: w.Step, run: r, plan: p, ctx: ctx}
	b, err := j.blueGreen(ctx)
	if err != nil {
		return "", nil //nolint:nilerr // nobody need be told where to look, and the approval can be given all the same
	}
	address, err := j.previewAddress(ctx, b)
	if err != nil || address == "" {
		return fmt.Sprintf("look at it with kubectl -n %s port-forward service/%s", p.Deploy.Unit.Namespace, b.Parts.PreviewName()), nil //nolint:nilerr // as above
	}
	return "look at it at http://" + address, nil
}

// previewAddress is where the next version answers from outside of the cluster; empty where the service does not.
func (j *job) previewAddress(ctx context.Context, b *release.BlueGreen) (string, error) {
	preview := b.Parts.Preview(colour.Blue)
	if kind, _, _ := unstructured.NestedString(preview.Object, "spec", "type"); kind != "NodePort" {
		return "", nil
	}
	status, err := j.ready(ctx, j.plan.Generation)
	if err != nil {
		return "", err
	}
	ports, _, _ := unstructured.NestedSlice(preview.Object, "spec", "ports")
	first, _ := ports[0].(map[string]any)
	name, _ := first["name"].(string)
	addresses, err := endpoint.OfService(ctx, b.Cluster, status.Nodes, preview.GetNamespace(), preview.GetName(), cmp.Or(name, fmt.Sprint(first["port"])))
	if err != nil || len(addresses) == 0 {
		return "", err
	}
	return addresses[0], nil
}

// Share leads a share of the users who come in from outside to the next version, and watches the checks of the service.
func (t *Toolbox) Share(ctx context.Context, w Weight) error {
	title := fmt.Sprintf("leading %d %% of the users from outside to the next version", w.Share)
	return t.do(ctx, w.Step, title, "", func(ctx context.Context, j *job) error {
		b, err := j.blueGreen(ctx)
		if err != nil {
			return err
		}
		if err := b.Share(ctx, w.Share); err != nil {
			return err
		}
		if j.data, err = j.hold(ctx, b.Cluster); err != nil {
			return err
		}
		j.done = fmt.Sprintf("%d %% of the users from outside are led to the next version, and the checks hold", w.Share)
		u := j.plan.Deploy.Unit
		_, target, err := j.target(ctx, u.Namespace)
		if err != nil {
			return err
		}
		target.Route = j.entry(live)
		if err := j.watch(ctx, u.Checks, target, j.plan.Deploy.Strategy.BlueGreen.Front.HTTPRoute.Interval.Or(0)); err != nil {
			return j.explained(ctx, b.Cluster, []string{u.Namespace}, err)
		}
		return nil
	})
}

// Switch leads the users to the next version, and proves it as they meet it.
func (t *Toolbox) Switch(ctx context.Context, id ID) error {
	return t.do(ctx, id, "leading the users to the next version", "every endpoint is of the next version, and the checks hold", func(ctx context.Context, j *job) error {
		b, err := j.blueGreen(ctx)
		if err != nil {
			return err
		}
		if err := b.Switch(ctx); err != nil {
			return err
		}
		if err := j.after(ctx); err != nil {
			return err
		}
		j.data, err = j.hold(ctx, b.Cluster)
		return err
	})
}

// SwitchBack leads the users to the version before again.
func (t *Toolbox) SwitchBack(ctx context.Context, id ID) error {
	return t.do(ctx, id, "leading the users back", "every endpoint is of the version before", func(ctx context.Context, j *job) error {
		b, err := j.blueGreen(ctx)
		if err != nil {
			return err
		}
		return b.Back(ctx)
	})
}

// MarkGood records that the version is good: it was verified in production. Then the tag that means good is moved to it, where there is one: so the
// tag never names what the record does not call good, wherever this is stopped.
func (t *Toolbox) MarkGood(ctx context.Context, id ID) error {
	return t.do(ctx, id, "recording that the version is good", "", func(ctx context.Context, j *job) error {
		d := j.plan.Deploy
		j.done = fmt.Sprintf("%s %s is good", d.Unit.Name, d.Version())
		seen, err := j.look(ctx)
		if err != nil {
			return err
		}
		if seen.Live != j.plan.Generation {
			return fault.New(fault.Failed, "cannot call %s %s good: the users have left %s meanwhile", d.Unit.Name, d.Version(), j.plan.Generation).
				WithHint("deploy it again where they are")
		}
		if err := j.Records.MarkGood(ctx, j.release()); err != nil || !d.Tags() {
			return err
		}
		if err := j.images().Move(ctx, d.Image, d.GoodTag, d.Unit.Version); err != nil {
			return err
		}
		j.done += fmt.Sprintf(", the tag %s names it", d.GoodTag)
		return nil
	})
}

// RemoveOld removes the version before, which no user is led to. A generation that a roll-over replaces meanwhile, or has replaced, takes it along.
func (t *Toolbox) RemoveOld(ctx context.Context, id ID) error {
	return t.do(ctx, id, "removing the version before", "", func(ctx context.Context, j *job) error {
		if clears, err := j.clears(ctx); err != nil || !clears {
			j.done = "it goes with " + j.plan.Generation
			return err
		}
		b, err := j.blueGreen(ctx)
		if err != nil {
			return err
		}
		state, err := b.Observe(ctx)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, j.plan.Deploy.Unit.Timeout)
		defer cancel()
		j.done = "there is none"
		if state.Old != colour.None {
			j.done = fmt.Sprintf("%s is gone", state.Old)
		}
		return b.Remove(ctx, state.Old)
	})
}

// RemoveNew removes the next version of a service, which no user is led to.
func (t *Toolbox) RemoveNew(ctx context.Context, id ID) error {
	return t.do(ctx, id, "removing the next version", "the next version is gone", func(ctx context.Context, j *job) error {
		b, err := j.blueGreen(ctx)
		if err != nil {
			return err
		}
		state, err := b.Observe(ctx)
		if err != nil || state.Live == state.Next {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, j.plan.Deploy.Unit.Timeout)
		defer cancel()
		return b.Remove(ctx, state.Next)
	})
}
