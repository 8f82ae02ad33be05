package kube

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/csaupgrade"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/kube/manager"
	"github.com/crossfade-dev/crossfade/internal/kube/wire"
)

// Get reads one object by kind, namespace and name of ref. It returns nil and no error when it does not exist.
func (c *Cluster) Get(ctx context.Context, ref *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	resource, err := c.resource(c.dynamic, ref)
	if err != nil {
		return nil, c.Fault(err, "cannot read %s", ident.Of(ref))
	}
	obj, err := resource.Get(ctx, ref.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // nil means: not there, and that is documented
	}
	if err != nil {
		return nil, c.Fault(err, "cannot read %s", ident.Of(ref))
	}
	return obj, nil
}

// Find reads one object by its kind, in the version that the cluster prefers. It returns nil and no error when there is none,
// and when the cluster does not serve the kind. The namespace is of no account for a kind without namespaces.
func (c *Cluster) Find(ctx context.Context, kind schema.GroupKind, namespace, name string) (*unstructured.Unstructured, error) {
	mapping, err := c.mapper.RESTMapping(kind)
	if meta.IsNoMatchError(err) {
		return nil, nil //nolint:nilnil // nil means: not there, and that is documented
	}
	if err != nil {
		return nil, c.Fault(err, "cannot read %s", ident.Name(kind, namespace, name))
	}
	ref := &unstructured.Unstructured{}
	ref.SetGroupVersionKind(mapping.GroupVersionKind)
	ref.SetName(name)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		ref.SetNamespace(namespace)
	}
	return c.Get(ctx, ref)
}

// Write applies one object server-side as Crossfade and returns what the API server made of it. Writing what is there already
// changes nothing. Fields that others have set to another value are a conflict (see Conflicts), and nothing is written; with
// force they are taken over. What Crossfade has created rather than applied is brought under apply first, so that fields which
// are missing in obj now go.
func (c *Cluster) Write(ctx context.Context, obj, existing *unstructured.Unstructured, force bool) (*unstructured.Unstructured, error) {
	resource, err := c.resource(c.writing, obj)
	if err != nil {
		return nil, c.Fault(err, "cannot apply %s", ident.Of(obj))
	}
	patch := func(kind types.PatchType, body []byte, options metav1.PatchOptions) (*unstructured.Unstructured, error) {
		return c.write(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) {
			return resource.Patch(ctx, obj.GetName(), kind, body, options)
		})
	}
	if existing != nil {
		upgrade, err := csaupgrade.UpgradeManagedFieldsPatch(existing, sets.New(manager.Crossfade), manager.Crossfade)
		if err == nil && upgrade != nil {
			_, err = patch(types.JSONPatchType, upgrade, metav1.PatchOptions{})
		}
		if err != nil {
			return nil, c.Fault(err, "cannot apply %s", ident.Of(obj))
		}
	}
	body, err := wire.Encode(obj.Object)
	if err != nil {
		return nil, c.Fault(err, "cannot apply %s", ident.Of(obj))
	}
	apply := func(force bool) (*unstructured.Unstructured, error) {
		return patch(types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: manager.Crossfade, Force: &force})
	}
	written, err := apply(force)
	if aboutOurLabels(err) {
		written, err = apply(true)
	}
	if err != nil {
		return nil, c.Fault(err, "cannot apply %s", ident.Of(obj))
	}
	return written, nil
}

// Patch merges a JSON merge patch (RFC 7386) into an object, or into a subresource of it such as "status", and returns the
// result. An object that is not there is an error of code fault.Failed.
func (c *Cluster) Patch(ctx context.Context, ref *unstructured.Unstructured, patch []byte, subresource ...string) (*unstructured.Unstructured, error) {
	resource, err := c.resource(c.writing, ref)
	if err != nil {
		return nil, c.Fault(err, "cannot change %s", ident.Of(ref))
	}
	obj, err := c.write(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return resource.Patch(ctx, ref.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: manager.Crossfade}, subresource...)
	})
	if err != nil {
		return nil, c.Fault(err, "cannot change %s", ident.Of(ref))
	}
	return obj, nil
}

// identity is what Create asks for: the metadata of what was created, where the API server can leave out the rest.
const identity = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"

// Create creates an object and returns who it is: its kind, namespace, name, uid and version. It returns nil, without an error, when one
// of its name is there already. Fields that the API server does not know are left out without a word.
func (c *Cluster) Create(ctx context.Context, obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	created, err := c.write(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) { return c.create(ctx, obj) })
	if apierrors.IsAlreadyExists(err) {
		return nil, nil //nolint:nilnil // nil means: there is one, and that is documented
	}
	if err != nil {
		return nil, c.Fault(err, "cannot create %s", ident.Of(obj))
	}
	return created, nil
}

