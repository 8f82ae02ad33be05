package clean

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
)

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	return kubetest.Objects(t, text)[0]
}

func TestClean(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"what the API server wrote": {
			in: `{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: n, uid: u, resourceVersion: "1", generation: 1, creationTimestamp: "2026-01-01T00:00:00Z", generateName: a-, selfLink: /a,
			  finalizers: [x/y], ownerReferences: [{apiVersion: v1, kind: Pod, name: p, uid: u}], managedFields: [{manager: m}],
			  labels: {keep: "1", argocd.argoproj.io/instance: x, crossfade.dev/origin: created}, annotations: {kubectl.kubernetes.io/last-applied-configuration: "{}"}}, data: {a: b}, status: {x: y}}`,
			want: `{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: n, labels: {keep: "1"}}, data: {a: b}}`,
		},
		"a namespace": {
			in:   `{apiVersion: v1, kind: Namespace, metadata: {name: a, labels: {pod-security.kubernetes.io/enforce: restricted}}, spec: {finalizers: [kubernetes]}}`,
			want: `{apiVersion: v1, kind: Namespace, metadata: {name: a, labels: {pod-security.kubernetes.io/enforce: restricted}}}`,
		},
		"a service with given addresses": {
			in:   `{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {type: LoadBalancer, clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1], ipFamilies: [IPv4], healthCheckNodePort: 31000, loadBalancerIP: 1.2.3.4, ports: [{port: 80, nodePort: 30001}]}}`,
			want: `{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {type: LoadBalancer, loadBalancerIP: 1.2.3.4, ports: [{port: 80}]}}`,
		},
		"a headless service": {
			in:   `{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {clusterIP: None, clusterIPs: [None], ports: [{port: 80}]}}`,
			want: `{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {clusterIP: None, clusterIPs: [None], ports: [{port: 80}]}}`,
		},
		"a port that somebody chose": {
			in: `{apiVersion: v1, kind: Service, metadata: {name: a, managedFields: [{manager: kubectl, operation: Update, fieldsV1: {"f:spec": {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {"f:nodePort": {}}}}}}]},
			  spec: {ports: [{port: 80, protocol: TCP, nodePort: 30001}, {port: 81, protocol: TCP, nodePort: 30002}]}}`,
			want: `{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 80, protocol: TCP, nodePort: 30001}, {port: 81, protocol: TCP}]}}`,
		},
		"a port that kubectl remembers": {
			in:   `{apiVersion: v1, kind: Service, metadata: {name: a, annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"spec":{"ports":[{"nodePort":30001}]}}'}}, spec: {ports: [{port: 80, nodePort: 30001}]}}`,
			want: `{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 80, nodePort: 30001}]}}`,
		},
		"a claim": {
			in:   `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: a, annotations: {pv.kubernetes.io/bind-completed: "yes", volume.kubernetes.io/selected-node: n}}, spec: {volumeName: pvc-1, storageClassName: fast, dataSource: {name: s}, dataSourceRef: {name: s}}}`,
			want: `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: a}, spec: {storageClassName: fast}}`,
		},
		"a volume": {
			in:   `{apiVersion: v1, kind: PersistentVolume, metadata: {name: a}, spec: {claimRef: {namespace: n, name: c, uid: u, resourceVersion: "1"}}}`,
			want: `{apiVersion: v1, kind: PersistentVolume, metadata: {name: a}, spec: {claimRef: {namespace: n, name: c}}}`,
		},
		"an account": {
			in:   `{apiVersion: v1, kind: ServiceAccount, metadata: {name: a}, secrets: [{name: a-token-x}, {name: mine}], imagePullSecrets: [{name: p}]}`,
			want: `{apiVersion: v1, kind: ServiceAccount, metadata: {name: a}, secrets: [{name: mine}], imagePullSecrets: [{name: p}]}`,
		},
		"a token": {
			in:   `{apiVersion: v1, kind: Secret, metadata: {name: a, annotations: {kubernetes.io/service-account.name: s, kubernetes.io/service-account.uid: u}}, type: kubernetes.io/service-account-token, data: {token: eA==, ca.crt: eA==, namespace: eA==}}`,
			want: `{apiVersion: v1, kind: Secret, metadata: {name: a, annotations: {kubernetes.io/service-account.name: s}}, type: kubernetes.io/service-account-token}`,
		},
		"an aggregated role": {
			in:   `{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: a}, aggregationRule: {x: y}, rules: [{verbs: [get]}]}`,
			want: `{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: a}, aggregationRule: {x: y}}`,
		},
		"a workload": {
			in:   `{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, annotations: {deployment.kubernetes.io/revision: "3"}}, spec: {replicas: 2, template: {metadata: {creationTimestamp: null, labels: {a: b}}}}}`,
			want: `{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {replicas: 2, template: {metadata: {labels: {a: b}}}}}`,
		},
		"a job": {
			in:   `{apiVersion: batch/v1, kind: Job, metadata: {name: a, labels: {controller-uid: u, job-name: a, mine: "1"}}, spec: {selector: {x: y}, template: {metadata: {labels: {batch.kubernetes.io/controller-uid: u, batch.kubernetes.io/job-name: a, mine: "1"}}}}}`,
			want: `{apiVersion: batch/v1, kind: Job, metadata: {name: a, labels: {mine: "1"}}, spec: {template: {metadata: {labels: {mine: "1"}}}}}`,
		},
		"a webhook with an injector": {
			in:   `{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: a, annotations: {cert-manager.io/inject-ca-from: n/c}}, webhooks: [{name: w, clientConfig: {caBundle: eA==, url: u}}]}`,
			want: `{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: a, annotations: {cert-manager.io/inject-ca-from: n/c}}, webhooks: [{name: w, clientConfig: {url: u}}]}`,
		},
		"a webhook of its own": {
			in:   `{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: a}, webhooks: [{name: w, clientConfig: {caBundle: eA==}}]}`,
			want: `{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: a}, webhooks: [{name: w, clientConfig: {caBundle: eA==}}]}`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			original := object(t, test.in)
			before := original.DeepCopy()
			cleaned := Object(original)
			if diff := cmp.Diff(object(t, test.want).Object, cleaned.Object); diff != "" {
				t.Errorf("clean (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before.Object, original.Object); diff != "" {
				t.Errorf("the original was changed:\n%s", diff)
			}
		})
	}
}
