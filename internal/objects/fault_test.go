package objects_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

var (
	secrets  = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	services = schema.GroupVersionResource{Version: "v1", Resource: "services"}
)

// only are rules that copy one namespace.
func only(namespace string) decide.Rules {
	return decide.Rules{Only: []spec.Selector{{Namespaces: []string{namespace}}}}
}

// fill makes a namespace with many objects: of every four two ConfigMaps, a Secret and a Service. It returns how many objects to copy
// that makes.
func fill(t *testing.T, c *kube.Cluster, namespace string, count int) int {
	t.Helper()
	texts := map[int]string{
		0: "{apiVersion: v1, kind: ConfigMap, metadata: {name: object-%03d, namespace: %s}, data: {a: b}}",
		1: "{apiVersion: v1, kind: Secret, metadata: {name: object-%03d, namespace: %s}, stringData: {a: hunter2}}",
		2: "{apiVersion: v1, kind: ConfigMap, metadata: {name: object-%03d, namespace: %s}, data: {c: d}}",
		3: "{apiVersion: v1, kind: Service, metadata: {name: object-%03d, namespace: %s}, spec: {selector: {app: web}, ports: [{port: 80}]}}",
	}
	create := func(text string) error {
		_, err := c.Create(t.Context(), kubetest.Objects(t, text)[0])
		return err
	}
	if err := create("{apiVersion: v1, kind: Namespace, metadata: {name: " + namespace + "}}"); err != nil {
		t.Fatal(err)
	}
	group := errgroup.Group{}
	group.SetLimit(16)
	for i := range count {
		group.Go(func() error { return create(fmt.Sprintf(texts[i%4], i, namespace)) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	return count + 1
}

// content is what a namespace has of the kinds that fill makes, by kind and name.
func content(t *testing.T, c *kube.Cluster, namespace string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, gvr := range []schema.GroupVersionResource{configMaps, secrets, services} {
		for obj, err := range c.List(t.Context(), gvr, kube.Query{Namespace: namespace}) {
			if err != nil {
				t.Fatal(err)
			}
			selector, _, _ := unstructured.NestedMap(obj.Object, "spec", "selector")
			found[obj.GetKind()+" "+obj.GetName()] = fmt.Sprint(obj.Object["data"], selector)
		}
	}
	return found
}

// checkCopied fails the test unless a namespace is the same in both clusters and a copy of it has nothing to do.
func checkCopied(t *testing.T, a, b *kube.Cluster, namespace string) {
	t.Helper()
	if diff := cmp.Diff(content(t, a, namespace), content(t, b, namespace)); diff != "" {
		t.Errorf("the namespace (-first +other):\n%s", diff)
	}
	report := copyAll(t, a, b, only(namespace))
	if err := report.Err(); err != nil || report.Copied() != 0 || report.Deleted != 0 {
		t.Errorf("a copy after that: %s (%v); want nothing written", report.Summary(), err)
	}
}

// upon is a Tell that calls a function when the given number of objects were created.
func upon(count int, do func()) func(outcome.Decision) {
	created := 0
	return func(d outcome.Decision) {
		if d.Action != outcome.Create {
			return
		}
		if created++; created == count {
			do()
		}
	}
}

// talk collects what people are told.
type talk struct {
	lock sync.Mutex
	said []string
}

func (s *talk) progress(format string, args ...any) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.said = append(s.said, fmt.Sprintf(format, args...))
}

// has reports whether something was said that contains all of the words.
func (s *talk) has(words ...string) bool {
	s.lock.Lock()
	defer s.lock.Unlock()
	return slices.ContainsFunc(s.said, func(line string) bool { return containsAll(line, words...) })
}

func containsAll(text string, words ...string) bool {
	return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) })
}

// tellings collects decisions, and what was done by them.
type tellings struct {
	lock sync.Mutex
	done map[outcome.Action]int
}

func (s *tellings) tell(d outcome.Decision) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if d.Action != outcome.Unchanged && d.Action != outcome.Skip {
		s.done[d.Action]++
	}
}

func (s *tellings) forget() {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.done = map[outcome.Action]int{}
}

// count is how often something was done since it was forgotten.
func (s *tellings) count() map[outcome.Action]int {
	s.lock.Lock()
	defer s.lock.Unlock()
	return maps.Clone(s.done)
}
