package objects_test

import (
	"context"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/objects"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
)

// testFollowed: what happens in the first cluster happens in the other, and nothing else does: what people made or changed there stays
// and is reported, what controllers make there is theirs.
func testFollowed(t *testing.T, p *clusters) {
	config := func(name, rest string) string {
		return "{apiVersion: v1, kind: ConfigMap, metadata: {name: " + name + ", namespace: followed}" + rest + "}"
	}
	p.from.WriteAs(t, "kubectl-create", "{apiVersion: v1, kind: Namespace, metadata: {name: followed}}\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: unfollowed}}\n---\n"+
		config("fixed", ", immutable: true, data: {a: first}")+"\n---\n"+config("mine", ", data: {a: first}")+"\n---\n"+
		"{apiVersion: v1, kind: ConfigMap, metadata: {name: held, namespace: followed, finalizers: [example.com/held]}}\n---\n"+
		"{apiVersion: v1, kind: Service, metadata: {name: web, namespace: followed}, spec: {selector: {app: web}, ports: [{port: 80}]}}")
	seen := &decisions{of: map[string]string{}}
	ctx, cancel := context.WithCancel(t.Context())
	synced, done := make(chan struct{}), make(chan error, 1)
	o := options(within("followed"))
	o.Tell = seen.add
	go func() {
		done <- objects.Follow(ctx, p.a, p.b, objects.Following{Options: o, Synced: func(outcome.Report) { close(synced) }, Every: time.Second})
	}()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	select {
	case <-synced:
	case <-time.After(time.Minute):
		t.Fatal("nothing was copied within a minute")
	}
	eventually(t, "the Service has endpoints", func() bool { return len(p.uids(t, kindsOf[3], "followed")) == 1 })
	endpoints := p.uids(t, kindsOf[3], "followed")
	value := func(name string) string { return settings(t, p.b, "followed")[name] }

	p.to.WriteAs(t, "kubectl-edit", config("mine", ", data: {a: edited}"))
	p.to.WriteAs(t, "kubectl-create", config("met", ", data: {a: both}"))
	p.from.WriteAs(t, "kubectl-create", config("met", ", data: {a: both}")+"\n---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: other, namespace: unfollowed}}\n---\n"+config("new", ", data: {a: new}"))
	p.from.WriteAs(t, "kubectl-edit", config("mine", ", data: {a: second}"))
	p.replace(t, config("fixed", ", immutable: true, data: {a: second}"))
	p.remove(t, p.a, config("held", ""))
	eventually(t, "changes are carried over", func() bool { return value("fixed") == "map[a:second]" && value("new") == "map[a:new]" })
	eventually(t, "what was changed there is reported", func() bool {
		return seen.get("ConfigMap followed/mine") == "conflict field .data.a, set by kubectl-edit" && seen.get("ConfigMap followed/met") == "update "
	})
	if value("mine") != "map[a:edited]" || value("held") == "" {
		t.Errorf("there: %v", settings(t, p.b, "followed"))
	}
	if _, err := p.a.Patch(t.Context(), object(t, config("held", "")), []byte(`{"metadata":{"finalizers":null}}`)); err != nil {
		t.Fatal(err)
	}
	p.remove(t, p.a, config("mine", ""), config("met", ""), config("new", ""))
	eventually(t, "what is gone goes, if it is a copy", func() bool {
		found := settings(t, p.b, "followed")
		delete(found, "kube-root-ca.crt")
		return maps.Equal(found, map[string]string{"fixed": "map[a:second]", "mine": "map[a:edited]", "met": "map[a:both]"}) &&
			seen.get("ConfigMap followed/mine") == "conflict its original is gone, and it was changed here since it was copied"
	})
	if get(t, p.b, "{apiVersion: v1, kind: Namespace, metadata: {name: unfollowed}}") != nil {
		t.Error("what was not selected was copied")
	}
	if diff := cmp.Diff(endpoints, p.uids(t, kindsOf[3], "followed")); diff != "" {
		t.Errorf("what controllers have made there (-before +after):\n%s", diff)
	}
}

// remove deletes objects of a cluster.
func (p *clusters) remove(t *testing.T, from *kube.Cluster, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err := from.Delete(t.Context(), kubetest.Objects(t, text)[0]); err != nil {
			t.Fatal(err)
		}
	}
}

// decisions are the latest about each object.
type decisions struct {
	lock sync.Mutex
	of   map[string]string
}

func (d *decisions) add(decision outcome.Decision) {
	d.lock.Lock()
	defer d.lock.Unlock()
	d.of[decision.Object] = string(decision.Action) + " " + decision.Reason
}

func (d *decisions) get(name string) string {
	d.lock.Lock()
	defer d.lock.Unlock()
	return d.of[name]
}
