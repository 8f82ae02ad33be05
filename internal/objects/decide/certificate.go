package decide

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// nextKey is the label of the Secret with the key of a certificate that cert-manager is just requesting; there will be another one.
const nextKey = "cert-manager.io/next-private-key"

// KeepsCertificate reports whether an object is a Secret that cert-manager keeps a certificate in, and that it has tied to its Certificate
// (--enable-certificate-owner-ref). It is made by a controller, and is copied all the same, before the Certificate and without the tie:
// where a Certificate comes first, another one is requested of the CA (https://cert-manager.io/docs/devops-tips/backup/). cert-manager
// ties the Secret again by itself.
func KeepsCertificate(obj *unstructured.Unstructured) bool {
	owner := metav1.GetControllerOf(obj)
	if owner == nil || obj.GroupVersionKind().GroupKind().String() != "Secret" {
		return false
	}
	group, err := schema.ParseGroupVersion(owner.APIVersion)
	return err == nil && group.Group == "cert-manager.io" && owner.Kind == "Certificate" && obj.GetLabels()[nextKey] != "true"
}

// isWebhookAuthority reports whether an object is the Secret with the CA that cert-manager's webhook makes for itself in every cluster
// (pkg/server/tls/authority of cert-manager). Secrets of people from which a CA is injected have the annotation alone.
func isWebhookAuthority(obj *unstructured.Unstructured) bool {
	return obj.GetAnnotations()["cert-manager.io/allow-direct-injection"] == "true" && obj.GetAnnotations()["cert-manager.io/certificate-name"] == "" &&
		(obj.GetLabels()["app.kubernetes.io/managed-by"] == "cert-manager" || obj.GetName() == "cert-manager-webhook-ca")
}
