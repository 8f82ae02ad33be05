package decide

import (
	"context"
	"errors"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// child is an object that a controller reference says who made, with the field managers given.
func child(kind, owner, managers string) string {
	return "{" + kind + ", metadata: {name: a, namespace: shop, ownerReferences: [{" + owner + ", name: owner, uid: u-owner, controller: true}], managedFields: [" + managers + "]}}"
}

const (
	shop       = "apiVersion: example.com/v1, kind: Shop"
	tlsSecret  = "apiVersion: v1, kind: Secret, type: kubernetes.io/tls"
	issued     = "apiVersion: cert-manager.io/v1, kind: Certificate"
	configMap  = "apiVersion: v1, kind: ConfigMap"
	deployment = "apiVersion: apps/v1, kind: Deployment"
)

// TestControllerMade says which objects with a controller are made by it again in another cluster, and which somebody has to copy.
func TestControllerMade(t *testing.T) {
	tests := map[string]struct {
		reason string
		obj    string
		owner  string // as it is found; "" for none
		want   Reason
	}{
		"replica set":   {"of a Deployment", child("apiVersion: apps/v1, kind: ReplicaSet", deployment, by("kube-controller-manager")), "", Owned},
		"labelled pod":  {"of a ReplicaSet, though somebody has labelled it", child("apiVersion: v1, kind: Pod", "apiVersion: apps/v1, kind: ReplicaSet", byField("kubectl-label", "f:metadata")), "", Owned},
		"edited pod":    {"is made again, without the change", child("apiVersion: v1, kind: Pod", "apiVersion: apps/v1, kind: StatefulSet", by("kubectl-edit")), "", Owned},
		"job":           {"of a CronJob", child("apiVersion: batch/v1, kind: Job", "apiVersion: batch/v1, kind: CronJob", by("kubectl-create")), "", Owned},
		"slice":         {"of a Service", child("apiVersion: discovery.k8s.io/v1, kind: EndpointSlice", "apiVersion: v1, kind: Service", ""), "", Owned},
		"tied by hand":  {"no controller makes configuration for a Deployment: a person has tied the two", child(configMap, deployment, byField("kubectl-create", "f:data")), object0(deployment, by("kubectl-create")), None},
		"tied by tool":  {"nor does a pipeline's", child(configMap, deployment, byField("helm", "f:data")), object0(deployment, by("helm")), None},
		"by an add-on":  {"an add-on makes it for every Deployment that it sees", child(configMap, deployment, byField("reloader", "f:data")), object0(deployment, by("kubectl-create")), Owned},
		"operator":      {"makes it for what people wrote", child(configMap, shop, byField("shop-operator", "f:data")), object0(shop, by("kubectl")), Owned},
		"same writer":   {"a pipeline writes an owner and what it owns", child(configMap, shop, byField("deployer", "f:data")), object0(shop, by("deployer")), None},
		"edited":        {"people have put something into it that no operator makes again", child(configMap, shop, byField("shop-operator", "f:data")+", "+byField("kubectl-edit", "f:data")), object0(shop, by("kubectl")), None},
		"annotated":     {"an annotation alone is not enough", child(configMap, shop, byField("shop-operator", "f:data")+", "+byField("kubectl-annotate", "f:metadata")), object0(shop, by("kubectl")), Owned},
		"finalizer":     {"an operator that marks its owner has not written it", child(configMap, shop, byField("shop-operator", "f:data")), object0(shop, by("kubectl")+", "+byField("shop-operator", "f:metadata")), Owned},
		"status":        {"nor has one that writes its status", child(configMap, shop, byField("shop-operator", "f:data")), object0(shop, by("kubectl")+", "+byField("shop-operator", "f:status")), Owned},
		"gone":          {"without its owner nobody makes it again", child(configMap, shop, byField("shop-operator", "f:data")), "", None},
		"another":       {"one of the name that came later is not its owner", child(configMap, shop, byField("shop-operator", "f:data")), "{" + shop + ", metadata: {name: owner, uid: another}}", None},
		"nobody tells":  {"without field managers an owner of a controller is believed", child(configMap, shop, ""), object0(shop, ""), Owned},
		"of made":       {"what hangs on what is made anew is not to be had in another cluster, whoever wrote it", child(configMap, "apiVersion: batch/v1, kind: Job", byField("kubectl", "f:data")), "{apiVersion: batch/v1, kind: Job, metadata: {name: owner, namespace: shop, uid: u-owner, ownerReferences: [{apiVersion: batch/v1, kind: CronJob, name: nightly, uid: u-2, controller: true}]}}", Owned},
		"broken":        {"an owner that cannot exist makes nothing", child(configMap, "apiVersion: a/b/c, kind: Shop", byField("shop-operator", "f:data")), "", None},
		"certificate":   {"of cert-manager, tied to its Certificate: made again, it would be another one of the CA", child(tlsSecret, issued, byField("cert-manager-certificates-issuing", "f:data")), object0(issued, by("kubectl")), None},
		"of an ingress": {"whoever made the Certificate", child(tlsSecret, issued, byField("cert-manager-certificates-issuing", "f:data")), "{" + issued + ", metadata: {name: owner, namespace: shop, uid: u-owner, ownerReferences: [{apiVersion: networking.k8s.io/v1, kind: Ingress, name: web, uid: u-2, controller: true}]}}", None},
		"of ingress":    {"a Certificate that cert-manager makes for an Ingress; it finds the Secret", child(issued, "apiVersion: networking.k8s.io/v1, kind: Ingress", byField("cert-manager-ingress-shim", "f:spec")), object0("apiVersion: networking.k8s.io/v1, kind: Ingress", by("kubectl")), Owned},
		"next key":      {"of a request under way", "{" + tlsSecret + ", metadata: {name: a, namespace: shop, labels: {cert-manager.io/next-private-key: 'true'}, ownerReferences: [{" + issued + ", name: owner, uid: u-owner, controller: true}], managedFields: [" + byField("cert-manager-certificates-key-manager", "f:data") + "]}}", object0(issued, by("kubectl")), Owned},
		"request":       {"of a Certificate", child("apiVersion: cert-manager.io/v1, kind: CertificateRequest", issued, byField("cert-manager-certificates-request-manager", "f:spec")), object0(issued, by("kubectl")), Cluster},
		"not a control": {"an owner that is no controller makes nothing", "{" + configMap + ", metadata: {name: a, namespace: shop, managedFields: [" + byField("shop-operator", "f:data") + "], ownerReferences: [{" + shop + ", name: owner, uid: u-owner}]}}", object0(shop, by("kubectl")), None},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			obj := object(t, test.obj)
			d := New(Rules{}, func(_ context.Context, ref metav1.OwnerReference, namespace string) (*unstructured.Unstructured, error) {
				if test.owner == "" || ref.UID != "u-owner" {
					return nobody(t.Context(), ref, namespace)
				}
				return object(t, test.owner), nil
			})
			for range 2 { // the second answer is remembered
				got, err := d.Object(t.Context(), resourceOf(obj), obj)
				if err != nil || got != test.want {
					t.Errorf("%s: got %q (%v), want %q", test.reason, got, err, test.want)
				}
			}
		})
	}
}