func (c *Cluster) create(ctx context.Context, obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	place, err := c.place(obj)
	if err != nil {
		return nil, err
	}
	body, err := wire.Encode(obj.Object)
	if err != nil {
		return nil, err
	}
	result := c.writes.Post().AbsPath(place...).Param("fieldManager", manager.Crossfade).Param("fieldValidation", metav1.FieldValidationIgnore).
		SetHeader("Accept", identity).SetHeader("Content-Type", runtime.ContentTypeJSON).Body(body).Do(ctx)
	if err := result.Error(); err != nil {
		return nil, err
	}
	answer, err := result.Raw()
	if err != nil {
		return nil, err
	}
	content, err := wire.Decode(answer)
	if err != nil {
		return nil, err
	}
	created := &unstructured.Unstructured{Object: content}
	return identityOf(created, obj.GroupVersionKind()), nil
}

// identityOf is what says which object it is: who manages it, and its content, are not held.
func identityOf(obj *unstructured.Unstructured, gvk schema.GroupVersionKind) *unstructured.Unstructured {
	of := &unstructured.Unstructured{}
	of.SetGroupVersionKind(gvk)
	of.SetName(obj.GetName())
	of.SetNamespace(obj.GetNamespace())
	of.SetUID(obj.GetUID())
	of.SetResourceVersion(obj.GetResourceVersion())
	of.SetGeneration(obj.GetGeneration())
	return of
}

// Delete deletes an object and what it owns. One that is not there, or that was replaced by another of the same name since
// ref was read (when ref has a uid), is no error. It does not wait until the object is gone.
func (c *Cluster) Delete(ctx context.Context, ref *unstructured.Unstructured) error {
	return c.delete(ctx, ref, metav1.DeletePropagationBackground)
}

// DeleteAlone is Delete that leaves what the object owns, without an owner.
func (c *Cluster) DeleteAlone(ctx context.Context, ref *unstructured.Unstructured) error {
	return c.delete(ctx, ref, metav1.DeletePropagationOrphan)
}

func (c *Cluster) delete(ctx context.Context, ref *unstructured.Unstructured, propagation metav1.DeletionPropagation) error {
	resource, err := c.resource(c.writing, ref)
	if meta.IsNoMatchError(err) {
		return nil
	}
	if err != nil {
		return c.Fault(err, "cannot delete %s", ident.Of(ref))
	}
	options := metav1.DeleteOptions{PropagationPolicy: &propagation}
	if uid := ref.GetUID(); uid != "" {
		options.Preconditions = &metav1.Preconditions{UID: &uid}
	}
	_, err = c.write(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return nil, resource.Delete(ctx, ref.GetName(), options)
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	if err != nil {
		return c.Fault(err, "cannot delete %s", ident.Of(ref))
	}
	return nil
}

// Namespaced reports whether the kind lives in namespaces. A kind that the cluster does not serve is an error of code
// fault.Failed.
func (c *Cluster) Namespaced(gvk schema.GroupVersionKind) (bool, error) {
	mapping, err := c.mapping(gvk)
	if err != nil {
		return false, c.Fault(err, "cannot find the kind %s", gvk.GroupKind())
	}
	return mapping.Scope.Name() == meta.RESTScopeNameNamespace, nil
}

// write makes one request of the client writing. One that takes longer than other requests may goes on only as long as the API server is
// ready otherwise: then a webhook holds it up.
func (c *Cluster) write(ctx context.Context, request func(context.Context) (*unstructured.Unstructured, error)) (*unstructured.Unstructured, error) {
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	probe := time.AfterFunc(requestTimeout, func() {
		if c.Healthy(within) != nil {
			cancel()
		}
	})
	defer probe.Stop()
	obj, err := request(within)
	if err != nil && within.Err() != nil && ctx.Err() == nil {
		err = context.DeadlineExceeded
	}
	return obj, err
}

// resource is where requests of a client about an object go.
func (c *Cluster) resource(client dynamic.Interface, obj *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	mapping, err := c.mapping(obj.GroupVersionKind())
	if err != nil {
		return nil, err
	}
	namespace, err := namespaceOf(mapping, obj)
	if err != nil {
		return nil, err
	}
	return client.Resource(mapping.Resource).Namespace(namespace), nil
}

// place is where an object is created.
func (c *Cluster) place(obj *unstructured.Unstructured) ([]string, error) {
	mapping, err := c.mapping(obj.GroupVersionKind())
	if err != nil {
		return nil, err
	}
	namespace, err := namespaceOf(mapping, obj)
	return collection(mapping.Resource, namespace), err
}

// namespaceOf is the namespace of an object, "" when its kind has none.
func namespaceOf(mapping *meta.RESTMapping, obj *unstructured.Unstructured) (string, error) {
	namespace := obj.GetNamespace()
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		return "", nil
	}
	if namespace == "" {
		return "", fault.New(fault.Invalid, "cannot find %s: it names no namespace", ident.Of(obj)).
			WithHint("set metadata.namespace, or the namespace of the unit")
	}
	return namespace, nil
}

// mapping says where objects of a kind are. A kind that is served stays where it is.
func (c *Cluster) mapping(gvk schema.GroupVersionKind) (*meta.RESTMapping, error) {
	if known, ok := c.mapped.Load(gvk); ok {
		return known.(*meta.RESTMapping), nil
	}
	mapping, err := c.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err == nil {
		c.mapped.Store(gvk, mapping)
	}
	return mapping, err
}
