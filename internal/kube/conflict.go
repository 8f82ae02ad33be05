package kube

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/kube/manager"
)

// conflict is one field that another manager has given another value.
type conflict struct {
	field    string // ".spec.replicas"
	manager  string // "kubectl-edit"
	declared bool   // by a server-side apply, as opposed to an update in passing
}

// conflictMessage is how the API server words a conflict; the version is there for updates only
// (k8s.io/apimachinery/pkg/util/managedfields/internal/conflict.go).
var conflictMessage = regexp.MustCompile(`^conflict with "([^"]*)"(?: with subresource "[^"]*")?( using .*)?$`)

// resolveConflicts decides about the fields of obj that others have set in the cluster. What was changed by hand becomes
// again what the manifests say; replicas that an autoscaler set stay; what another applier declares is an error.
func (c *Cluster) resolveConflicts(ctx context.Context, obj *unstructured.Unstructured) (Applied, error) {
	conflicts, err := c.conflicts(ctx, obj)
	if err != nil {
		return Applied{}, err
	}
	return decide(obj, conflicts)
}

// decide settles the conflicts of one object; it takes out of obj what is left to others.
func decide(obj *unstructured.Unstructured, conflicts []conflict) (Applied, error) {
	var decided Applied
	for _, found := range conflicts {
		text := fmt.Sprintf("%s%s, set by %s", ident.Of(obj), found.field, found.manager)
		switch {
		case found.manager == manager.Crossfade: // our own change, such as releasing a CronJob
		case found.field == ".spec.replicas" && !strings.HasPrefix(found.manager, "kubectl"):
			unstructured.RemoveNestedField(obj.Object, "spec", "replicas")
			decided.Kept = append(decided.Kept, text)
		case found.declared:
			return decided, fault.New(fault.Failed, "cannot apply %s: %s applies its field %s with another value",
				ident.Of(obj), found.manager, strings.TrimPrefix(found.field, ".")).
				WithHint("leave the field out of the manifests, or take the object away from %s", found.manager)
		default:
			decided.Taken = append(decided.Taken, text)
		}
	}
	return decided, nil
}

// conflicts asks the API server which fields of obj others own with another value, without writing anything. An object
// that only Crossfade has written needs no question. On the way obj is stamped, as what is there is known here.
func (c *Cluster) conflicts(ctx context.Context, obj *unstructured.Unstructured) ([]conflict, error) {
	existing, err := c.Get(ctx, obj)
	if err != nil {
		return nil, err
	}
	manager.Stamp(obj, existing)
	if existing == nil || !manager.HasOthers(existing) {
		return nil, nil
	}
	resource, err := c.resource(c.writing, obj)
	if err != nil {
		return nil, c.Fault(err, "cannot apply %s", ident.Of(obj))
	}
	_, err = resource.Apply(ctx, obj.GetName(), obj, metav1.ApplyOptions{FieldManager: manager.Crossfade, DryRun: []string{metav1.DryRunAll}})
	if err != nil && !apierrors.HasStatusCause(err, metav1.CauseTypeFieldManagerConflict) {
		return nil, c.Fault(err, "cannot apply %s", ident.Of(obj))
	}
	return readConflicts(err), nil
}

// Conflicts says which fields of an object others have set to another value, when that is why Write failed: "field .spec.replicas,
// set by kubectl-edit".
func Conflicts(err error) []string {
	var texts []string
	for _, found := range readConflicts(err) {
		texts = append(texts, fmt.Sprintf("field %s, set by %s", found.field, found.manager))
	}
	return texts
}

// aboutOurLabels reports whether a conflict is about nothing but Crossfade's own labels. They are nobody else's: an API server that has
// lost track of an object's managers takes all its fields for somebody's.
func aboutOurLabels(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.HasStatusCause(err, metav1.CauseTypeFieldManagerConflict) || !errors.As(err, &status) {
		return false
	}
	return !slices.ContainsFunc(status.Status().Details.Causes, func(cause metav1.StatusCause) bool {
		return cause.Field != ".metadata.labels."+manager.OriginLabel && cause.Field != ".metadata.labels."+manager.CopiedLabel
	})
}

func readConflicts(err error) []conflict {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return nil
	}
	var found []conflict
	for _, cause := range status.Status().Details.Causes {
		m := conflictMessage.FindStringSubmatch(cause.Message)
		if cause.Type != metav1.CauseTypeFieldManagerConflict || m == nil {
			continue
		}
		found = append(found, conflict{field: cause.Field, manager: m[1], declared: m[2] == ""})
	}
	return found
}