// object0 is the owner of child.
func object0(kind, managers string) string {
	return "{" + kind + ", metadata: {name: owner, namespace: shop, uid: u-owner, managedFields: [" + managers + "]}}"
}

// TestOwnersAreRemembered: an owner of many is read once; one that cannot be read is an error, and asked for again.
func TestOwnersAreRemembered(t *testing.T) {
	asked, broken := 0, errors.New("cannot read it")
	fails := true
	d := New(Rules{}, func(context.Context, metav1.OwnerReference, string) (*unstructured.Unstructured, error) {
		if asked++; fails {
			return nil, broken
		}
		return object(t, object0(shop, by("kubectl"))), nil
	})
	obj := object(t, child(configMap, shop, byField("shop-operator", "f:data")))
	if _, err := d.Object(t.Context(), resourceOf(obj), obj); !errors.Is(err, broken) {
		t.Errorf("want the error of the lookup, got %v", err)
	}
	fails = false
	for range 3 {
		if got, err := d.Object(t.Context(), resourceOf(obj), obj); err != nil || got != Owned {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if asked != 2 {
		t.Errorf("the owner was asked for %d times, want 2", asked)
	}
}

// TestOwnersInACycle: objects that own each other do not keep a decision from coming.
func TestOwnersInACycle(t *testing.T) {
	d := New(Rules{}, func(_ context.Context, ref metav1.OwnerReference, _ string) (*unstructured.Unstructured, error) {
		var n int
		_, err := fmt.Sscanf(string(ref.UID), "u-%d", &n)
		return object(t, fmt.Sprintf("{%s, metadata: {name: a, namespace: shop, uid: u-%d, managedFields: [%s], ownerReferences: [{%s, name: a, uid: u-%d, controller: true}]}}",
			shop, n, by("kubectl"), shop, (n+1)%3)), err
	})
	obj := object(t, fmt.Sprintf("{%s, metadata: {name: a, namespace: shop, uid: u-2, managedFields: [%s], ownerReferences: [{%s, name: a, uid: u-0, controller: true}]}}", shop, by("kubectl"), shop))
	if got, err := d.Object(t.Context(), resourceOf(obj), obj); err != nil || got != None {
		t.Errorf("got %q, %v", got, err)
	}
}
