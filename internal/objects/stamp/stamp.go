// Package stamp marks copied objects with the cluster they come from and a digest of what was written, so that the next copy knows
// them, and what has become of them.
package stamp

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/manager"
	"github.com/crossfade-dev/crossfade/internal/kube/wire"
	"github.com/crossfade-dev/crossfade/internal/objects/withhold"
)

// takenOver begins the label of an object that was there before it was copied over: it is never pruned.
const takenOver = "over-"

// Mark is what tells the objects copied from a cluster from all others.
type Mark string

// Of returns the mark of a cluster: a digest of the UID of a namespace that every cluster has, or of the name of the context where
// that may not be read.
func Of(ctx context.Context, c *kube.Cluster) (Mark, error) {
	namespace, err := c.Find(ctx, schema.GroupKind{Kind: "Namespace"}, "", "kube-system")
	identity := c.Access().Context
	switch {
	case err == nil && namespace != nil:
		identity = string(namespace.GetUID())
	case err != nil && fault.Retryable(err):
		return "", err
	}
	digest := sha256.Sum256([]byte(identity))
	return Mark(hex.EncodeToString(digest[:4]) + "-"), nil
}

// Put labels an object that is about to be written over existing, which may be nil: who made it, where it was copied from, and a digest
// of what is written. It modifies want.
func (m Mark) Put(want, existing *unstructured.Unstructured) {
	value := string(m) + sign(want, existing)
	if existing != nil {
		if was := manager.Copied(existing); was == "" || strings.HasPrefix(was, takenOver) {
			value = takenOver + value
		}
	}
	labels := want.GetLabels()
	labels[manager.CopiedLabel] = value
	want.SetLabels(labels)
}

// Made reports whether an object was created by a copy from this cluster.
func (m Mark) Made(obj *unstructured.Unstructured) bool {
	return manager.Origin(obj) == manager.OriginCreated && strings.HasPrefix(manager.Copied(obj), string(m))
}

// Written is the digest of what a copy from this cluster has written to an object, whoever had made it.
func (m Mark) Written(obj *unstructured.Unstructured) (digest string, copied bool) {
	label, _ := strings.CutPrefix(manager.Copied(obj), takenOver)
	return strings.CutPrefix(label, string(m))
}

// Digest is what a copy that wrote the object over existing would put into its label.
func Digest(obj, existing *unstructured.Unstructured) string { return sign(obj.DeepCopy(), existing) }

// sign labels an object with who made it, and returns the digest of what is written.
func sign(want, existing *unstructured.Unstructured) string {
	labels := want.GetLabels()
	delete(labels, manager.CopiedLabel)
	want.SetLabels(labels)
	manager.Stamp(want, existing)
	return digest(withhold.Released(want)) // so that withholding and releasing do not count as changes
}

// digest tells two versions of an object apart. The values of a Secret are not in it, so that it tells nothing about them.
func digest(obj *unstructured.Unstructured) string {
	content := obj.Object
	if data, ok := content["data"].(map[string]any); ok && isSecret(obj) {
		content = maps.Clone(content)
		content["data"] = slices.Sorted(maps.Keys(data))
	}
	raw, err := wire.Encode(content) // with sorted keys
	if err != nil {
		raw = nil // what came from JSON can be written as JSON
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8])
}

func isSecret(obj *unstructured.Unstructured) bool {
	return obj.GroupVersionKind().GroupKind().String() == "Secret"
}
