// Package scale gives the workloads of a generation that is to get users as many pods as those have that serve these users now. Only
// what is not in git is carried over: replicas that an autoscaler has set, or a person by kubectl scale; and those of blue/green services, which each
// version takes over from the one before. An autoscaler of the new generation, which sees no load yet, is held at that number until the users are
// there. What is withheld, such as a singleton, is not scaled: it is to have no pods before it is handed over.
package scale

import (
	"cmp"
	"context"
	"encoding/json"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/withhold"
	"github.com/crossfade-dev/crossfade/internal/release"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
)

// Annotation keeps the minReplicas of an autoscaler that is held at more: a number, or nothing where it had none.
const Annotation = "crossfade.dev/min-replicas"

// defaultBound is how long the pods may take to become ready.
const defaultBound = 5 * time.Minute

var autoscalers = schema.GroupVersionResource{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"}

// Service is what is scaled as one.
type Service struct {
	Name      string
	Coloured  bool                         // its Deployment has another name in each colour
	Workloads []*unstructured.Unstructured // Deployments and StatefulSets; only who they are is used
}

// Services are those of two generations.
type Services struct {
	From, To *kube.Cluster // where the users are, and where they will be
	List     []Service
	Progress cluster.Progress
	Bound    time.Duration // on the wait for the pods; 5 minutes when zero
}

// wish is a workload that is to have so many pods, and its autoscaler, if it has one.
type wish struct {
	workload, scaler *unstructured.Unstructured
	replicas         int64
}

// asked reports whether the workload is to have that many pods already; they need not be there.
func (w wish) asked() bool { return number(w.workload, 1, "spec", "replicas") >= w.replicas }

// held reports whether its autoscaler, if it has one, keeps at least that many.
func (w wish) held() bool {
	return w.scaler == nil || number(w.scaler, 1, "spec", "minReplicas") >= w.replicas
}

// Up scales up what has too few pods, waits until all have theirs ready, and returns how many workloads it scaled. It may be called again at
// any time: what has enough is left alone, and waited for all the same. Pods that do not become ready in time are an error of code fault.Refused.
func (s *Services) Up(ctx context.Context) (int, error) {
	scalers, err := s.scalers(ctx)
	if err != nil {
		return 0, err
	}
	var waited []*unstructured.Unstructured
	scaled, replicas := 0, map[string]int64{}
	for _, service := range s.List {
		wishes, err := s.wishes(ctx, service, scalers)
		if err != nil {
			return 0, err
		}
		for _, w := range wishes {
			waited = append(waited, w.workload)
			replicas[ident.Of(w.workload)] = w.replicas
			if w.asked() && w.held() {
				continue
			}
			if err := s.grow(ctx, w); err != nil {
				return 0, err
			}
			scaled++
		}
	}
	return scaled, s.wait(ctx, waited, replicas)
}

// wishes are the workloads of a service that are to have as many pods as those where the users are.
func (s *Services) wishes(ctx context.Context, service Service, scalers map[string]*unstructured.Unstructured) ([]wish, error) {
	var all []wish
	for _, ref := range service.Workloads {
		from, err := largest(ctx, s.From, service, ref)
		if err != nil {
			return nil, err
		}
		to, err := largest(ctx, s.To, service, ref)
		if err != nil {
			return nil, err
		}
		if from == nil || to == nil || withhold.Held(to) || !service.Coloured && !byLoad(from) {
			continue
		}
		want := number(from, 1, "spec", "replicas")
		scaler := scalers[target(to)]
		if scaler != nil {
			want = min(want, number(scaler, want, "spec", "maxReplicas"))
		}
		all = append(all, wish{workload: to, scaler: scaler, replicas: want})
	}
	return all, nil
}

// largest is the workload in a cluster; of a service that has it in several colours, the one with most replicas. It is nil where there is none.
func largest(ctx context.Context, c *kube.Cluster, s Service, ref *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if !s.Coloured || ref.GetKind() != "Deployment" {
		return c.Get(ctx, ref)
	}
	var found *unstructured.Unstructured
	query := kube.Query{Namespace: ref.GetNamespace(), Labels: release.ServiceLabel + "=" + s.Name + "," + colour.Label}
	for d, err := range c.List(ctx, schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, query) {
		if err != nil {
			return nil, err
		}
		if found == nil || number(d, 1, "spec", "replicas") > number(found, 1, "spec", "replicas") {
			found = d
		}
	}
	return found, nil
}

// byLoad reports whether the replicas of a workload were set through its scale: by an autoscaler, or by a person with kubectl scale.
func byLoad(workload *unstructured.Unstructured) bool {
	for _, entry := range workload.GetManagedFields() {
		var fields struct {
			Spec map[string]any `json:"f:spec"`
		}
		if entry.Subresource != "scale" || entry.FieldsV1 == nil || json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields) != nil {
			continue
		}
		if _, set := fields.Spec["f:replicas"]; set {
			return true
		}
	}
	return false
}

