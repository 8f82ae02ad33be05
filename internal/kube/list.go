package kube

import (
	"context"
	"errors"
	"iter"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/kube/wire"
)

// Query says what List lists.
type Query struct {
	Namespace string                       // every namespace when empty
	Labels    string                       // a label selector; everything when empty
	Fields    string                       // a field selector
	Began     func(resourceVersion string) // told once, before the first object: a watch from there misses nothing
}

// mostPage bounds how many objects one request lists, and pageSize how large its answer should be, in bytes: memory does not grow with
// the cluster, nor, after the first page, with its objects.
const (
	mostPage = 100
	pageSize = 1 << 20
)

// List yields the objects of a resource, in the order of the API. They are read a page at a time, and the next page while the one before
// is looked at. An error ends it. A list that lasts so long that the API server has forgotten where it began goes on with what is
// there now.
func (c *Cluster) List(ctx context.Context, gvr schema.GroupVersionResource, q Query) iter.Seq2[*unstructured.Unstructured, error] {
	return func(yield func(*unstructured.Unstructured, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		options := metav1.ListOptions{LabelSelector: q.Labels, FieldSelector: q.Fields, Limit: mostPage}
		for next := c.fetch(ctx, gvr, q.Namespace, options); ; {
			page := <-next
			if page.err != nil {
				yield(nil, c.Fault(page.err, "cannot list %s", gvr.GroupResource()))
				return
			}
			if q.Began != nil && options.Continue == "" {
				q.Began(page.Metadata.ResourceVersion)
			}
			options.Limit = nextLimit(page)
			if options.Continue = page.Metadata.Continue; options.Continue != "" {
				next = c.fetch(ctx, gvr, q.Namespace, options)
			}
			for item, err := range page.Items() {
				if err != nil {
					yield(nil, c.Fault(err, "cannot list %s", gvr.GroupResource()))
					return
				}
				if !yield(&unstructured.Unstructured{Object: item}, nil) {
					return
				}
			}
			if options.Continue == "" {
				return
			}
		}
	}
}

// page is the answer to one request of a list.
type page struct {
	wire.List
	size int // in bytes
	err  error
}

// nextLimit is how many objects the page after one should have.
func nextLimit(p page) int64 {
	if len(p.Raw) == 0 {
		return mostPage
	}
	return int64(min(max(pageSize/max(p.size/len(p.Raw), 1), 1), mostPage))
}

// fetch asks for a page in the background.
func (c *Cluster) fetch(ctx context.Context, gvr schema.GroupVersionResource, namespace string, options metav1.ListOptions) <-chan page {
	answer := make(chan page, 1)
	go func() { answer <- c.page(ctx, gvr, namespace, options) }()
	return answer
}

func (c *Cluster) page(ctx context.Context, gvr schema.GroupVersionResource, namespace string, options metav1.ListOptions) page {
	for {
		result := c.rest.Get().AbsPath(collection(gvr, namespace)...).SpecificallyVersionedParams(&options, metav1.ParameterCodec, version).Do(ctx)
		err := result.Error()
		if token := inconsistentContinue(err); token != "" {
			options.Continue = token
			continue
		}
		if err != nil {
			return page{err: err}
		}
		raw, err := result.Raw()
		if err != nil {
			return page{err: err}
		}
		list, err := wire.DecodeList(raw)
		return page{List: list, size: len(raw), err: err}
	}
}

// version is that of the options of requests.
var version = schema.GroupVersion{Version: "v1"}

// collection is where the objects of a resource are.
func collection(gvr schema.GroupVersionResource, namespace string) []string {
	path := []string{"apis", gvr.Group, gvr.Version}
	if gvr.Group == "" {
		path = []string{"api", gvr.Version}
	}
	if namespace != "" {
		path = append(path, "namespaces", namespace)
	}
	return append(path, gvr.Resource)
}

// inconsistentContinue returns the token with which a list whose own has expired may go on (410 Gone, API conventions,
// "Retrieving large results sets in chunks").
func inconsistentContinue(err error) string {
	if status, ok := errors.AsType[*apierrors.StatusError](err); ok && apierrors.IsResourceExpired(err) {
		return status.ErrStatus.Continue
	}
	return ""
}
