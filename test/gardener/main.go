// Command gardener is an operator for the tests of the whole: for every Garden it makes a ConfigMap that the Garden owns, and, as a
// webhook, it admits no Garden of more than a hundred beds. It runs in a pod, as one Deployment behind one Service. With the argument
// sleep it stands for a service that does nothing, with another for a job that has nothing to do.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	admission "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

var (
	gardens    = schema.GroupVersionResource{Group: "test.crossfade.dev", Version: "v1", Resource: "gardens"}
	configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
)

// mostBeds is how many beds a garden may have.
const mostBeds = 100

func main() {
	if len(os.Args) > 1 { // in place of a service
		if os.Args[1] == "sleep" {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
			defer stop()
			<-ctx.Done()
		}
		return
	}
	config, err := rest.InClusterConfig()
	if err != nil {
		log.Fatal(err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		http.HandleFunc("/admit", admit)
		log.Fatal(http.ListenAndServeTLS(":8443", "/tls/tls.crt", "/tls/tls.key", nil))
	}()
	for ctx := context.Background(); ; time.Sleep(time.Second) { // a resync, as operators have one
		if err := tend(ctx, client); err != nil {
			log.Print(err)
		}
	}
}

// tend makes what is missing.
func tend(ctx context.Context, client dynamic.Interface) error {
	all, err := client.Resource(gardens).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, garden := range all.Items {
		plans := client.Resource(configMaps).Namespace(garden.GetNamespace())
		if _, err := plans.Get(ctx, "plan-"+garden.GetName(), metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			continue
		}
		beds, _, _ := unstructured.NestedInt64(garden.Object, "spec", "beds")
		plan := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap",
			"data": map[string]any{"beds": fmt.Sprint(beds), "by": os.Getenv("HOSTNAME")},
		}}
		plan.SetName("plan-" + garden.GetName())
		plan.SetLabels(garden.GetLabels()) // as many operators do
		yes := true
		plan.SetOwnerReferences([]metav1.OwnerReference{{
			APIVersion: garden.GetAPIVersion(), Kind: garden.GetKind(), Name: garden.GetName(), UID: garden.GetUID(), Controller: &yes,
		}})
		if _, err := plans.Create(ctx, plan, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// admit answers an AdmissionReview about a Garden.
func admit(w http.ResponseWriter, r *http.Request) {
	var review admission.AdmissionReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil || review.Request == nil {
		http.Error(w, "not an AdmissionReview", http.StatusBadRequest)
		return
	}
	var garden unstructured.Unstructured
	if err := garden.UnmarshalJSON(review.Request.Object.Raw); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	beds, _, _ := unstructured.NestedInt64(garden.Object, "spec", "beds")
	answer := admission.AdmissionResponse{UID: review.Request.UID, Allowed: beds <= mostBeds}
	if !answer.Allowed {
		answer.Result = &metav1.Status{Message: fmt.Sprintf("%d beds are too many", beds)}
	}
	review.Request, review.Response = nil, &answer
	if err := json.NewEncoder(w).Encode(review); err != nil {
		log.Print(err)
	}
}
