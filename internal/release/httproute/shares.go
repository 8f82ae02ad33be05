package httproute

import (
	"encoding/json"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/gatewayapi"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/kube/manager"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
)

// SharesAnnotation is on a route, and says how Crossfade has shared its users out: colours and percentages, as JSON. Where the weights say
// something else, somebody has changed them.
const SharesAnnotation = "crossfade.dev/shares"

// shares are what part of the users each colour has, in percent.
type shares map[colour.Colour]int64

// String is the shares as they are written on a route.
func (s shares) String() string {
	raw, _ := json.Marshal(map[colour.Colour]int64(s)) // it is of texts and numbers
	return string(raw)
}

// between is a share for one version, and the rest for the one before, if there is one.
func between(c, before colour.Colour, share int) shares {
	if before == colour.None || before == c {
		return shares{c: 100}
	}
	return shares{c: int64(share), before: int64(100 - share)}
}

// render is a route of the manifests with its users shared out: each backend that is the service's becomes one for each colour. The proportion
// between it and other backends of its rule stays.
func (r Routes) render(route *unstructured.Unstructured, s shares) *unstructured.Unstructured {
	rendered := route.DeepCopy()
	for _, rule := range field.List(rendered, "spec", "rules") {
		rule := field.AsMap(rule)
		refs, _ := rule["backendRefs"].([]any)
		if refs != nil {
			rule["backendRefs"] = r.spread(route, refs, s)
		}
	}
	annotations := rendered.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[SharesAnnotation] = s.String()
	rendered.SetAnnotations(annotations)
	return rendered
}

// spread shares the backends of a rule out. A rule without one of the service's stays as it is.
func (r Routes) spread(route *unstructured.Unstructured, refs []any, s shares) []any {
	isOurs := func(ref any) bool {
		return slices.ContainsFunc(r.backends, func(b *unstructured.Unstructured) bool { return names(route, field.AsMap(ref), b, b.GetName()) })
	}
	if !slices.ContainsFunc(refs, isOurs) {
		return refs
	}
	var all []any
	for _, ref := range refs {
		weight := weightOf(field.AsMap(ref))
		if len(refs) == 1 {
			weight = min(weight, 1) // alone, it is in proportion to nothing
		}
		if !isOurs(ref) {
			other := maps.Clone(field.AsMap(ref))
			other["weight"] = 100 * weight
			all = append(all, other)
			continue
		}
		for _, c := range slices.Sorted(maps.Keys(s)) {
			version := maps.Clone(field.AsMap(ref))
			version["name"] = gatewayapi.Text(version["name"], "") + "-" + string(c)
			version["weight"] = s[c] * weight
			all = append(all, version)
		}
	}
	return all
}

// weights are the weights of the colours in each rule of a route, added up; rules that lead to no colour are not among them.
func (r Routes) weights(found *unstructured.Unstructured) []shares {
	var all []shares
	for _, rule := range field.List(found, "spec", "rules") {
		refs, _ := field.AsMap(rule)["backendRefs"].([]any)
		sums := shares{}
		for _, ref := range refs {
			if _, c := r.parse(found, field.AsMap(ref)); c != colour.None {
				sums[c] += weightOf(field.AsMap(ref))
			}
		}
		if len(sums) > 0 {
			all = append(all, sums)
		}
	}
	return all
}

// led are the colours that a route leads users to.
func (r Routes) led(found *unstructured.Unstructured) []colour.Colour {
	var led []colour.Colour
	for _, sums := range r.weights(found) {
		for c, weight := range sums {
			if weight > 0 {
				led = append(led, c)
			}
		}
	}
	return led
}

// shared is how Crossfade has shared out the users of a route that is in the cluster; nil for one that leads to no colour. When its weights are
// not what Crossfade has written, that is an error of code fault.Refused. One without the annotation is taken as it is.
func (r Routes) shared(found *unstructured.Unstructured) (shares, error) {
	weights := r.weights(found)
	if len(weights) == 0 {
		return nil, nil //nolint:nilnil // nil means: no colours, and that is documented
	}
	written := found.GetAnnotations()[SharesAnnotation]
	if written == "" {
		return percent(weights[0]), nil
	}
	var s shares
	if err := json.Unmarshal([]byte(written), &s); err != nil {
		return nil, fault.New(fault.Failed, "cannot read how the users of %s are shared out: %w", ident.Of(found), err)
	}
	for _, sums := range weights {
		if !s.fits(sums) {
			return nil, r.changed(found, written)
		}
	}
	return s, nil
}

// fits reports whether weights are in the proportion of the shares.
func (s shares) fits(weights shares) bool {
	total := int64(0)
	for c, weight := range weights {
		if _, known := s[c]; !known {
			return false
		}
		total += weight
	}
	for c, share := range s {
		if weights[c]*100 != share*total {
			return false
		}
	}
	return true
}

// percent are weights as shares, which add up to 100.
func percent(weights shares) shares {
	total, left, s := int64(0), int64(100), shares{}
	for _, weight := range weights {
		total += weight
	}
	var most colour.Colour
	for _, c := range slices.Sorted(maps.Keys(weights)) {
		s[c] = weights[c] * 100 / max(total, 1)
		left -= s[c]
		if weights[c] >= weights[most] {
			most = c
		}
	}
	s[most] += left
	return s
}

// changed says that a route is not as Crossfade has written it.
func (r Routes) changed(found *unstructured.Unstructured, written string) error {
	who := "somebody"
	for m := range manager.Of(found) {
		if _, owns := field.Child(m.Fields, "f:spec")["f:rules"]; owns && m.Name != manager.Crossfade {
			who = m.Name
		}
	}
	return fault.New(fault.Refused, "cannot lead the users of %s: %s has changed the rules of %s, by which it shared them out as %s", r.service, who, ident.Of(found), written).
		WithHint("undo that; or have the weights lead everybody to one version, remove the annotation %s, and deploy again", SharesAnnotation)
}
