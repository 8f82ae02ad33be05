package backing

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
)

func TestServices(t *testing.T) {
	hooks := kubetest.Objects(t, `{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration, metadata: {name: a}, webhooks: [
	  {clientConfig: {service: {namespace: n1, name: a}}}, {clientConfig: {service: {namespace: n1, name: a}}, failurePolicy: Fail},
	  {clientConfig: {service: {namespace: n1, name: b}}, failurePolicy: Ignore}, {clientConfig: {url: 'https://x'}}]}`)[0]
	api := kubetest.Objects(t, "{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: a}, spec: {service: {namespace: n1, name: c}}}")[0]
	local := kubetest.Objects(t, "{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: a}, spec: {group: apps}}")[0]
	config := kubetest.Objects(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop}}")[0]
	got := [][]service{services(hooks), services(api), services(local), services(config)}
	want := [][]service{{{"n1", "a", true}, {"n1", "b", false}}, {{"n1", "c", false}}, nil, nil}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(service{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
