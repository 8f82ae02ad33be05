package objects_test

import (
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/kube/apiserver"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/objects"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
)

// expiring counts the requests that a server answers with 410 Gone.
type expiring struct{ count atomic.Int32 }

func (e *expiring) before(pass http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { pass.ServeHTTP(&noting{w, e}, r) })
}

// noting notes the status of an answer.
type noting struct {
	http.ResponseWriter
	to *expiring
}

func (n *noting) WriteHeader(status int) {
	if status == http.StatusGone {
		n.to.count.Add(1)
	}
	n.ResponseWriter.WriteHeader(status)
}

func (n *noting) Unwrap() http.ResponseWriter { return n.ResponseWriter }

// startForgetful is startPair with servers that answer from etcd alone, so that what etcd has forgotten they have forgotten, too.
func startForgetful(t *testing.T) *clusters {
	t.Helper()
	p := startPair(t)
	p.from.Revive(t, apiserver.API, "--watch-cache=false")
	p.to.Revive(t, apiserver.API, "--watch-cache=false")
	return p
}

// TestExpiredList has both API servers forget, while they are listed page by page, where the lists began. What has changed meanwhile may be
// missed by the copy under way, but nothing else is, and nothing is taken for deleted; the next copy has it all.
func TestExpiredList(t *testing.T) {
	t.Parallel()
	p := startForgetful(t)
	count := fill(t, p.a, "long", 1200) // three pages of ConfigMaps
	var first, other expiring
	a, b := connect(t, p.from.Behind(t, first.before)), connect(t, p.to.Behind(t, other.before))

	change := func(round string) {
		p.from.WriteAs(t, "kubectl-create", "{apiVersion: v1, kind: ConfigMap, metadata: {name: early-"+round+", namespace: long}}\n---\n"+
			"{apiVersion: v1, kind: ConfigMap, metadata: {name: z-late-"+round+", namespace: long}}")
		for _, s := range []*kubetest.Server{p.from, p.to} {
			s.Compact(t)
		}
	}
	o := options(only("long"))
	o.Tell = once(func(d outcome.Decision) bool { return d.Object == "ConfigMap long/object-000" }, func() { change("1") })
	report, err := objects.Copy(t.Context(), a, b, o)
	if err != nil || report.Err() != nil || report.Created != count+1 || first.count.Load() == 0 {
		t.Errorf("%s (%v, %v) with %d lists cut off; want %d created and some", report.Summary(), err, report.Err(), first.count.Load(), count+1)
	}
	first.count.Store(0)
	if err := p.a.Delete(t.Context(), kubetest.Objects(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: object-1190, namespace: long}}")[0]); err != nil {
		t.Fatal(err)
	}
	o.Tell = once(func(d outcome.Decision) bool { return d.Object == "ConfigMap long/object-000" }, func() { change("2") })
	report, err = objects.Copy(t.Context(), a, b, o)
	if err != nil || report.Err() != nil || report.Created != 2 || report.Updated != 0 || report.Deleted != 1 || first.count.Load() == 0 || other.count.Load() == 0 {
		t.Errorf("again: %s (%v, %v) with %d and %d lists cut off", report.Summary(), err, report.Err(), first.count.Load(), other.count.Load())
	}
	if report := copyAll(t, a, b, only("long")); report.Created != 1 || report.Deleted != 0 {
		t.Errorf("in peace: %s; want the one that came too early", report.Summary())
	}
	checkCopied(t, p.a, p.b, "long")
}

// once is a Tell that calls a function at the first decision that is met.
func once(met func(outcome.Decision) bool, do func()) func(outcome.Decision) {
	done := false
	return func(d outcome.Decision) {
		if !done && met(d) {
			done = true
			do()
		}
	}
}

// TestExpiredWatch has the first API server forget what has changed while the line to it is down: the following lists anew, and writes
// nothing but the differences.
func TestExpiredWatch(t *testing.T) {
	t.Parallel()
	p := startForgetful(t)
	fill(t, p.a, "shop", 40)
	line := p.from.Line(t)
	said, decided := &talk{}, &tellings{done: map[outcome.Action]int{}}
	o := options(only("shop"))
	o.Progress, o.Tell = said.progress, decided.tell
	followWith(t, connect(t, line.Access), p.b, objects.Following{Options: o})

	line.Down()
	p.from.WriteAs(t, "kubectl-edit", "{apiVersion: v1, kind: ConfigMap, metadata: {name: new, namespace: shop}}\n---\n"+
		"{apiVersion: v1, kind: ConfigMap, metadata: {name: object-002, namespace: shop}, data: {c: changed}}")
	if err := p.a.Delete(t.Context(), kubetest.Objects(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: object-004, namespace: shop}}")[0]); err != nil {
		t.Fatal(err)
	}
	p.from.Compact(t)
	decided.forget()
	line.Cut()
	eventually(t, "both have the same", func() bool {
		return cmp.Equal(settings(t, p.a, "shop"), settings(t, p.b, "shop"))
	})
	if !said.has("listing configmaps again", "no longer knows what has changed") {
		t.Errorf("people were told %q", said.said)
	}
	want := map[outcome.Action]int{outcome.Create: 1, outcome.Update: 1, outcome.Delete: 1}
	if diff := cmp.Diff(want, decided.count()); diff != "" {
		t.Errorf("what was done (-want +got):\n%s", diff)
	}
}
