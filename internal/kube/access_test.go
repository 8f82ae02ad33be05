package kube_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
)

const settings = "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop, uid: '17'}}"

func TestList(t *testing.T) {
	const page = `{"apiVersion": "v1", "kind": "ConfigMapList", "metadata": {"continue": %q}, "items": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": %q}}]}`
	expired := apierrors.NewResourceExpired("too old")
	goesOn := apierrors.NewResourceExpired("too old")
	goesOn.ErrStatus.Continue = "now"
	tests := map[string]struct {
		reason  string
		answers map[string]http.HandlerFunc // by token
		want    []string
		code    fault.Code
	}{
		"pages": {
			reason:  "all of them, in order",
			answers: map[string]http.HandlerFunc{"": text(fmt.Sprintf(page, "next", "a")), "next": text(fmt.Sprintf(page, "", "b"))},
			want:    []string{"a", "b"},
		},
		"forgotten, with a way on": {
			reason:  "a long list goes on with what is there now",
			answers: map[string]http.HandlerFunc{"": text(fmt.Sprintf(page, "next", "a")), "next": refusal(goesOn), "now": text(fmt.Sprintf(page, "", "c"))},
			want:    []string{"a", "c"},
		},
		"forgotten": {
			reason:  "half a list must not be taken for the whole",
			answers: map[string]http.HandlerFunc{"": text(fmt.Sprintf(page, "next", "a")), "next": refusal(expired)},
			want:    []string{"a"}, code: fault.Failed,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			server := kubetest.Show(t, "")
			server.Handle("/api/v1/configmaps", func(w http.ResponseWriter, r *http.Request) { test.answers[r.URL.Query().Get("continue")](w, r) })
			var got []string
			var failure error
			for obj, err := range server.Connect(t).List(t.Context(), schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, kube.Query{}) {
				if failure = err; err == nil {
					got = append(got, obj.GetName())
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" || fault.CodeOf(failure) != test.code {
				t.Errorf("%s: %v (-want +got):\n%s", test.reason, failure, diff)
			}
		})
	}
}

func TestGet(t *testing.T) {
	const unknown = "{apiVersion: x.io/v1, kind: X, metadata: {name: a, namespace: shop}}"
	tests := map[string]struct {
		reason    string
		there     string
		ref       string
		found     bool
		code      fault.Code
		err, hint string
	}{
		"there":     {reason: "the object", there: settings, ref: settings, found: true},
		"not there": {reason: "no error: callers ask in order to know", ref: settings},
		"no kind": {
			reason: "not the same as not there", ref: unknown, code: fault.Failed,
			err:  `cannot read x.io/X shop/a: no matches for kind "X" in version "x.io/v1"`,
			hint: "the cluster does not serve this kind: its CustomResourceDefinition must be applied before",
		},
		"no namespace": {
			reason: "the API would answer for every namespace", ref: "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}}", code: fault.Invalid,
			err: "cannot find ConfigMap settings: it names no namespace", hint: "set metadata.namespace, or the namespace of the unit",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := kubetest.Show(t, test.there).Connect(t)
			found, err := c.Get(t.Context(), kubetest.Objects(t, test.ref)[0])
			if (found != nil) != test.found || fault.CodeOf(err) != test.code {
				t.Errorf("%s: %v, %v", test.reason, found, err)
			}
			if err == nil {
				return
			}
			if diff := cmp.Diff([]string{test.err, test.hint}, []string{err.Error(), fault.HintOf(err)}); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

func TestCreateAndDelete(t *testing.T) {
	configMaps := schema.GroupResource{Resource: "configmaps"}
	forbidden := apierrors.NewForbidden(configMaps, "settings", fmt.Errorf("no role"))
	tests := map[string]struct {
		reason          string
		answer          *apierrors.StatusError
		create, destroy fault.Code
	}{
		"there already": {reason: "not created, no error", answer: apierrors.NewAlreadyExists(configMaps, "settings"), destroy: fault.Failed},
		"not there":     {reason: "gone is what was wanted", answer: apierrors.NewNotFound(configMaps, "settings"), create: fault.Failed},
		"another of its name": {
			reason: "the uid says it is not the one that was to go; a 409 without a cause", create: fault.Unavailable,
			answer: apierrors.NewConflict(configMaps, "settings", fmt.Errorf("the UID in the precondition does not match")),
		},
		"not allowed": {reason: "an error for both", answer: forbidden, create: fault.Failed, destroy: fault.Failed},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			server := kubetest.Show(t, "")
			var body string
			server.Handle("POST /api/v1/namespaces/shop/configmaps", refusal(test.answer))
			server.Handle("DELETE /api/v1/namespaces/shop/configmaps/settings", func(w http.ResponseWriter, r *http.Request) {
				body = read(t, r)
				kubetest.Refuse(w, test.answer)
			})
			c, obj := server.Connect(t), kubetest.Objects(t, settings)[0]
			created, err := c.Create(t.Context(), obj)
			if created != nil || fault.CodeOf(err) != test.create {
				t.Errorf("%s: create: %v, %v", test.reason, created, err)
			}
			if err := c.Delete(t.Context(), obj); fault.CodeOf(err) != test.destroy {
				t.Errorf("%s: delete: %v", test.reason, err)
			}
			want := `{"kind":"DeleteOptions","apiVersion":"v1","preconditions":{"uid":"17"},"propagationPolicy":"Background"}` + "\n"
			if diff := cmp.Diff(want, body); diff != "" {
				t.Errorf("what is deleted is named by its uid (-want +got):\n%s", diff)
			}
		})
	}
}
