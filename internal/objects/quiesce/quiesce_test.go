package quiesce

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

func workload(t *testing.T, kind, name, metadata string, replicas string) *unstructured.Unstructured {
	t.Helper()
	text := "{apiVersion: apps/v1, kind: " + kind + ", metadata: {name: " + name + ", namespace: shop" + metadata + "}, spec: {" + replicas + "}}"
	return kubetest.Objects(t, text)[0]
}

// TestStill: what is written while controllers are stopped starts at zero, and keeps what it will have afterwards.
func TestStill(t *testing.T) {
	const copied = ", labels: {crossfade.dev/copied: a-1}, managedFields: [{manager: crossfade, operation: Update, fieldsV1: {'f:metadata': {'f:labels': {'f:crossfade.dev/copied': {}}}}}]"
	tests := map[string]struct {
		reason       string
		running      bool // nothing is stopped
		want, exists *unstructured.Unstructured
		after        string // kept for afterwards; "" when the object is written as it is
	}{
		"named":       {"it would act on half of what it looks after", false, workload(t, "Deployment", "operator", "", "replicas: 3"), nil, "3"},
		"by default":  {"the API's default is one", false, workload(t, "StatefulSet", "operator", "", ""), nil, "1"},
		"not named":   {"the others go on", false, workload(t, "Deployment", "web", "", "replicas: 3"), nil, ""},
		"no workload": {"only Deployments and StatefulSets are stopped", false, workload(t, "ReplicaSet", "operator", "", "replicas: 3"), nil, ""},
		"not stopped": {"the copy has ended", true, workload(t, "Deployment", "operator", "", "replicas: 3"), nil, ""},
		"scaled": {
			"it was stopped with the replicas that an autoscaler gave it", false, workload(t, "Deployment", "operator", copied, "replicas: 3"),
			workload(t, "Deployment", "operator", copied+", annotations: {"+Annotation+": '7'}", "replicas: 0"), "7",
		},
		"changed": {
			"other replicas are copied than last time", false, workload(t, "Deployment", "operator", ", labels: {crossfade.dev/copied: a-2}", "replicas: 4"),
			workload(t, "Deployment", "operator", copied+", annotations: {"+Annotation+": '7'}", "replicas: 0"), "4",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := New(nil, []spec.Selector{{Names: []string{"operator"}}}, nil)
			c.stopped = !test.running
			before := replicas(test.want)
			got := c.Still(test.want, test.exists)
			if test.after == "" {
				if got != test.want {
					t.Errorf("%s: %v", test.reason, got)
				}
				return
			}
			if got.GetAnnotations()[Annotation] != test.after || replicas(got) != 0 || replicas(test.want) != before {
				t.Errorf("%s: %v", test.reason, got)
			}
		})
	}
}
