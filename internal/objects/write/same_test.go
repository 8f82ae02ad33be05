package write

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
)

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	return kubetest.Objects(t, text)[0]
}

// written is the metadata of an object that was copied, with its digest.
func written(digest, rest string) string {
	return "{name: a, namespace: shop, labels: {crossfade.dev/copied: " + digest + ", app: web}, annotations: {note: x}" + rest +
		", managedFields: [{manager: crossfade, operation: Update, fieldsV1: {'f:metadata': {'f:labels': {'f:crossfade.dev/copied': {}}}}}]}"
}

// TestSame says when nothing need be written.
func TestSame(t *testing.T) {
	config := func(metadata, body string) string {
		return "{apiVersion: v1, kind: ConfigMap, metadata: " + metadata + body + "}"
	}
	const owner = ", ownerReferences: [{apiVersion: v1, kind: Pod, name: p, uid: u}]"
	tests := map[string]struct {
		reason         string
		want, existing string
		same           bool
	}{
		"the same":         {"it was written like this", config(written("x-1", ""), ", data: {a: b}"), config(written("x-1", ""), ", data: {a: b}"), true},
		"another digest":   {"something else was written last, perhaps with more fields", config(written("x-1", ""), ", data: {a: b}"), config(written("x-2", ""), ", data: {a: b}"), false},
		"changed there":    {"somebody has written over it", config(written("x-1", ""), ", data: {a: b}"), config(written("x-1", ""), ", data: {a: c}"), false},
		"removed there":    {"somebody has removed it", config(written("x-1", ""), ", data: {a: b}"), config(written("x-1", ""), ""), false},
		"more there":       {"what is beside it is not ours", config(written("x-1", ""), ", data: {a: b}"), config(written("x-1", ""), ", data: {a: b, c: d}"), true},
		"empty":            {"the API keeps no empty maps", config(written("x-1", ""), ", data: {}"), config(written("x-1", ""), ""), true},
		"a label":          {"somebody has changed a label", config(written("x-1", ""), ""), config(strings.Replace(written("x-1", ""), "app: web", "app: db", 1), ""), false},
		"an annotation":    {"somebody has removed an annotation", config(written("x-1", ""), ""), config(strings.Replace(written("x-1", ""), "note: x", "other: x", 1), ""), false},
		"owners":           {"the same own it", config(written("x-1", owner), ""), config(written("x-1", owner), ""), true},
		"owner lost":       {"it was orphaned", config(written("x-1", owner), ""), config(written("x-1", ""), ""), false},
		"owner replaced":   {"its owner is another by now", config(written("x-1", owner), ""), config(written("x-1", strings.Replace(owner, "uid: u", "uid: v", 1)), ""), false},
		"label by another": {"a digest that was handed down is none", config(written("x-1", ""), ""), strings.Replace(config(written("x-1", ""), ""), "manager: crossfade", "manager: kube-controller-manager", 1), false},
		"secret value":     {"digests do not tell values of Secrets apart", "{apiVersion: v1, kind: Secret, metadata: " + written("x-1", "") + ", data: {a: eA==}}", "{apiVersion: v1, kind: Secret, metadata: " + written("x-1", "") + ", data: {a: eQ==}}", false},
		"secret and more": {
			"a token that the other cluster has put beside it", "{apiVersion: v1, kind: Secret, metadata: " + written("x-1", "") + ", data: {a: eA==}}",
			"{apiVersion: v1, kind: Secret, metadata: " + written("x-1", "") + ", data: {a: eA==, token: eQ==}}", true,
		},
		"token volume": {
			"the API server gives every pod one", "{apiVersion: v1, kind: Pod, metadata: " + written("x-1", "") + ", spec: {containers: [{name: a, volumeMounts: [{name: data, mountPath: /data}]}], volumes: [{name: data}]}}",
			`{apiVersion: v1, kind: Pod, metadata: ` + written("x-1", "") + `, spec: {nodeName: n, containers: [{name: a, volumeMounts: [{name: data, mountPath: /data}, {name: kube-api-access-x, mountPath: /var/run/secrets/kubernetes.io/serviceaccount}]}],
			  volumes: [{name: data}, {name: kube-api-access-x}]}}`, true,
		},
		"another volume": {
			"somebody has put it there", "{apiVersion: v1, kind: Pod, metadata: " + written("x-1", "") + ", spec: {volumes: [{name: data}]}}",
			"{apiVersion: v1, kind: Pod, metadata: " + written("x-1", "") + ", spec: {volumes: [{name: data}, {name: more}]}}", false,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			want, existing := object(t, test.want), object(t, test.existing)
			before := existing.DeepCopy()
			if same(want, existing) != test.same {
				t.Errorf("%s: want %t", test.reason, test.same)
			}
			if diff := cmp.Diff(before.Object, existing.Object); diff != "" {
				t.Errorf("what is there was changed by looking:\n%s", diff)
			}
		})
	}
}
