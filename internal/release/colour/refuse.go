package colour

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
)

// The longest names that leave room for what is put behind them: a colour behind an object, and behind a Deployment that and the
// hash of its ReplicaSets (apimachinery, util/rand.SafeEncodeString); the preview's suffix behind a Service, which is a DNS label.
const (
	longestName       = 253 - len("-green")
	longestDeployment = longestName - len("-0123456789")
	longestService    = 63 - len(previewSuffix)
)

// runsTwice says why two versions cannot run beside each other, though the objects have the shape for it; nil when they can.
func (p Parts) runsTwice(service string, objs []*unstructured.Unstructured) error {
	if field.String(p.Workload, "spec", "strategy", "type") == "Recreate" {
		return refused(service, "%s has the strategy Recreate, which says that two versions must not run at a time", ident.Of(p.Workload)).
			WithHint("use the strategy rolling for the service, or take Recreate out of its manifests if two versions may run")
	}
	taken := map[string]bool{}
	for _, obj := range objs {
		taken[ident.Of(obj)] = true
		if obj.GetKind() != "HorizontalPodAutoscaler" && p.steers(obj) {
			return refused(service, "%s refers to %s by its name, which is another one in each colour", ident.Of(obj), ident.Of(p.Workload)).
				WithHint("use a HorizontalPodAutoscaler, or the strategy rolling")
		}
	}
	return p.named(service, taken)
}

// steers reports whether an object names the Deployment as what it scales, as autoscalers of all kinds do.
func (p Parts) steers(obj *unstructured.Unstructured) bool {
	for _, key := range []string{"scaleTargetRef", "targetRef"} {
		target := field.Map(obj, "spec", key)
		kind := target["kind"]
		if target["name"] == p.Workload.GetName() && (kind == nil || kind == "Deployment") && obj.GetNamespace() == p.Workload.GetNamespace() {
			return true
		}
	}
	return false
}

// named checks that the names of each version are valid, and nothing else's.
func (p Parts) named(service string, taken map[string]bool) error {
	if name := p.Services[0].GetName(); len(name) > longestService {
		return tooLong(service, p.Services[0], longestService)
	}
	if preview := p.Preview(Blue); taken[ident.Of(preview)] {
		return refused(service, "its manifests have %s, which is the name of the preview", ident.Of(preview)).WithHint("give it another name")
	}
	for _, obj := range p.own {
		most := longestName
		if obj == p.Workload {
			most = longestDeployment
		}
		if len(obj.GetName()) > most {
			return tooLong(service, obj, most)
		}
		for _, c := range []Colour{Blue, Green} {
			other := ident.Reference(obj)
			other.SetName(other.GetName() + "-" + string(c))
			if taken[ident.Of(other)] {
				return refused(service, "its manifests have %s, which is the name of %s in %s", ident.Of(other), ident.Of(obj), c).WithHint("give it another name")
			}
		}
	}
	return nil
}

func tooLong(service string, obj *unstructured.Unstructured, most int) error {
	return refused(service, "the name of %s is %d characters long, and there is room for %d", ident.Of(obj), len(obj.GetName()), most).
		WithHint("shorten it: each colour is put behind the names of what a version has of its own, and -preview behind the name of the first Service")
}

func refused(service, format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, "cannot deploy "+service+" as blueGreen: "+format, args...).
		WithHint("give the service one Deployment and a Kubernetes Service in front of it, or use the strategy rolling")
}
