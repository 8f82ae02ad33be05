package refer

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
)

const podSpec = `{serviceAccountName: robot, priorityClassName: gold, runtimeClassName: gvisor, imagePullSecrets: [{name: pull}],
  containers: [{name: a, env: [{name: A, value: b}, {name: B, valueFrom: {secretKeyRef: {name: env-secret, key: k}}}, {name: C, valueFrom: {fieldRef: {fieldPath: x}}}], envFrom: [{configMapRef: {name: from-map}}]}],
  initContainers: [{name: i, env: [{name: A, valueFrom: {configMapKeyRef: {name: init-map, key: k}}}], envFrom: [{secretRef: {name: from-secret}}]}],
  volumes: [{name: a, configMap: {name: map}}, {name: b, secret: {secretName: secret}}, {name: c, persistentVolumeClaim: {claimName: claim}}, {name: d, emptyDir: {}},
    {name: e, projected: {sources: [{configMap: {name: projected-map}}, {secret: {name: projected-secret}}, {serviceAccountToken: {path: token}}]}},
    {name: f, csi: {driver: d, nodePublishSecretRef: {name: csi-key}}}, {name: g, cephfs: {secretRef: {name: ceph-key}}}, {name: h, azureFile: {secretName: azure-key}},
    {name: i, ephemeral: {volumeClaimTemplate: {spec: {storageClassName: scratch}}}}]}`

// podRefs is what podSpec refers to, in namespace shop.
var podRefs = []string{
	"ServiceAccount shop/robot", "Secret shop/pull", "scheduling.k8s.io/PriorityClass gold", "node.k8s.io/RuntimeClass gvisor", "ConfigMap shop/map",
	"Secret shop/secret", "PersistentVolumeClaim shop/claim", "ConfigMap shop/projected-map", "Secret shop/projected-secret", "Secret shop/csi-key",
	"Secret shop/ceph-key", "Secret shop/azure-key", "storage.k8s.io/StorageClass scratch", "Secret shop/env-secret", "ConfigMap shop/from-map",
	"ConfigMap shop/init-map", "Secret shop/from-secret",
}

