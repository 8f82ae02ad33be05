package objects_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/kube/manager"
	"github.com/crossfade-dev/crossfade/internal/objects"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// TestHardCases shares two clusters with real controllers and without nodes. Each case has namespaces of its own, which begin with
// its name.
func TestHardCases(t *testing.T) {
	p := &clusters{from: kubetest.Start(t, "a"), to: kubetest.Start(t, "b")}
	p.a, p.b = p.from.Connect(t), p.to.Connect(t)
	p.from.Manage(t)
	p.to.Manage(t)
	for _, c := range []struct {
		name string
		run  func(*testing.T, *clusters)
	}{
		{"made", testMadeByControllers},
		{"fixed fields", testFixedFields},
		{"refused", testRefused},
		{"related", testRelated},
		{"issued", testIssued},
		{"quiesced", testQuiesced},
		{"served", testServed},
		{"guarded", testGuarded},
		{"odd", testOdd},
		{"bound", testBound},
		{"scaled", testScaled},
		{"counted", testCounted},
		{"followed", testFollowed},
		{"stack", testStack},
		{"leaving", testLeaving},
		{"gone", testGone},
		{"nothing else is deleted", testNothingElseIsDeleted},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, p) })
	}
}

// clusters are two clusters that many cases share.
type clusters struct {
	from, to *kubetest.Server
	a, b     *kube.Cluster
}

// within selects the namespaces of a case, and more.
func within(prefix string, more ...spec.Selector) decide.Rules {
	return decide.Rules{Copy: spec.Copy{Include: append([]spec.Selector{{Namespaces: []string{prefix, prefix + "-*"}}}, more...)}}
}

// decided copies and returns the report, with what was decided about every object of namespaces that begin with the prefix, and
// objects without a namespace whose name does.
func (p *clusters) decided(t *testing.T, prefix string, rules decide.Rules) (outcome.Report, map[string]string) {
	t.Helper()
	return p.decidedWith(t, prefix, options(rules))
}

// decidedWith is decided with options; those may have a function of their own that is told.
func (p *clusters) decidedWith(t *testing.T, prefix string, o objects.Options) (outcome.Report, map[string]string) {
	t.Helper()
	found, tell := map[string]string{}, o.Tell
	o.Tell = func(d outcome.Decision) {
		if tell != nil {
			tell(d)
		}
		_, name, _ := strings.Cut(d.Object, " ")
		if strings.HasPrefix(name, prefix) {
			found[d.Object] = strings.TrimSpace(string(d.Action) + " " + d.Reason)
		}
	}
	report, err := objects.Copy(t.Context(), p.a, p.b, o)
	if err != nil {
		t.Fatal(err)
	}
	return report, found
}

// settled insists that another copy writes nothing: not even who manages which fields changes.
func (p *clusters) settled(t *testing.T, rules decide.Rules) {
	t.Helper()
	before := p.written(t, rules)
	report := copyAll(t, p.a, p.b, rules)
	if report.Copied() != 0 || report.Deleted != 0 || report.Conflicted != 0 {
		t.Errorf("another copy has written: %+v", report)
	}
	if diff := cmp.Diff(before, p.written(t, rules)); diff != "" {
		t.Errorf("what another copy has changed (-before +after):\n%s", diff)
	}
}

// written are the objects that Crossfade has written in the other cluster, of those that the rules ask for, without what
// controllers go on to tell of them.
func (p *clusters) written(t *testing.T, rules decide.Rules) map[string]any {
	t.Helper()
	served, _, err := p.b.Resources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]any{}
	for _, r := range served {
		for obj, err := range p.b.List(t.Context(), r.GroupVersionResource, kube.Query{Labels: manager.CopiedLabel}) {
			if err != nil {
				t.Fatal(err)
			}
			if !decide.MatchesAny(rules.Include, r, obj) {
				continue
			}
			managers := slices.DeleteFunc(obj.GetManagedFields(), func(e metav1.ManagedFieldsEntry) bool { return e.Subresource == "status" })
			obj.SetManagedFields(managers)
			obj.SetResourceVersion("")
			delete(obj.Object, "status")
			found[ident.Of(obj)] = obj.Object
		}
	}
	return found
}

// there returns an object of the other cluster, which must be there.
func (p *clusters) there(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	obj := get(t, p.b, text)
	if obj == nil {
		t.Fatalf("not in the other cluster: %s", text)
	}
	return obj
}

// covers compares maps of which the second may have more.
func covers(t *testing.T, what string, want, got map[string]string) {
	t.Helper()
	have := map[string]string{}
	for key := range want {
		if value, ok := got[key]; ok {
			have[key] = value
		}
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// names selects objects of every kind by name.
func names(patterns ...string) spec.Selector { return spec.Selector{Names: patterns} }

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	return kubetest.Objects(t, text)[0]
}
