package kube

import (
	"fmt"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// State is what was seen of one object.
type State struct {
	Ready  bool
	Failed bool   // it will not become ready by itself
	Why    string // what it waits for, or why it failed
}

// StateOf judges one object as kstatus does, with three exceptions: a suspended Job waits for nobody, a claim may be
// waiting for its first pod (which is waited for itself), and a pod that cannot be scheduled now may be so when a node
// comes.
func StateOf(obj *unstructured.Unstructured) State {
	result, err := status.Compute(obj)
	if err != nil {
		return State{Why: oneLine(err)}
	}
	switch result.Status {
	case status.CurrentStatus:
		return State{Ready: true}
	case status.FailedStatus:
		return State{Failed: obj.GetKind() != "Pod", Why: result.Message}
	}
	switch obj.GroupVersionKind().GroupKind().String() {
	case "PersistentVolumeClaim":
		return State{Ready: nested(obj, "status", "phase") == "Pending", Why: result.Message}
	case "Job.batch":
		suspended, _, _ := unstructured.NestedBool(obj.Object, "spec", "suspend")
		return State{Ready: suspended, Why: result.Message}
	case "Deployment.apps", "StatefulSet.apps", "ReplicaSet.apps":
		return State{Why: podsReady(obj, wanted(obj), number(obj, "status", "readyReplicas"), result.Message)}
	case "DaemonSet.apps":
		return State{Why: podsReady(obj, number(obj, "status", "desiredNumberScheduled"), number(obj, "status", "numberReady"), result.Message)}
	}
	return State{Why: result.Message}
}

// podsReady says how many pods are ready, or what kstatus says when they all are and something else is missing.
func podsReady(obj *unstructured.Unstructured, want, ready int64, message string) string {
	if number(obj, "status", "observedGeneration") != obj.GetGeneration() {
		return "its controller has not seen it yet"
	}
	if ready < want {
		return fmt.Sprintf("%d of %d pods ready", ready, want)
	}
	return message
}

// wanted is how many pods a workload asks for; the API's default is one.
func wanted(obj *unstructured.Unstructured) int64 {
	if n, found, _ := unstructured.NestedInt64(obj.Object, "spec", "replicas"); found {
		return n
	}
	return 1
}

func number(obj *unstructured.Unstructured, fields ...string) int64 {
	n, _, _ := unstructured.NestedInt64(obj.Object, fields...)
	return n
}

func nested(obj *unstructured.Unstructured, fields ...string) string {
	text, _, _ := unstructured.NestedString(obj.Object, fields...)
	return text
}
