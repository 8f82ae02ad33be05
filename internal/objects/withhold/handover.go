package withhold

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
)

// Side is one of the two clusters of a hand-over.
type Side struct {
	Cluster    *kube.Cluster // nil for a side from which nothing is handed over
	Generation string        // its name; what the cluster was told, or the name of its context, when empty
}

// Options say what is handed over, and how long that may take.
type Options struct {
	decide.Rules                  // what is copied and what belongs to pipelines; nothing else is touched
	Limit        time.Duration    // how long Jobs and singletons that run may take to end
	Progress     cluster.Progress // told what happens, for people
	// Between is called when nothing acts in from any more, and nothing in to yet; it may be nil, and be called again. Its error ends the
	// hand-over there.
	Between func(context.Context) error
}

// DefaultLimit is how long Jobs and singletons may take to end when nothing else is said.
const DefaultLimit = 10 * time.Minute

// HandOver lets one cluster act on the world outside instead of another:
//
//  1. both are told that no generation is active;
//  2. what acts in from is withheld: CronJobs, Jobs, singletons;
//  3. the Jobs and singletons that run there come to their end;
//  4. what publishes the names and addresses of from is withheld;
//  5. Between is called, for what must happen while neither acts, such as a last copy;
//  6. what is withheld in to is released, and both are told that its generation is active.
//
// So at no moment both act. It may be stopped anywhere, and called again to go on; called the other way round, it undoes itself. A
// second hand-over that begins meanwhile ends the first with an error of code fault.Locked. Jobs and singletons that
// have not ended within the limit are an error of code fault.Refused that names them; then nothing acts in either cluster but
// those, until this is called again or the other way round. Nothing is touched when an annotation of an object cannot be read.
//
// What users have suspended stays so. Schedules that from has run are not run again by to; one that came due in between is run by to,
// once. A Job that has begun in from is not begun in to.
func HandOver(ctx context.Context, from, to Side, o Options) error {
	h, err := newHandOver(ctx, from, to, o)
	if err != nil {
		return err
	}
	return h.run(ctx)
}

// quietFor is how long nothing may have begun in a cluster until its controllers are taken to know what they may no longer start:
// they see a change a moment after it was written.
const quietFor = 2 * time.Second

// handOver is one hand-over under way.
type handOver struct {
	Options
	from, to *side // from is nil when nothing is handed over from anywhere
	token    string
	quiet    time.Duration
	ran      runs // what from has run
}

