package kubetest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/kube"
)

// Canned is an API server that shows the objects it was given and takes no changes: for what a real one without nodes cannot
// show, such as crashing pods with their logs, and for answers that a healthy one never gives.
type Canned struct {
	Access  cluster.Access
	mux     *http.ServeMux
	lock    sync.Mutex
	objects []*unstructured.Unstructured
}

// canned are the resources that a Canned serves; all can be read and written as far as discovery tells.
var canned = []struct {
	gv             schema.GroupVersion
	resource, kind string
	namespaced     bool
}{
	{schema.GroupVersion{Version: "v1"}, "configmaps", "ConfigMap", true},
	{schema.GroupVersion{Version: "v1"}, "events", "Event", true},
	{schema.GroupVersion{Version: "v1"}, "namespaces", "Namespace", false},
	{schema.GroupVersion{Version: "v1"}, "nodes", "Node", false},
	{schema.GroupVersion{Version: "v1"}, "pods", "Pod", true},
	{schema.GroupVersion{Version: "v1"}, "services", "Service", true},
	{schema.GroupVersion{Group: "apps", Version: "v1"}, "daemonsets", "DaemonSet", true},
	{schema.GroupVersion{Group: "apps", Version: "v1"}, "deployments", "Deployment", true},
	{schema.GroupVersion{Group: "apps", Version: "v1"}, "replicasets", "ReplicaSet", true},
	{schema.GroupVersion{Group: "apps", Version: "v1"}, "statefulsets", "StatefulSet", true},
	{schema.GroupVersion{Group: "batch", Version: "v1"}, "jobs", "Job", true},
	{schema.GroupVersion{Group: "discovery.k8s.io", Version: "v1"}, "endpointslices", "EndpointSlice", true},
}

// Show starts a server that ends with the test and shows the objects in text (YAML documents).
func Show(t *testing.T, text string) *Canned {
	t.Helper()
	s := Answer(t, map[string]http.HandlerFunc{
		"/api":  func(w http.ResponseWriter, _ *http.Request) { reply(w, metav1.APIVersions{Versions: []string{"v1"}}) },
		"/apis": func(w http.ResponseWriter, _ *http.Request) { reply(w, groups()) },
	})
	s.Handle("/", s.serve)
	s.Set(t, text)
	return s
}

// Answer starts a server that ends with the test and answers nothing but requests of the patterns (http.ServeMux).
func Answer(t *testing.T, answers map[string]http.HandlerFunc) *Canned {
	t.Helper()
	s := &Canned{mux: http.NewServeMux()}
	for pattern, handler := range answers {
		s.Handle(pattern, handler)
	}
	server := httptest.NewServer(s.mux)
	t.Cleanup(server.Close)
	s.Access = cluster.Access{Kubeconfig: filepath.Join(t.TempDir(), "kubeconfig"), Context: "canned"}
	write(t, s.Access.Kubeconfig, fmt.Sprintf(cannedConfig, s.Access.Context, server.URL))
	return s
}

const cannedConfig = `apiVersion: v1
kind: Config
contexts: [{name: %[1]s, context: {cluster: %[1]s, user: %[1]s}}]
clusters: [{name: %[1]s, cluster: {server: "%[2]s"}}]
users: [{name: %[1]s, user: {}}]
`

