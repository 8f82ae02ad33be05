package stamp

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/kube/manager"
)

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	return kubetest.Objects(t, text)[0]
}

// TestStamp: a copy says what it is of; what was there before, or has been touched since by a copy from elsewhere, is known by it.
func TestStamp(t *testing.T) {
	stamped := func(obj, existing *unstructured.Unstructured) *unstructured.Unstructured {
		obj = obj.DeepCopy()
		Mark("a-").Put(obj, existing)
		return obj
	}
	config := object(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop}, data: {a: b}}")
	first := stamped(config, nil)
	label := first.GetLabels()[manager.CopiedLabel]
	if !strings.HasPrefix(label, "a-") || first.GetLabels()[manager.OriginLabel] != manager.OriginCreated {
		t.Errorf("created: %v", first.GetLabels())
	}
	if again := stamped(first, nil); again.GetLabels()[manager.CopiedLabel] != label {
		t.Error("a stamp counts in the digest")
	}
	over := stamped(config, config)
	if got := over.GetLabels(); got[manager.CopiedLabel] != "over-"+label[:2]+strings.TrimPrefix(got[manager.CopiedLabel], "over-a-") || got[manager.OriginLabel] != manager.OriginTaken {
		t.Errorf("taken over: %v", got)
	}
	if other := stamped(object(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop}, data: {a: c}}"), nil); other.GetLabels()[manager.CopiedLabel] == label {
		t.Error("another content has the same digest")
	}
	if len(label) > 63 || len(over.GetLabels()[manager.CopiedLabel]) > 63 {
		t.Error("too long for a label")
	}
	secret := func(value string) string {
		return stamped(object(t, "{apiVersion: v1, kind: Secret, metadata: {name: a, namespace: shop}, data: {key: "+value+"}}"), nil).GetLabels()[manager.CopiedLabel]
	}
	if secret("eA==") != secret("eQ==") {
		t.Error("the digest of a Secret tells something about its values")
	}
}

// TestMade: what a copy has made, or has written over, is known by the cluster it came from.
func TestMade(t *testing.T) {
	obj := object(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop, managedFields: [
	  {manager: crossfade, operation: Update, fieldsV1: {'f:metadata': {'f:labels': {'f:crossfade.dev/copied': {}, 'f:crossfade.dev/origin': {}}}}}]}, data: {a: b}}`)
	tests := map[string]struct {
		reason       string
		by           Mark
		existing     *unstructured.Unstructured
		made, copied bool
	}{
		"created":    {"nothing was there", "a-", nil, true, true},
		"taken over": {"it was there, and is never deleted", "a-", obj, false, true},
		"elsewhere":  {"it was copied from another cluster", "b-", nil, false, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			written := obj.DeepCopy()
			test.by.Put(written, test.existing)
			if got := Mark("a-").Made(written); got != test.made {
				t.Errorf("%s: made %t", test.reason, got)
			}
			digest, copied := Mark("a-").Written(written)
			if copied != test.copied || copied && digest != Digest(obj, test.existing) {
				t.Errorf("%s: copied %t, digest %s", test.reason, copied, digest)
			}
			labels := written.GetLabels()
			labels[manager.OriginLabel] = manager.OriginTaken
			written.SetLabels(labels)
			if Mark("a-").Made(written) {
				t.Error("what Crossfade has found there counts as made")
			}
			if obj.GetLabels() != nil {
				t.Error("the object was changed by looking")
			}
		})
	}
}