func (h *handOver) run(ctx context.Context) error {
	for _, step := range []func(context.Context) error{h.check, h.begin, h.stop, h.between, h.start} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// side is one of the clusters, with what may be withheld there.
type side struct {
	Side
	identity  types.UID // of the cluster
	decide    *decide.Decider
	resources []kube.Resource // in the order in which they are withheld
}

func newHandOver(ctx context.Context, from, to Side, o Options) (*handOver, error) {
	h := &handOver{Options: o, token: rand.Text(), quiet: quietFor, ran: runs{}}
	var err error
	if h.to, err = newSide(ctx, to, o.Rules); err != nil || from.Cluster == nil {
		return h, err
	}
	if h.from, err = newSide(ctx, from, o.Rules); err != nil {
		return nil, err
	}
	if h.from.identity == h.to.identity {
		return nil, fault.New(fault.Invalid, "cannot hand over from %s to %s: they are the same cluster", h.from.name(), h.to.name()).
			WithHint("name two different clusters")
	}
	return h, nil
}

// newSide finds out what a cluster serves of what may be withheld, and what it is called.
func newSide(ctx context.Context, s Side, rules decide.Rules) (*side, error) {
	served, _, err := s.Cluster.Resources(ctx)
	if err != nil {
		return nil, err
	}
	system, err := s.Cluster.Find(ctx, schema.GroupKind{Kind: "Namespace"}, "", metav1.NamespaceSystem)
	if err != nil {
		return nil, err
	}
	found := &side{Side: s}
	if system != nil {
		found.identity = system.GetUID()
	}
	if s.Generation == "" {
		now, _, err := read(ctx, s.Cluster)
		if err != nil {
			return nil, err
		}
		found.Generation = cmp.Or(now.own, s.Cluster.Access().Context)
	}
	place := func(r kube.Resource) int { p, _ := placeOf(r.GroupKind()); return p }
	served = slices.DeleteFunc(served, func(r kube.Resource) bool { return place(r) < 0 })
	slices.SortStableFunc(served, func(a, b kube.Resource) int { return place(a) - place(b) })
	found.resources = served
	found.decide = decide.New(rules, func(ctx context.Context, ref metav1.OwnerReference, namespace string) (*unstructured.Unstructured, error) {
		gv, err := schema.ParseGroupVersion(ref.APIVersion)
		if err != nil {
			return nil, nil //nolint:nilerr,nilnil // an owner that cannot exist is none
		}
		return s.Cluster.Find(ctx, gv.WithKind(ref.Kind).GroupKind(), namespace, ref.Name)
	})
	return found, nil
}

// name is the cluster, for people.
func (s *side) name() string { return s.Cluster.Access().Context }

// touches reports whether an object is one that a copy or a pipeline has brought, or would bring.
func (s *side) touches(ctx context.Context, r kube.Resource, obj *unstructured.Unstructured) (bool, error) {
	if obj.GetDeletionTimestamp() != nil { // it acts until it is gone
		obj = obj.DeepCopy()
		obj.SetDeletionTimestamp(nil)
	}
	reason, err := s.decide.Object(ctx, r, obj)
	return reason == decide.None || reason == decide.Pipeline, err
}

// change brings an object from one form to another, unless somebody has changed it since it was read: then it reports false, and it must be
// looked at again.
func (s *side) change(ctx context.Context, obj, wanted *unstructured.Unstructured) (bool, error) {
	patch := mergePatch(obj.Object, wanted.Object)
	if len(patch) == 0 {
		return true, nil
	}
	metadata, _ := patch["metadata"].(map[string]any)
	if metadata == nil {
		metadata = map[string]any{}
		patch["metadata"] = metadata
	}
	metadata["resourceVersion"] = obj.GetResourceVersion()
	raw, err := json.Marshal(patch)
	if err != nil {
		return false, err
	}
	_, err = s.Cluster.Patch(ctx, obj, raw)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// sides are the clusters, the one first that is handed over from.
func (h *handOver) sides() []*side {
	if h.from == nil {
		return []*side{h.to}
	}
	return []*side{h.from, h.to}
}

// check reads everything that will be changed, so that nothing is touched when something cannot be read.
func (h *handOver) check(ctx context.Context) error {
	for _, s := range h.sides() {
		for _, r := range s.resources {
			for obj, err := range s.Cluster.List(ctx, r.GroupVersionResource, kube.Query{}) {
				if err != nil {
					return err
				}
				if !Held(obj) {
					continue
				}
				if ours, err := s.touches(ctx, r, obj); err != nil {
					return err
				} else if !ours {
					continue
				}
				if _, err := Restore(obj); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// begin tells both clusters that no generation is active, unless that of to is already: by what it was told, or, as it was never told
// anything, by what the other one was when it came.
func (h *handOver) begin(ctx context.Context) error {
	for _, s := range h.sides() {
		if err := furnish(ctx, s.Cluster); err != nil {
			return err
		}
	}
	now, known, err := read(ctx, h.to.Cluster)
	if err != nil {
		return err
	}
	if h.from != nil {
		before, _, err := read(ctx, h.from.Cluster)
		if err != nil {
			return err
		}
		now.isActive = !before.isActive && (now.isActive || !known && before.active == h.to.Generation)
		if !now.isActive {
			h.Progress("no generation is active while %s hands over to %s", h.from.Generation, h.to.Generation)
		}
		if err := tell(ctx, h.from.Cluster, told{own: h.from.Generation, active: h.active(now.isActive), handOver: h.token}); err != nil {
			return err
		}
	}
	return tell(ctx, h.to.Cluster, told{own: h.to.Generation, active: h.active(now.isActive), isActive: now.isActive, handOver: h.token})
}

// active is the generation that acts: that of to, or none yet.
func (h *handOver) active(done bool) string {
	if done {
		return h.to.Generation
	}
	return ""
}

// between calls Between.
func (h *handOver) between(ctx context.Context) error {
	if h.from == nil || h.Between == nil {
		return nil
	}
	return h.Between(ctx)
}

// activate tells both clusters that the generation of to is active, and that the hand-over is under way still or, at last, over.
func (h *handOver) activate(ctx context.Context, token string) error {
	if err := h.mine(ctx); err != nil {
		return err
	}
	now := told{own: h.to.Generation, active: h.to.Generation, isActive: true, handOver: token}
	if err := tell(ctx, h.to.Cluster, now); err != nil || h.from == nil {
		return err
	}
	return tell(ctx, h.from.Cluster, told{own: h.from.Generation, active: h.to.Generation, handOver: token})
}

// mine refuses to go on when another hand-over has begun since this one did.
func (h *handOver) mine(ctx context.Context) error {
	for _, s := range h.sides() {
		now, _, err := read(ctx, s.Cluster)
		if err != nil {
			return err
		}
		if now.handOver != h.token {
			return fault.New(fault.Locked, "cannot go on to hand over to %s: another hand-over has begun in %s", h.to.Generation, s.name()).
				WithHint("let it come to its end, then see which generation is active: the ConfigMap %s/%s says so", kube.SystemNamespace, Name)
		}
	}
	return nil
}

// several is the first of some names, and how many more there are.
func several(names []string) string {
	if len(names) == 1 {
		return names[0]
	}
	return fmt.Sprintf("%s (and %d more)", names[0], len(names)-1)
}