func TestOf(t *testing.T) {
	tests := map[string]struct {
		reason string
		obj    string
		want   []string // besides the namespace, and the definition of which Kubernetes has none
	}{
		"pod":         {"what it needs to start", "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: shop}, spec: " + podSpec + "}", podRefs},
		"deployment":  {"what its pods need", "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, namespace: shop}, spec: {template: {spec: " + podSpec + "}}}", podRefs},
		"job":         {"what its pods need", "{apiVersion: batch/v1, kind: Job, metadata: {name: a, namespace: shop}, spec: {template: {spec: " + podSpec + "}}}", podRefs},
		"cron job":    {"what the pods of its jobs need", "{apiVersion: batch/v1, kind: CronJob, metadata: {name: a, namespace: shop}, spec: {jobTemplate: {spec: {template: {spec: " + podSpec + "}}}}}", podRefs},
		"replication": {"what its pods need", "{apiVersion: v1, kind: ReplicationController, metadata: {name: a, namespace: shop}, spec: {template: {spec: {serviceAccountName: robot}}}}", []string{"ServiceAccount shop/robot"}},
		"stateful set": {
			"its Service and the classes of its claims", "{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: a, namespace: shop}, spec: {serviceName: db, volumeClaimTemplates: [{spec: {storageClassName: fast}}, {spec: {}}]}}",
			[]string{"Service shop/db", "storage.k8s.io/StorageClass fast"},
		},
		"plain pod":   {"nothing", "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: shop}, spec: {containers: [{name: a}]}}", nil},
		"broken":      {"what is no list or map refers to nothing", "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: shop}, spec: {containers: text, volumes: [text, [x]], imagePullSecrets: {a: b}, serviceAccountName: [a]}}", nil},
		"account":     {"with what it pulls images", "{apiVersion: v1, kind: ServiceAccount, metadata: {name: a, namespace: shop}, secrets: [{name: token}], imagePullSecrets: [{name: pull}]}", []string{"Secret shop/token", "Secret shop/pull"}},
		"claim":       {"how it is provisioned", "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: a, namespace: shop}, spec: {storageClassName: fast, volumeAttributesClassName: gold, volumeName: pvc-1}}", []string{"storage.k8s.io/StorageClass fast", "storage.k8s.io/VolumeAttributesClass gold"}},
		"bound claim": {"the volume that somebody named", "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: a, namespace: shop, managedFields: [{manager: kubectl, operation: Update, fieldsV1: {'f:spec': {'f:volumeName': {}}}}]}, spec: {volumeName: disk}}", []string{"PersistentVolume disk"}},
		"volume": {
			"with what it is mounted", "{apiVersion: v1, kind: PersistentVolume, metadata: {name: a}, spec: {storageClassName: fast, csi: {nodeStageSecretRef: {name: key, namespace: storage}}}}",
			[]string{"storage.k8s.io/StorageClass fast", "Secret storage/key"},
		},
		"binding": {
			"its role and accounts", "{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: a, namespace: shop}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}, subjects: [{kind: User, name: anna}, {kind: ServiceAccount, name: robot}, {kind: ServiceAccount, name: other, namespace: elsewhere}]}",
			[]string{"rbac.authorization.k8s.io/Role shop/reader", "ServiceAccount shop/robot", "ServiceAccount elsewhere/other"},
		},
		"binding of a cluster role": {
			"which is in no namespace", "{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: a, namespace: shop}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}}",
			[]string{"rbac.authorization.k8s.io/ClusterRole view"},
		},
		"cluster binding": {
			"its accounts say where they are", "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: a}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}, subjects: [{kind: ServiceAccount, name: robot, namespace: shop}]}",
			[]string{"rbac.authorization.k8s.io/ClusterRole view", "ServiceAccount shop/robot"},
		},
		"ingress": {
			"its class, its certificates and what it routes to", `{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: a, namespace: shop}, spec: {ingressClassName: nginx, tls: [{secretName: tls}, {hosts: [x]}], defaultBackend: {resource: {apiGroup: k8s.example.com, kind: Bucket, name: static}},
			  rules: [{host: x, http: {paths: [{path: /, backend: {service: {name: web}}}]}}, {host: y}]}}`,
			[]string{"networking.k8s.io/IngressClass nginx", "k8s.example.com/Bucket shop/static", "Secret shop/tls", "Service shop/web"},
		},
		"route": {
			"its gateways and what it routes to", "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: a, namespace: shop}, spec: {parentRefs: [{name: edge, namespace: infra}, {group: '', kind: Service, name: mesh}], rules: [{backendRefs: [{name: web}, {group: example.com, kind: Bucket, name: static}]}]}}",
			[]string{"gateway.networking.k8s.io/Gateway infra/edge", "Service shop/mesh", "Service shop/web", "example.com/Bucket shop/static"},
		},
		"gateway": {
			"its class and certificates", "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: a, namespace: infra}, spec: {gatewayClassName: envoy, listeners: [{tls: {certificateRefs: [{name: tls}]}}, {name: plain}]}}",
			[]string{"gateway.networking.k8s.io/GatewayClass envoy", "Secret infra/tls"},
		},
		"autoscaler": {
			"what it scales, of any kind", "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: a, namespace: shop}, spec: {scaleTargetRef: {apiVersion: argoproj.io/v1alpha1, kind: Rollout, name: web}}}",
			[]string{"argoproj.io/Rollout shop/web"},
		},
		"autoscaler of the core": {"of the core group", "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: a, namespace: shop}, spec: {scaleTargetRef: {apiVersion: v1, kind: ReplicationController, name: web}}}", []string{"ReplicationController shop/web"}},
		"webhooks": {
			"what answers for them", "{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration, metadata: {name: a}, webhooks: [{clientConfig: {service: {name: guard, namespace: infra}}}, {clientConfig: {url: 'https://x'}}]}",
			[]string{"Service infra/guard"},
		},
		"aggregated API": {"what answers for it", "{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: a}, spec: {service: {name: metrics, namespace: infra}}}", []string{"Service infra/metrics"}},
		"definition":     {"what converts its objects", "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: a}, spec: {conversion: {webhook: {clientConfig: {service: {name: convert, namespace: infra}}}}}}", []string{"Service infra/convert"}},
		"another's kind": {"of which nothing is known", "{apiVersion: example.com/v1, kind: Ingress, metadata: {name: a, namespace: shop}, spec: {ingressClassName: nginx}}", nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			obj := kubetest.Objects(t, test.obj)[0]
			gvk := obj.GroupVersionKind()
			r := kube.Resource{GroupVersionResource: schema.GroupVersionResource{Group: gvk.Group, Resource: strings.ToLower(gvk.Kind) + "s"}, Kind: gvk.Kind}
			var got []string
			for _, ref := range Of(r, obj) {
				if !ref.Needed() {
					got = append(got, ref.String())
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

// TestNeeded: an object needs its namespace, and its definition if it has one; a group of Kubernetes' own may be of definitions too.
func TestNeeded(t *testing.T) {
	tests := map[string]struct {
		group string
		want  []string
	}{
		"core":        {"", []string{"Namespace shop"}},
		"apps":        {"apps", []string{"Namespace shop"}},
		"custom":      {"example.com", []string{"Namespace shop", "apiextensions.k8s.io/CustomResourceDefinition things.example.com"}},
		"gateway API": {"gateway.networking.k8s.io", []string{"Namespace shop", "apiextensions.k8s.io/CustomResourceDefinition things.gateway.networking.k8s.io"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got []string
			r := kube.Resource{GroupVersionResource: schema.GroupVersionResource{Group: test.group, Resource: "things"}, Kind: "Thing"}
			for _, ref := range Of(r, kubetest.Objects(t, "{apiVersion: v1, kind: Thing, metadata: {name: a, namespace: shop}}")[0]) {
				if ref.Needed() {
					got = append(got, ref.String())
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
