package kubetest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// Objects reads objects from YAML documents.
func Objects(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	reader := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	var objs []*unstructured.Unstructured
	for {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objs
		}
		if err != nil {
			t.Fatal(err)
		}
		raw, err := yaml.YAMLToJSON(doc)
		if err != nil {
			t.Fatal(err)
		}
		if string(raw) == "null" {
			continue
		}
		obj := &unstructured.Unstructured{}
		if err := obj.UnmarshalJSON(raw); err != nil {
			t.Fatal(err)
		}
		objs = append(objs, obj)
	}
}

// WriteAs creates the objects, or merges them into those that are there, as a client of the given name does that does not
// use server-side apply.
func (s *Server) WriteAs(t *testing.T, manager, text string) {
	t.Helper()
	c := s.client(t)
	for _, obj := range Objects(t, text) {
		err := c.Patch(t.Context(), obj.DeepCopy(), client.RawPatch(types.MergePatchType, encode(t, obj)), client.FieldOwner(manager))
		if apierrors.IsNotFound(err) {
			err = c.Create(t.Context(), obj, client.FieldOwner(manager))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// ApplyAs applies the objects server-side as a manager of the given name, by force.
func (s *Server) ApplyAs(t *testing.T, manager, text string) {
	t.Helper()
	for _, obj := range Objects(t, text) {
		patch := client.RawPatch(types.ApplyPatchType, encode(t, obj))
		if err := s.client(t).Patch(t.Context(), obj, patch, client.FieldOwner(manager), client.ForceOwnership); err != nil {
			t.Fatal(err)
		}
	}
}

// SetStatus merges text, an object in YAML with a status, into the status of the object it names, as a controller does.
func (s *Server) SetStatus(t *testing.T, text string) {
	t.Helper()
	for _, obj := range Objects(t, text) {
		patch := client.RawPatch(types.MergePatchType, encode(t, obj))
		if err := s.client(t).Status().Patch(t.Context(), obj, patch, client.FieldOwner("kube-controller-manager")); err != nil {
			t.Fatal(err)
		}
	}
}

// client writes as anybody. It is made once, as it asks the server what it serves.
func (s *Server) client(t *testing.T) client.Client {
	t.Helper()
	s.once.Do(func() {
		config, err := clientcmd.BuildConfigFromFlags("", s.Access.Kubeconfig)
		if err != nil {
			t.Fatal(err)
		}
		config.QPS = -1
		if s.writing, err = client.New(config, client.Options{}); err != nil {
			t.Fatal(err)
		}
	})
	return s.writing
}

func encode(t *testing.T, obj *unstructured.Unstructured) []byte {
	t.Helper()
	raw, err := json.Marshal(obj.Object)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Controllers does for namespaces being deleted what the controller manager does, until the test ends: it empties and
// finalizes them.
func (s *Server) Controllers(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	t.Cleanup(func() { cancel(); <-done })
	core := s.core(t)
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			s.finalize(ctx, core)
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
}

// finalize lets go of every namespace that is being deleted. What is in it goes first in a real cluster; tests that use
// this delete it themselves.
func (s *Server) finalize(ctx context.Context, core corev1.CoreV1Interface) {
	list, err := core.Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return // the server is frozen or ends; the next round sees
	}
	for _, namespace := range list.Items {
		if namespace.DeletionTimestamp != nil {
			namespace.Spec.Finalizers = nil
			_, _ = core.Namespaces().Finalize(ctx, &namespace, metav1.UpdateOptions{}) // the next round tries again
		}
	}
}

func (s *Server) core(t *testing.T) corev1.CoreV1Interface {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", s.Access.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	core, err := corev1.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return core
}
