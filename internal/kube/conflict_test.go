package kube

import (
	"errors"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/manager"
)

func TestReadConflicts(t *testing.T) {
	conflicting := func(causes ...metav1.StatusCause) error { return apierrors.NewApplyConflict(causes, "Apply failed") }
	cause := func(field, text string) metav1.StatusCause {
		return metav1.StatusCause{Type: metav1.CauseTypeFieldManagerConflict, Field: field, Message: text}
	}
	tests := map[string]struct {
		reason string
		err    error
		want   []conflict
	}{
		"none": {reason: "a dry run without an error met nobody"},
		"an applier": {
			reason: "appliers have no version in the message",
			err:    conflicting(cause(".data.colour", `conflict with "gitops"`)),
			want:   []conflict{{field: ".data.colour", manager: "gitops", declared: true}},
		},
		"an updater": {
			reason: "who updates in passing has one, with the time in newer servers",
			err: conflicting(
				cause(".data.colour", `conflict with "kubectl-edit" using v1`),
				cause(".data.size", `conflict with "kubectl-edit" using v1 at 2026-07-01T10:00:00Z`)),
			want: []conflict{{field: ".data.colour", manager: "kubectl-edit"}, {field: ".data.size", manager: "kubectl-edit"}},
		},
		"by a subresource": {
			reason: "an autoscaler sets replicas by the subresource scale",
			err: conflicting(
				cause(".spec.replicas", `conflict with "kube-controller-manager" with subresource "scale" using apps/v1`),
				cause(".spec.paused", `conflict with "gitops" with subresource "scale"`)),
			want: []conflict{
				{field: ".spec.replicas", manager: "kube-controller-manager"},
				{field: ".spec.paused", manager: "gitops", declared: true},
			},
		},
		"a list's entry": {
			reason: "the field may have quotes of its own",
			err:    conflicting(cause(`.spec.containers[name="web"].image`, `conflict with "Mozilla" using apps/v1`)),
			want:   []conflict{{field: `.spec.containers[name="web"].image`, manager: "Mozilla"}},
		},
		"causes of another type": {
			reason: "they are not about managers",
			err:    conflicting(metav1.StatusCause{Type: metav1.CauseTypeFieldValueInvalid, Field: "x", Message: `conflict with "a"`}),
		},
		"no causes":   {reason: "nothing to read", err: &apierrors.StatusError{ErrStatus: metav1.Status{Code: http.StatusConflict}}},
		"not the API": {reason: "nothing to read", err: errors.New(`conflict with "a"`)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, readConflicts(test.err), cmp.AllowUnexported(conflict{})); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

func TestDecide(t *testing.T) {
	tests := map[string]struct {
		reason    string
		conflicts []conflict
		want      Applied
		replicas  bool // the object still says how many
		err, hint string
	}{
		"none": {reason: "nothing to settle", replicas: true},
		"an autoscaler": {
			reason:    "how many run is its business; saying it would fight it",
			conflicts: []conflict{{field: ".spec.replicas", manager: "kube-controller-manager"}},
			want:      Applied{Kept: []string{"apps/Deployment shop/web.spec.replicas, set by kube-controller-manager"}},
		},
		"an autoscaler that applies": {
			reason:    "its field is left to it, declared or not",
			conflicts: []conflict{{field: ".spec.replicas", manager: "keda", declared: true}},
			want:      Applied{Kept: []string{"apps/Deployment shop/web.spec.replicas, set by keda"}},
		},
		"kubectl scale": {
			reason:    "a hand is no autoscaler: the manifests win",
			conflicts: []conflict{{field: ".spec.replicas", manager: "kubectl-scale"}},
			want:      Applied{Taken: []string{"apps/Deployment shop/web.spec.replicas, set by kubectl-scale"}}, replicas: true,
		},
		"by hand": {
			reason:    "the manifests win over what was edited",
			conflicts: []conflict{{field: ".spec.paused", manager: "kubectl-edit"}, {field: ".metadata.labels.a", manager: "Mozilla"}},
			want: Applied{Taken: []string{
				"apps/Deployment shop/web.spec.paused, set by kubectl-edit", "apps/Deployment shop/web.metadata.labels.a, set by Mozilla",
			}}, replicas: true,
		},
		"our own": {
			reason:    "Crossfade's own updates are not somebody's",
			conflicts: []conflict{{field: ".spec.suspend", manager: manager.Crossfade}}, replicas: true,
		},
		"another applier": {
			reason:    "two that apply would write in turn for ever",
			conflicts: []conflict{{field: ".spec.paused", manager: "kubectl-edit"}, {field: ".spec.minReadySeconds", manager: "argocd", declared: true}},
			want:      Applied{Taken: []string{"apps/Deployment shop/web.spec.paused, set by kubectl-edit"}}, replicas: true,
			err:  "cannot apply apps/Deployment shop/web: argocd applies its field spec.minReadySeconds with another value",
			hint: "leave the field out of the manifests, or take the object away from argocd",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			obj := &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "web", "namespace": "shop"},
				"spec": map[string]any{"replicas": int64(2)},
			}}
			got, err := decide(obj, test.conflicts)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
			if _, found, _ := unstructured.NestedInt64(obj.Object, "spec", "replicas"); found != test.replicas {
				t.Errorf("%s: replicas are in the object: %t", test.reason, found)
			}
			text := ""
			if err != nil {
				text = err.Error()
			}
			if diff := cmp.Diff([]string{test.err, test.hint}, []string{text, fault.HintOf(err)}); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}
