package manager

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// managed makes an object with the given entries of managed fields.
func managed(entries ...metav1.ManagedFieldsEntry) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap"}}
	obj.SetManagedFields(entries)
	return obj
}

func by(manager string, operation metav1.ManagedFieldsOperationType, subresource string) metav1.ManagedFieldsEntry {
	return metav1.ManagedFieldsEntry{
		Manager: manager, Operation: operation, Subresource: subresource, APIVersion: "v1", FieldsType: "FieldsV1",
		FieldsV1: metav1.NewFieldsV1(`{"f:data":{"f:` + manager + `":{}}}`),
	}
}

// fieldsOf is an entry of a manager that has written one label.
func fieldsOf(manager, label string) metav1.ManagedFieldsEntry {
	return metav1.ManagedFieldsEntry{
		Manager: manager, Operation: metav1.ManagedFieldsOperationApply, APIVersion: "v1", FieldsType: "FieldsV1",
		FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:labels":{"f:` + label + `":{}}}}`),
	}
}

const (
	update = metav1.ManagedFieldsOperationUpdate
	apply  = metav1.ManagedFieldsOperationApply
)

func TestOf(t *testing.T) {
	type seen struct {
		ByCluster bool   // MadeByCluster
		Others    bool   // HasOthers
		Ours      string // AppliedFields
	}
	tests := map[string]struct {
		reason  string
		entries []metav1.ManagedFieldsEntry
		want    seen
	}{
		"nobody":           {reason: "who is not told of is taken to be somebody", want: seen{}},
		"a controller":     {reason: "the next cluster makes it too", entries: []metav1.ManagedFieldsEntry{by("kube-controller-manager", update, "")}, want: seen{ByCluster: true, Others: true}},
		"its status alone": {reason: "a status does not say who made the object", entries: []metav1.ManagedFieldsEntry{by("kubelet", update, "status")}, want: seen{}},
		"a person, with a status from the cluster": {
			reason:  "the person made it",
			entries: []metav1.ManagedFieldsEntry{by("kubectl-create", update, ""), by("kube-controller-manager", update, "status")}, want: seen{Others: true},
		},
		"a person and a controller": {
			reason:  "what a person has touched is theirs",
			entries: []metav1.ManagedFieldsEntry{by("kube-controller-manager", update, ""), by("kubectl-edit", update, "")}, want: seen{Others: true},
		},
		"Crossfade": {
			reason:  "only we have written it, so there is no conflict",
			entries: []metav1.ManagedFieldsEntry{by(Crossfade, apply, ""), by("kubelet", update, "status")},
			want:    seen{Ours: `{"f:data":{"f:crossfade":{}}}`},
		},
		"Crossfade in passing": {
			reason:  "what we patched, or wrote to a subresource, we have not applied",
			entries: []metav1.ManagedFieldsEntry{by(Crossfade, update, ""), by(Crossfade, apply, "scale")}, want: seen{},
		},
		"an autoscaler by the subresource scale": {
			reason:  "it can be in conflict, as the status cannot",
			entries: []metav1.ManagedFieldsEntry{by(Crossfade, apply, ""), by("kube-controller-manager", update, "scale")},
			want:    seen{Others: true, Ours: `{"f:data":{"f:crossfade":{}}}`},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			obj := managed(test.entries...)
			got := seen{ByCluster: MadeByCluster(obj), Others: HasOthers(obj)}
			if ours := AppliedFields(obj); ours != nil {
				got.Ours = ours.GetRawString()
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

func TestStamp(t *testing.T) {
	labelled := func(labels map[string]string) *unstructured.Unstructured {
		obj := managed(fieldsOf(Crossfade, OriginLabel))
		obj.SetLabels(labels)
		return obj
	}
	handedDown := managed(fieldsOf("kube-controller-manager", OriginLabel))
	handedDown.SetLabels(map[string]string{OriginLabel: OriginCreated})
	tests := map[string]struct {
		reason        string
		obj, existing *unstructured.Unstructured
		want          map[string]string
	}{
		"new": {
			reason: "Crossfade makes it, and will remove it",
			obj:    labelled(map[string]string{"app": "web"}), want: map[string]string{"app": "web", OriginLabel: OriginCreated},
		},
		"somebody's": {
			reason: "what was there before must never be removed",
			obj:    labelled(nil), existing: labelled(map[string]string{"app": "web"}), want: map[string]string{OriginLabel: OriginTaken},
		},
		"made before": {
			reason: "a second run does not take it for somebody's",
			obj:    labelled(nil), existing: labelled(map[string]string{OriginLabel: OriginCreated}), want: map[string]string{OriginLabel: OriginCreated},
		},
		"taken before": {
			reason: "nor for its own",
			obj:    labelled(nil), existing: labelled(map[string]string{OriginLabel: OriginTaken}), want: map[string]string{OriginLabel: OriginTaken},
		},
		"handed down": {
			reason: "a label that a controller has taken from what it makes an object for says nothing",
			obj:    labelled(nil), existing: handedDown, want: map[string]string{OriginLabel: OriginTaken},
		},
		"a label in the manifests": {
			reason: "manifests taken from another cluster do not decide it",
			obj:    labelled(map[string]string{OriginLabel: OriginCreated}), existing: labelled(nil), want: map[string]string{OriginLabel: OriginTaken},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			Stamp(test.obj, test.existing)
			if diff := cmp.Diff(test.want, test.obj.GetLabels()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}
