package objects

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/wire"
	"github.com/crossfade-dev/crossfade/internal/objects/withhold"
)

// takenOver begins the label of an object that was there before it was copied over: it is never pruned.
const takenOver = "over-"

// stamp labels an object that is about to be written: who made it, where it was copied from, and a digest of what is written.
func (c *copier) stamp(want, existing *unstructured.Unstructured) {
	labels := want.GetLabels()
	delete(labels, kube.CopiedLabel)
	want.SetLabels(labels)
	kube.Stamp(want, existing)
	value := c.mark + digest(released(want))
	if existing != nil {
		if was := kube.Copied(existing); was == "" || strings.HasPrefix(was, takenOver) {
			value = takenOver + value
		}
	}
	labels = want.GetLabels()
	labels[kube.CopiedLabel] = value
	want.SetLabels(labels)
}

// released is an object as it will be when nothing of it is withheld, so that withholding and releasing do not count as changes.
func released(obj *unstructured.Unstructured) *unstructured.Unstructured {
	free, err := withhold.Restore(obj)
	if err != nil {
		return obj
	}
	return free
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