// grow gives a workload its replicas, and holds its autoscaler there, if it has one.
func (s *Services) grow(ctx context.Context, w wish) error {
	s.Progress("scaling %s from %d to %d pods, as where the users are", ident.Of(w.workload), number(w.workload, 1, "spec", "replicas"), w.replicas)
	if !w.held() {
		if err := s.hold(ctx, w.scaler, w.replicas); err != nil {
			return err
		}
	}
	if w.asked() {
		return nil
	}
	return change(ctx, s.To, w.workload, map[string]any{"spec": map[string]any{"replicas": w.replicas}}, "scale")
}

// hold has an autoscaler keep so many pods at least. What it kept before stays in its annotation, also when it is held twice.
func (s *Services) hold(ctx context.Context, scaler *unstructured.Unstructured, replicas int64) error {
	patch := map[string]any{"spec": map[string]any{"minReplicas": replicas}}
	if _, held := scaler.GetAnnotations()[Annotation]; !held {
		before := ""
		if n, set, _ := unstructured.NestedInt64(scaler.Object, "spec", "minReplicas"); set {
			before = strconv.FormatInt(n, 10)
		}
		patch["metadata"] = map[string]any{"annotations": map[string]any{Annotation: before}}
	}
	return change(ctx, s.To, scaler, patch)
}

// wait returns when every workload has its pods ready.
func (s *Services) wait(ctx context.Context, workloads []*unstructured.Unstructured, replicas map[string]int64) error {
	bounded, cancel := context.WithTimeout(ctx, cmp.Or(s.Bound, defaultBound))
	defer cancel()
	err := s.To.Await(bounded, workloads, func(_ context.Context, found *unstructured.Unstructured) (kube.State, error) {
		ready, want := number(found, 0, "status", "readyReplicas"), replicas[ident.Of(found)]
		return kube.State{Ready: ready >= want, Why: strconv.FormatInt(ready, 10) + " of " + strconv.FormatInt(want, 10) + " pods are ready"}, nil
	}, s.Progress)
	if err != nil && ctx.Err() == nil && fault.CodeOf(err) == fault.Failed {
		return fault.New(fault.Refused, "cannot take the load of the live generation: %w", err).
			WithHint("see why its pods wait, such as for room on the nodes, and start the roll-over again")
	}
	return err
}

// Release lets the autoscalers in some namespaces of a cluster have the bounds again that they had before they were held.
func Release(ctx context.Context, c *kube.Cluster, namespaces []string) error {
	for _, namespace := range namespaces {
		for scaler, err := range c.List(ctx, autoscalers, kube.Query{Namespace: namespace}) {
			if err != nil {
				return err
			}
			before, held := scaler.GetAnnotations()[Annotation]
			if !held {
				continue
			}
			var least any // null removes it
			if n, err := strconv.ParseInt(before, 10, 64); err == nil {
				least = n
			}
			patch := map[string]any{
				"metadata": map[string]any{"annotations": map[string]any{Annotation: nil}}, "spec": map[string]any{"minReplicas": least},
			}
			if err := change(ctx, c, scaler, patch); err != nil {
				return err
			}
		}
	}
	return nil
}

// scalers are the autoscalers where the users will be, by what they scale.
func (s *Services) scalers(ctx context.Context) (map[string]*unstructured.Unstructured, error) {
	all, seen := map[string]*unstructured.Unstructured{}, map[string]bool{}
	for _, service := range s.List {
		for _, ref := range service.Workloads {
			if seen[ref.GetNamespace()] {
				continue
			}
			seen[ref.GetNamespace()] = true
			for scaler, err := range s.To.List(ctx, autoscalers, kube.Query{Namespace: ref.GetNamespace()}) {
				if err != nil {
					return nil, err
				}
				kind, _, _ := unstructured.NestedString(scaler.Object, "spec", "scaleTargetRef", "kind")
				name, _, _ := unstructured.NestedString(scaler.Object, "spec", "scaleTargetRef", "name")
				all[kind+" "+scaler.GetNamespace()+"/"+name] = scaler
			}
		}
	}
	return all, nil
}

// target is how scalers knows a workload.
func target(workload *unstructured.Unstructured) string {
	return workload.GetKind() + " " + workload.GetNamespace() + "/" + workload.GetName()
}

func change(ctx context.Context, c *kube.Cluster, obj *unstructured.Unstructured, patch map[string]any, subresource ...string) error {
	raw, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	_, err = c.Patch(ctx, obj, raw, subresource...)
	return err
}

// number is a field of an object; what is given where it is not there.
func number(obj *unstructured.Unstructured, otherwise int64, path ...string) int64 {
	if n, found, err := unstructured.NestedInt64(obj.Object, path...); found && err == nil {
		return n
	}
	return otherwise
}