// Connect returns a connection to the server.
func (s *Canned) Connect(t *testing.T) *kube.Cluster {
	t.Helper()
	c, err := kube.Connect(s.Access)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Set replaces the objects that are shown.
func (s *Canned) Set(t *testing.T, text string) {
	t.Helper()
	objects := Objects(t, text)
	s.lock.Lock()
	defer s.lock.Unlock()
	s.objects = objects
}

// Handle has requests of a pattern (http.ServeMux) answered by handler, instead of with objects.
func (s *Canned) Handle(pattern string, handler http.HandlerFunc) { s.mux.HandleFunc(pattern, handler) }

// Refuse has requests of a pattern answered with an error of the API.
func (s *Canned) Refuse(pattern string, err *apierrors.StatusError) {
	s.Handle(pattern, func(w http.ResponseWriter, _ *http.Request) { Refuse(w, err) })
}

// groups is the answer of /apis.
func groups() metav1.APIGroupList {
	var list metav1.APIGroupList
	seen := map[string]bool{"": true}
	for _, r := range canned {
		if seen[r.gv.Group] {
			continue
		}
		seen[r.gv.Group] = true
		version := metav1.GroupVersionForDiscovery{GroupVersion: r.gv.String(), Version: r.gv.Version}
		list.Groups = append(list.Groups, metav1.APIGroup{
			Name: r.gv.Group, Versions: []metav1.GroupVersionForDiscovery{version}, PreferredVersion: version,
		})
	}
	return list
}

// serve answers PREFIX, PREFIX/RESOURCE, PREFIX/namespaces/NAMESPACE/RESOURCE and each of the last two with /NAME after it.
func (s *Canned) serve(w http.ResponseWriter, r *http.Request) {
	gv, rest := parse(r.URL.Path)
	if len(rest) == 0 {
		reply(w, resources(gv))
		return
	}
	namespace := ""
	if rest[0] == "namespaces" && len(rest) > 2 {
		namespace, rest = rest[1], rest[2:]
	}
	kind := kindOf(gv.WithResource(rest[0]))
	if kind == "" || r.Method != http.MethodGet || len(rest) > 2 {
		Refuse(w, apierrors.NewGenericServerResponse(http.StatusNotFound, r.Method, gv.WithResource(rest[0]).GroupResource(), "", "", 0, true))
		return
	}
	found := s.find(gv.WithKind(kind), namespace, r)
	if len(rest) == 1 {
		reply(w, map[string]any{"apiVersion": gv.String(), "kind": kind + "List", "metadata": map[string]any{}, "items": found})
		return
	}
	for _, obj := range found {
		if obj["metadata"].(map[string]any)["name"] == rest[1] {
			reply(w, obj)
			return
		}
	}
	Refuse(w, apierrors.NewNotFound(gv.WithResource(rest[0]).GroupResource(), rest[1]))
}

// parse takes the group and version off a path.
func parse(path string) (schema.GroupVersion, []string) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if parts[0] == "apis" && len(parts) > 2 {
		return schema.GroupVersion{Group: parts[1], Version: parts[2]}, parts[3:]
	}
	return schema.GroupVersion{Version: parts[min(1, len(parts)-1)]}, parts[min(2, len(parts)):]
}

func resources(gv schema.GroupVersion) metav1.APIResourceList {
	list := metav1.APIResourceList{GroupVersion: gv.String(), APIResources: []metav1.APIResource{}}
	for _, r := range canned {
		if r.gv == gv {
			verbs := metav1.Verbs{"create", "delete", "get", "list", "patch"}
			list.APIResources = append(list.APIResources, metav1.APIResource{Name: r.resource, Kind: r.kind, Namespaced: r.namespaced, Verbs: verbs})
		}
	}
	return list
}

func kindOf(gvr schema.GroupVersionResource) string {
	for _, r := range canned {
		if r.gv.WithResource(r.resource) == gvr {
			return r.kind
		}
	}
	return ""
}

// find selects objects as the API server does, by the fields that this project asks for.
func (s *Canned) find(gvk schema.GroupVersionKind, namespace string, r *http.Request) []map[string]any {
	labelled, _ := labels.Parse(r.URL.Query().Get("labelSelector"))
	field, _ := fields.ParseSelector(r.URL.Query().Get("fieldSelector"))
	s.lock.Lock()
	defer s.lock.Unlock()
	found := []map[string]any{}
	for _, obj := range s.objects {
		kind, _, _ := unstructured.NestedString(obj.Object, "involvedObject", "kind")
		name, _, _ := unstructured.NestedString(obj.Object, "involvedObject", "name")
		set := fields.Set{"metadata.name": obj.GetName(), "involvedObject.kind": kind, "involvedObject.name": name}
		if obj.GroupVersionKind() == gvk && (namespace == "" || namespace == obj.GetNamespace()) &&
			labelled.Matches(labels.Set(obj.GetLabels())) && field.Matches(set) {
			found = append(found, obj.Object)
		}
	}
	return found
}

func reply(w http.ResponseWriter, answer any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // the client went away
}

// Refuse answers a request with an error of the API.
func Refuse(w http.ResponseWriter, err *apierrors.StatusError) {
	status := err.Status()
	status.APIVersion, status.Kind = "v1", "Status"
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(status.Code))
	_ = json.NewEncoder(w).Encode(status) // the client went away
}
