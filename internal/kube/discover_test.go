package kube_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
)

// text answers with JSON as it is written here.
func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprint(w, body)
	}
}

// describe writes resources the way the tables of the tests do: "apps/v1,v1beta1 deployments Deployment true".
func describe(resources []kube.Resource) []string {
	var lines []string
	for _, r := range resources {
		lines = append(lines, fmt.Sprintf("%s/%s %s %s %t", r.Group, strings.Join(r.Versions, ","), r.Resource, r.GroupKind().Kind, r.Namespaced))
	}
	return lines
}

// aggregated is discovery in one document (KEP-3352), as servers since 1.26 answer it: of one group there is only what was
// known of it before its server went away.
const aggregated = `{"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": [
	{"metadata": {"name": "apps"}, "versions": [{"version": "v1", "freshness": "Current", "resources": [
		{"resource": "deployments", "responseKind": {"group": "apps", "version": "v1", "kind": "Deployment"}, "scope": "Namespaced", "verbs": ["create", "list", "patch"]}]}]},
	{"metadata": {"name": "metrics.k8s.io"}, "versions": [{"version": "v1beta1", "freshness": "Stale", "resources": []}]}]}`

func TestResources(t *testing.T) {
	const list = `{"kind": "APIResourceList", "groupVersion": "%s", "resources": [%s]}`
	const group = `{"kind": "APIGroupList", "groups": [{"name": "%[1]s",
		"versions": [{"groupVersion": "%[1]s/v1beta1", "version": "v1beta1"}, {"groupVersion": "%[1]s/v1", "version": "v1"}],
		"preferredVersion": {"groupVersion": "%[1]s/v1", "version": "v1"}}]}`
	const coupons = `{"name": "coupons", "kind": "Coupon", "namespaced": true, "verbs": ["create", "delete", "get", "list", "patch"]}`
	none := text(`{"kind": "APIVersions", "versions": []}`)
	tests := map[string]struct {
		reason  string
		answers map[string]http.HandlerFunc
		want    []string
		missing []string
		err     string
		code    fault.Code
	}{
		"two versions": {
			reason: "a resource is named once, in the version the server prefers, and a subresource or a review is none",
			answers: map[string]http.HandlerFunc{
				"/api": none, "/apis": text(fmt.Sprintf(group, "shop.io")),
				"/apis/shop.io/v1beta1": text(fmt.Sprintf(list, "shop.io/v1beta1", coupons)),
				"/apis/shop.io/v1": text(fmt.Sprintf(list, "shop.io/v1", coupons+
					`, {"name": "coupons/status", "kind": "Coupon", "namespaced": true, "verbs": ["create", "list", "patch"]}`+
					`, {"name": "shops", "kind": "Shop", "namespaced": false, "verbs": ["create", "list", "patch"]}`+
					`, {"name": "couponreviews", "kind": "CouponReview", "namespaced": false, "verbs": ["create"]}`+
					`, {"name": "sales", "kind": "Sale", "namespaced": true, "verbs": ["list", "get"]}`)),
			},
			want: []string{"shop.io/v1,v1beta1 coupons Coupon true", "shop.io/v1 shops Shop false"},
		},
		"a version that does not answer": {
			reason: "its aggregated API server is down; what the others serve is known, and who is missing is told",
			answers: map[string]http.HandlerFunc{
				"/api": none, "/apis": text(fmt.Sprintf(group, "shop.io")),
				"/apis/shop.io/v1": text(fmt.Sprintf(list, "shop.io/v1", coupons)),
				"/apis/shop.io/v1beta1": func(w http.ResponseWriter, _ *http.Request) {
					http.Error(w, "error trying to reach service: dial tcp 10.96.0.9:443: connect: connection refused", http.StatusServiceUnavailable)
				},
			},
			want: []string{"shop.io/v1 coupons Coupon true"}, missing: []string{"shop.io/v1beta1"},
		},
		"a stale group": {
			reason:  "servers since 1.26 mark what they could not ask",
			answers: map[string]http.HandlerFunc{"/api": inOne(`{"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": []}`), "/apis": inOne(aggregated)},
			want:    []string{"apps/v1 deployments Deployment true"}, missing: []string{"metrics.k8s.io/v1beta1"},
		},
		"the server goes away": {
			reason: "taking every group for missing would have nothing copied",
			answers: map[string]http.HandlerFunc{
				"/api": none, "/apis": text(fmt.Sprintf(group, "shop.io")),
				"/apis/shop.io/v1":      text(fmt.Sprintf(list, "shop.io/v1", coupons)),
				"/apis/shop.io/v1beta1": cut,
			},
			err: "cannot ask the cluster canned what it serves: ", code: fault.Unavailable,
		},
		"not allowed": {
			reason:  "nothing is known then",
			answers: map[string]http.HandlerFunc{"/api": refusal(apierrors.NewUnauthorized("no")), "/apis": refusal(apierrors.NewUnauthorized("no"))},
			err:     "cannot ask the cluster canned what it serves: ", code: fault.Failed,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := kubetest.Answer(t, test.answers).Connect(t)
			served, missing, err := c.Resources(t.Context())
			if diff := cmp.Diff(test.want, describe(served)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
			if diff := cmp.Diff(test.missing, missing); diff != "" {
				t.Errorf("%s: missing (-want +got):\n%s", test.reason, diff)
			}
			if fault.CodeOf(err) != test.code || err != nil && !strings.HasPrefix(err.Error(), test.err) {
				t.Errorf("%s: want %s %q, got %s %v", test.reason, test.code, test.err, fault.CodeOf(err), err)
			}
		})
	}
}

// inOne answers as servers do that can tell everything at once.
func inOne(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
		_, _ = fmt.Fprint(w, body)
	}
}

// cut begins an answer and ends the connection.
func cut(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = fmt.Fprint(w, "{")
}

func refusal(err *apierrors.StatusError) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { kubetest.Refuse(w, err) }
}

func TestNamed(t *testing.T) {
	const list = `{"kind": "APIResourceList", "groupVersion": "apps/v1", "resources": [
		{"name": "deployments", "singularName": "deployment", "shortNames": ["deploy"], "kind": "Deployment", "namespaced": true, "verbs": ["create", "list", "patch"]}]}`
	const group = `{"kind": "APIGroupList", "groups": [{"name": "apps", "versions": [{"groupVersion": "apps/v1", "version": "v1"}],
		"preferredVersion": {"groupVersion": "apps/v1", "version": "v1"}}]}`
	c := kubetest.Answer(t, map[string]http.HandlerFunc{
		"/api": text(`{"kind": "APIVersions", "versions": []}`), "/apis": text(group), "/apis/apps/v1": text(list),
	}).Connect(t)
	served, _, err := c.Resources(t.Context())
	if err != nil || len(served) != 1 {
		t.Fatal(served, err)
	}
	for name, want := range map[string]bool{
		"Deployment": true, "deployments": true, "DEPLOY": true, "deployment.apps": true, "deploy.Apps": true,
		"deployment.extensions": false, "deployment.": false, "deploys": false,
	} {
		if served[0].Named(name) != want {
			t.Errorf("%q: want %t", name, want)
		}
	}
}
