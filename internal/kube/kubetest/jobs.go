package kubetest

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// Jobs lists the names of the Jobs that are in a namespace and not being deleted.
func (s *Server) Jobs(t *testing.T, namespace string) []string {
	t.Helper()
	var names []string
	for _, job := range s.jobs(t, namespace) {
		names = append(names, job.GetName())
	}
	return names
}

// EndJob waits for a Job in the namespace and gives it the status (YAML), as its controller does.
func (s *Server) EndJob(t *testing.T, namespace, status string) {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte("status: " + status))
	if err != nil {
		t.Fatal(err)
	}
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); <-ticker.C {
		if jobs := s.jobs(t, namespace); len(jobs) > 0 {
			if err := s.client(t).Status().Patch(t.Context(), &jobs[0], client.RawPatch(types.MergePatchType, raw)); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no Job came in %s", namespace)
}

func (s *Server) jobs(t *testing.T, namespace string) []unstructured.Unstructured {
	t.Helper()
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "JobList"})
	if err := s.client(t).List(t.Context(), list, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	var there []unstructured.Unstructured
	for _, job := range list.Items {
		if job.GetDeletionTimestamp() == nil {
			there = append(there, job)
		}
	}
	return there
}
