package objects_test

import (
	"strconv"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
)

// certificateKinds are those of cert-manager that a certificate comes by.
const certificateKinds = `
{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: certificates.cert-manager.io}, spec: {group: cert-manager.io, scope: Namespaced,
  names: {kind: Certificate, plural: certificates}, versions: [{name: v1, served: true, storage: true, subresources: {status: {}}, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]}}
---
{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: certificaterequests.cert-manager.io}, spec: {group: cert-manager.io, scope: Namespaced,
  names: {kind: CertificateRequest, plural: certificaterequests}, versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]}}
`

const (
	issuedCertificate = "{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: shop, namespace: issued}, spec: {secretName: shop-tls, dnsNames: [shop.example.com], issuerRef: {name: acme}}}"
	issuedSecret      = "{apiVersion: v1, kind: Secret, metadata: {name: shop-tls, namespace: issued}}"
)

// testIssued: a certificate of cert-manager is carried over so that none is requested: its Secret with the same key, though a controller
// has made it, before the Certificate, and no request.
func testIssued(t *testing.T, p *clusters) {
	p.from.WriteAs(t, "kubectl-create", certificateKinds)
	eventually(t, "certificates are served", func() bool {
		served, _, err := p.a.Resources(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, r := range served {
			if r.Group == "cert-manager.io" {
				found++
			}
		}
		return found == 2
	})
	p.from.WriteAs(t, "kubectl-create", "{apiVersion: v1, kind: Namespace, metadata: {name: issued}}\n---\n"+issuedCertificate)
	owned := "ownerReferences: [{apiVersion: cert-manager.io/v1, kind: Certificate, name: shop, controller: true, blockOwnerDeletion: true, uid: " + uidOf(t, p.a, issuedCertificate) + "}]"
	p.from.WriteAs(t, "cert-manager-certificates-issuing", strings.Join([]string{
		"{apiVersion: v1, kind: Secret, type: kubernetes.io/tls, metadata: {name: shop-tls, namespace: issued, annotations: {cert-manager.io/certificate-name: shop}, " + owned + "}, data: {tls.crt: Y2VydA==, tls.key: a2V5}}",
		"{apiVersion: v1, kind: Secret, metadata: {name: shop-next, namespace: issued, labels: {cert-manager.io/next-private-key: 'true'}, " + owned + "}, data: {tls.key: bmV4dA==}}",
		"{apiVersion: cert-manager.io/v1, kind: CertificateRequest, metadata: {name: shop-1, namespace: issued, " + owned + "}, spec: {request: Y3Ny}}",
	}, "\n---\n"))
	rules := within("issued", names("*.cert-manager.io"))
	report := copyAll(t, p.a, p.b, rules)
	if err := report.Err(); err != nil {
		t.Fatal(err)
	}
	secret, certificate := p.there(t, issuedSecret), p.there(t, issuedCertificate)
	if key, _, _ := unstructured.NestedString(secret.Object, "data", "tls.key"); key != "a2V5" || len(secret.GetOwnerReferences()) > 0 {
		t.Errorf("the Secret is %v", secret.Object)
	}
	if written(t, secret) >= written(t, certificate) {
		t.Error("the Certificate was there before its Secret: cert-manager requests another one")
	}
	for _, text := range []string{
		"{apiVersion: v1, kind: Secret, metadata: {name: shop-next, namespace: issued}}",
		"{apiVersion: cert-manager.io/v1, kind: CertificateRequest, metadata: {name: shop-1, namespace: issued}}",
	} {
		if found := get(t, p.b, text); found != nil {
			t.Errorf("%s was copied", kubetest.Objects(t, text)[0].GetName())
		}
	}
	p.settled(t, rules)
}

// written says when an object was written last, in the order of its cluster.
func written(t *testing.T, obj *unstructured.Unstructured) int {
	t.Helper()
	n, err := strconv.Atoi(obj.GetResourceVersion())
	if err != nil {
		t.Fatal(err)
	}
	return n
}
