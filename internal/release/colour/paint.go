package colour

import (
	"bytes"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
)

// Paint returns what the version of a colour has of its own: its objects with the colour in their names, labels and selectors, and
// in what they refer to each other by. The version that is Plain has its objects as they were rendered.
func (p Parts) Paint(c Colour) ([]*unstructured.Unstructured, error) {
	if c == Plain {
		return p.own, nil
	}
	disk := filesys.MakeFsInMemory()
	var resources bytes.Buffer
	for _, obj := range p.own {
		raw, err := yaml.Marshal(obj.Object)
		if err != nil {
			return nil, fault.New(fault.Invalid, "cannot write %s: %w", ident.Of(obj), err)
		}
		resources.WriteString("---\n")
		resources.Write(raw)
	}
	kustomization, err := yaml.Marshal(types.Kustomization{
		Resources:  []string{"own.yaml"},
		NameSuffix: "-" + string(c),
		Labels:     []types.Label{{Pairs: map[string]string{Label: string(c)}, IncludeSelectors: true, IncludeTemplates: true}},
	})
	if err != nil {
		return nil, err
	}
	for name, content := range map[string][]byte{"own.yaml": resources.Bytes(), "kustomization.yaml": kustomization} {
		if err := disk.WriteFile(name, content); err != nil {
			return nil, err
		}
	}
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(disk, ".")
	if err != nil {
		return nil, fault.New(fault.Invalid, "cannot give %s the colour %s: %s", ident.Of(p.Workload), c, strings.Join(strings.Fields(err.Error()), " "))
	}
	painted := make([]*unstructured.Unstructured, 0, built.Size())
	for _, resource := range built.Resources() {
		raw, err := resource.MarshalJSON()
		if err != nil {
			return nil, err
		}
		obj := &unstructured.Unstructured{}
		if err := obj.UnmarshalJSON(raw); err != nil {
			return nil, err
		}
		painted = append(painted, obj)
	}
	return painted, nil
}

// Trial is the objects of the service as a cluster may be asked whether it would take them: what a version has of its own under names that no
// version has, as what stands in its place may be made anew.
func (p Parts) Trial() ([]*unstructured.Unstructured, error) {
	painted, err := p.Paint(Blue)
	if err != nil {
		return nil, err
	}
	for _, obj := range painted {
		obj.SetName(strings.TrimSuffix(obj.GetName(), string(Blue)) + "test")
	}
	return slices.Concat(p.Shared, p.Services, painted), nil
}

// Names names everything that the service may have in a cluster, in any colour.
func (p Parts) Names() ([]string, error) {
	names := []string{ident.Of(p.Preview(Blue))}
	for _, obj := range slices.Concat(p.Shared, p.Services) {
		names = append(names, ident.Of(obj))
	}
	for _, c := range []Colour{Plain, Blue, Green} {
		painted, err := p.Paint(c)
		if err != nil {
			return nil, err
		}
		for _, obj := range painted {
			names = append(names, ident.Of(obj))
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
