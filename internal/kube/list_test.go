package kube_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
)

// requests are what a list has asked for.
type requests struct {
	lock  sync.Mutex
	asked []string
}

func (r *requests) add(text string) (count int) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.asked = append(r.asked, text)
	return len(r.asked)
}

func (r *requests) all() []string {
	r.lock.Lock()
	defer r.lock.Unlock()
	return slices.Clone(r.asked)
}

// pages answers a list of ConfigMaps page by page, each object as large as its number says, and notes what was asked for.
func pages(asked *requests, sizes []int, refuse func(number int) *apierrors.StatusError) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		number := asked.add(query.Get("limit") + " from " + query.Get("continue"))
		if refuse != nil {
			if err := refuse(number); err != nil {
				kubetest.Refuse(w, err)
				return
			}
		}
		start, limit := 0, 0
		_, _ = fmt.Sscan(query.Get("continue"), &start)
		_, _ = fmt.Sscan(query.Get("limit"), &limit)
		end, next := start+limit, ""
		if end < len(sizes) {
			next = fmt.Sprint(end)
		}
		var items []string
		for i, size := range sizes[start:min(end, len(sizes))] {
			items = append(items, fmt.Sprintf(`{"metadata":{"name":"map-%d"},"data":{"a":%q}}`, start+i, strings.Repeat("x", size)))
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":%q},"items":[%s]}`, next, strings.Join(items, ","))
	}
}

func TestListPages(t *testing.T) {
	expired := func(number int) *apierrors.StatusError {
		if number != 2 {
			return nil
		}
		err := apierrors.NewResourceExpired("too old")
		err.ErrStatus.Continue = "150"
		return err
	}
	gone := func(int) *apierrors.StatusError {
		return apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "", nil)
	}
	tests := map[string]struct {
		reason  string
		sizes   []int
		refuse  func(int) *apierrors.StatusError
		asked   []string
		objects int
		code    fault.Code
	}{
		"none":    {"One request says so.", nil, nil, []string{"100 from "}, 0, ""},
		"small":   {"Memory does not grow with the cluster.", make([]int, 250), nil, []string{"100 from ", "100 from 100", "100 from 200"}, 250, ""},
		"large":   {"Nor with its objects, after the first page.", slices.Repeat([]int{100_000}, 120), nil, []string{"100 from ", "10 from 100", "10 from 110"}, 120, ""},
		"expired": {"The list goes on with what is there now.", make([]int, 200), expired, []string{"100 from ", "100 from 100", "100 from 150"}, 150, ""},
		"refused": {"", nil, gone, []string{"100 from "}, 0, fault.Failed},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var asked requests
			server := kubetest.Answer(t, map[string]http.HandlerFunc{"GET /api/v1/namespaces/shop/configmaps": pages(&asked, tc.sizes, tc.refuse)})
			began, objects := "", 0
			var failed error
			query := kube.Query{Namespace: "shop", Began: func(version string) { began += version }}
			for obj, err := range server.Connect(t).List(t.Context(), schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, query) {
				if failed = err; err != nil {
					break
				}
				if obj.GetKind() != "ConfigMap" || obj.GetAPIVersion() != "v1" {
					t.Fatalf("%s is a %s %s", obj.GetName(), obj.GetAPIVersion(), obj.GetKind())
				}
				objects++
			}
			if diff := cmp.Diff(tc.asked, asked.all()); diff != "" || objects != tc.objects || fault.CodeOf(failed) != tc.code || tc.code == "" && began != "7" {
				t.Errorf("%s %d objects, began at %q, %v; asked for (-want +got):\n%s", tc.reason, objects, began, failed, diff)
			}
		})
	}
}

// TestListIsLeft: who has seen enough leaves, and what was asked for ahead is given up.
func TestListIsLeft(t *testing.T) {
	var asked requests
	server := kubetest.Answer(t, map[string]http.HandlerFunc{"GET /api/v1/configmaps": pages(&asked, make([]int, 250), nil)})
	for range server.Connect(t).List(t.Context(), schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, kube.Query{}) {
		break
	}
	if got := asked.all(); len(got) > 2 {
		t.Errorf("asked for %v", got)
	}
}
