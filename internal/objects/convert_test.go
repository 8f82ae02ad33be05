package objects_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
)

// tickets is a kind that is stored in one version and preferred in another, so that it cannot be read without its webhook.
const tickets = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: tickets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Ticket, plural: tickets}
  conversion: {strategy: Webhook, webhook: {conversionReviewVersions: [v1], clientConfig: {url: %q, caBundle: %s}}}
  versions:
    - {name: v2, served: true, storage: false, schema: {openAPIV3Schema: &any {type: object, x-kubernetes-preserve-unknown-fields: true}}}
    - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: *any}}
`

// converter defines tickets in a cluster, and returns a switch that takes their webhook down.
func converter(t *testing.T, s *kubetest.Server) *atomic.Bool {
	t.Helper()
	var down atomic.Bool
	hook := kubetest.Answering(t, func(request map[string]any) map[string]any {
		if down.Load() {
			panic(http.ErrAbortHandler) // the connection breaks
		}
		converted, _ := request["objects"].([]any)
		for _, obj := range converted {
			obj.(map[string]any)["apiVersion"] = request["desiredAPIVersion"]
		}
		return map[string]any{"result": map[string]any{"status": "Success"}, "convertedObjects": converted}
	})
	s.WriteAs(t, "kubectl-create", fmt.Sprintf(tickets, hook.URL, hook.CABundle))
	c := s.Connect(t)
	eventually(t, "tickets are served", func() bool {
		_, err := c.Namespaced(kubetest.Objects(t, ticket(0))[0].GroupVersionKind())
		return err == nil
	})
	return &down
}

func ticket(i int) string {
	return fmt.Sprintf("{apiVersion: example.com/v1, kind: Ticket, metadata: {name: t%d, namespace: shop}, spec: {seat: %d}}\n---\n", i, i)
}

// TestConversionDown takes the webhook down that converts the objects of a kind, in either cluster. The kind is reported, everything
// else is copied, nothing is deleted, and once the webhook is there again the same copy completes.
func TestConversionDown(t *testing.T) {
	p := startPair(t)
	first, other := converter(t, p.from), converter(t, p.to)
	fill(t, p.a, "shop", 12)
	all := decide.Rules{}
	const words, hint = "conversion webhook for example.com/v", "see whether what answers for it runs"

	first.Store(true)
	p.from.WriteAs(t, "kubectl-create", ticket(1)+ticket(2)) // as the version that is stored
	report := copyWith(t, p.a, p.b, all)
	wantFailures(t, report, []string{"tickets.example.com"}, hint, "cannot list tickets.example.com: ", words)
	if diff := cmp.Diff(map[string]int{"Ticket.example.com": 1}, report.FailedByKind); diff != "" || report.Created != 13 {
		t.Errorf("down in the first: %s; failed by kind (-want +got):\n%s", report.Summary(), diff)
	}
	first.Store(false)
	other.Store(true)
	report = copyWith(t, p.a, p.b, all)
	wantFailures(t, report, []string{"example.com/Ticket shop/t1", "example.com/Ticket shop/t2"}, hint, "cannot create example.com/Ticket shop/t", words)
	if report.Created != 0 {
		t.Errorf("down in the other: %s", report.Summary())
	}
	other.Store(false)
	if report = copyWith(t, p.a, p.b, all); report.Err() != nil || report.Created != 2 {
		t.Errorf("up again: %s, %v", report.Summary(), report.Err())
	}
	for name, side := range map[string]struct {
		server *kubetest.Server
		down   *atomic.Bool
	}{"first": {p.from, first}, "other": {p.to, other}} {
		side.down.Store(true)
		side.server.WriteAs(t, "kubectl-label", "{apiVersion: example.com/v1, kind: Ticket, metadata: {name: t1, namespace: shop, labels: {row: a}}}")
		report = copyWith(t, p.a, p.b, all)
		wantFailures(t, report, []string{"tickets.example.com"}, hint, "cannot list tickets.example.com: ", words)
		if report.Copied() != 0 || report.Deleted != 0 {
			t.Errorf("down in the %s when all is copied: %s", name, report.Summary())
		}
		side.down.Store(false)
	}
	if report = copyWith(t, p.a, p.b, all); report.Err() != nil || report.Created != 0 || report.Deleted != 0 || seats(t, p.b) != 2 {
		t.Errorf("in the end: %s, %v, %d tickets; want none created and two", report.Summary(), report.Err(), seats(t, p.b))
	}
	if report = copyWith(t, p.a, p.b, all); report.Err() != nil || report.Copied() != 0 {
		t.Errorf("once more: %s, %v", report.Summary(), report.Err())
	}
}

// seats counts tickets.
func seats(t *testing.T, c *kube.Cluster) (count int) {
	t.Helper()
	for _, err := range c.List(t.Context(), kubetest.Objects(t, ticket(0))[0].GroupVersionKind().GroupVersion().WithResource("tickets"), kube.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		count++
	}
	return count
}
