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
		"a namespace-less set of annotations": {
			in:   `{apiVersion: v1, kind: ConfigMap, metadata: {name: a, annotations: {kubectl.kubernetes.io/last-applied-configuration: "{}", pv.kubernetes.io/x: "1"}, labels: {crossfade.dev/copied: x}}}`,
			want: `{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}`,
		},
		"fields that nobody knows": {
			in:   `{apiVersion: example.com/v1, kind: Shop, metadata: {name: a}, spec: {deep: [{er: {none: null, uid: mine}}]}, extra: {a: [1, 2.5]}, status: {x: y}}`,
			want: `{apiVersion: example.com/v1, kind: Shop, metadata: {name: a}, spec: {deep: [{er: {none: null, uid: mine}}]}, extra: {a: [1, 2.5]}}`,
		},
		"a kind of the same name in another group": {
			in:   `{apiVersion: example.com/v1, kind: Service, metadata: {name: a}, spec: {clusterIP: mine, loadBalancerIP: mine, ports: [{nodePort: 1}]}}`,
			want: `{apiVersion: example.com/v1, kind: Service, metadata: {name: a}, spec: {clusterIP: mine, loadBalancerIP: mine, ports: [{nodePort: 1}]}}`,
		},
		"a security label of OpenShift": {
			in:   `{apiVersion: v1, kind: Namespace, metadata: {name: a, annotations: {openshift.io/sa.scc.uid-range: 1000/1, openshift.io/display-name: Shop}}}`,
			want: `{apiVersion: v1, kind: Namespace, metadata: {name: a, annotations: {openshift.io/display-name: Shop}}}`,
		},
		"a service with addresses that somebody chose": {
			in: `{apiVersion: v1, kind: Service, metadata: {name: a, managedFields: [{manager: kubectl, operation: Update, fieldsV1: {"f:spec": {"f:ipFamilyPolicy": {}, "f:healthCheckNodePort": {}}}}]},
			  spec: {type: LoadBalancer, externalTrafficPolicy: Local, clusterIP: 10.0.0.1, ipFamilies: [IPv6], ipFamilyPolicy: SingleStack, healthCheckNodePort: 31000, loadBalancerClass: mine, externalIPs: [1.2.3.4], ports: [{port: 80}]}}`,
			want: `{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {type: LoadBalancer, externalTrafficPolicy: Local, ipFamilyPolicy: SingleStack, healthCheckNodePort: 31000, loadBalancerClass: mine, externalIPs: [1.2.3.4], ports: [{port: 80}]}}`,
		},
		"a port that the cluster chose for two protocols": {
			in: `{apiVersion: v1, kind: Service, metadata: {name: a, managedFields: [{manager: helm, operation: Update, fieldsV1: {"f:spec": {"f:ports": {'k:{"port":53,"protocol":"UDP"}': {"f:nodePort": {}}}}}}]},
			  spec: {ports: [{port: 53, protocol: TCP, nodePort: 30001}, {port: 53, protocol: UDP, nodePort: 30001}]}}`,
			want: `{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 53, protocol: TCP}, {port: 53, protocol: UDP, nodePort: 30001}]}}`,
		},
		"a port written by a component": {
			in:   `{apiVersion: v1, kind: Service, metadata: {name: a, managedFields: [{manager: kube-controller-manager, operation: Update, fieldsV1: {"f:spec": {"f:ports": {'k:{"port":80}': {"f:nodePort": {}}}}}}]}, spec: {ports: [{port: 80, nodePort: 30001}]}}`,
			want: `{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 80}]}}`,
		},
		"what kubectl remembers is broken": {
			in:   `{apiVersion: v1, kind: Service, metadata: {name: a, annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"spec":{"ports":['}}, spec: {ports: [{port: 80, nodePort: 30001}]}}`,
			want: `{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 80}]}}`,
		},
		"a claim for a volume that somebody named": {
			in: `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: a, annotations: {volume.beta.kubernetes.io/storage-class: fast, volume.beta.kubernetes.io/storage-provisioner: x}, finalizers: [kubernetes.io/pvc-protection],
			  managedFields: [{manager: kubectl, operation: Update, fieldsV1: {"f:spec": {"f:volumeName": {}}}}]}, spec: {volumeName: disk-1}, status: {phase: Bound}}`,
			want: `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: a, annotations: {volume.beta.kubernetes.io/storage-class: fast}}, spec: {volumeName: disk-1}}`,
		},
		"a volume with a handle": {
			in:   `{apiVersion: v1, kind: PersistentVolume, metadata: {name: a, annotations: {pv.kubernetes.io/bound-by-controller: "yes"}, finalizers: [kubernetes.io/pv-protection]}, spec: {csi: {driver: d, volumeHandle: vol-1}, persistentVolumeReclaimPolicy: Retain}, status: {phase: Bound}}`,
			want: `{apiVersion: v1, kind: PersistentVolume, metadata: {name: a}, spec: {csi: {driver: d, volumeHandle: vol-1}, persistentVolumeReclaimPolicy: Retain}}`,
		},
		"a token that somebody lists": {
			in: `{apiVersion: v1, kind: ServiceAccount, metadata: {name: a, managedFields: [{manager: kubectl, operation: Update, fieldsV1: {"f:secrets": {".": {}, 'k:{"name":"a-token-ci"}': {}}}},
			  {manager: kube-controller-manager, operation: Update, fieldsV1: {"f:secrets": {'k:{"name":"a-token-x"}': {}}}}]}, secrets: [{name: a-token-x}, {name: a-token-ci}]}`,
			want: `{apiVersion: v1, kind: ServiceAccount, metadata: {name: a}, secrets: [{name: a-token-ci}]}`,
		},
		"an account with nothing but tokens": {
			in:   `{apiVersion: v1, kind: ServiceAccount, metadata: {name: a}, secrets: [{name: a-token-x}, {name: a-dockercfg-x}], automountServiceAccountToken: false}`,
			want: `{apiVersion: v1, kind: ServiceAccount, metadata: {name: a}, automountServiceAccountToken: false}`,
		},
		"a token with more": {
			in:   `{apiVersion: v1, kind: Secret, metadata: {name: a, annotations: {kubernetes.io/service-account.name: s}}, type: kubernetes.io/service-account-token, data: {token: eA==, extra: eA==}}`,
			want: `{apiVersion: v1, kind: Secret, metadata: {name: a, annotations: {kubernetes.io/service-account.name: s}}, type: kubernetes.io/service-account-token, data: {extra: eA==}}`,
		},
		"a secret of another type": {
			in:   `{apiVersion: v1, kind: Secret, metadata: {name: a}, immutable: true, type: Opaque, data: {token: eA==, ca.crt: eA==}}`,
			want: `{apiVersion: v1, kind: Secret, metadata: {name: a}, immutable: true, type: Opaque, data: {token: eA==, ca.crt: eA==}}`,
		},
		"a role of its own": {
			in:   `{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: a}, rules: [{verbs: [get], nonResourceURLs: [/x]}]}`,
			want: `{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: a}, rules: [{verbs: [get], nonResourceURLs: [/x]}]}`,
		},
		"a pod": {
			in: `{apiVersion: v1, kind: Pod, metadata: {name: a, annotations: {cni.projectcalico.org/podIP: 10.1.1.1, k8s.v1.cni.cncf.io/network-status: x, prometheus.io/scrape: "true"}},
			  spec: {nodeName: node-1, nodeSelector: {disk: fast}, priority: 1000, preemptionPolicy: Never, priorityClassName: gold, overhead: {cpu: 1m}, ephemeralContainers: [{name: debug}], schedulingGates: [{name: wait}],
			    containers: [{name: a, volumeMounts: [{name: data, mountPath: /data}, {name: kube-api-access-x, mountPath: /var/run/secrets/kubernetes.io/serviceaccount}]}],
			    initContainers: [{name: i, volumeMounts: [{name: kube-api-access-x, mountPath: /var/run/secrets/kubernetes.io/serviceaccount}]}],
			    volumes: [{name: kube-api-access-x, projected: {}}, {name: data}]}, status: {phase: Running}}`,
			want: `{apiVersion: v1, kind: Pod, metadata: {name: a, annotations: {prometheus.io/scrape: "true"}},
			  spec: {nodeSelector: {disk: fast}, priorityClassName: gold, schedulingGates: [{name: wait}],
			    containers: [{name: a, volumeMounts: [{name: data, mountPath: /data}]}], initContainers: [{name: i}], volumes: [{name: data}]}}`,
		},
		"a pod of an old cluster": {
			in: `{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {serviceAccountName: robot,
			  containers: [{name: a, volumeMounts: [{name: robot-token-x, mountPath: /var/run/secrets/kubernetes.io/serviceaccount}, {name: robot-token-ci, mountPath: /token}]}],
			  volumes: [{name: robot-token-x, secret: {secretName: robot-token-x}}, {name: robot-token-ci, secret: {secretName: robot-token-ci}}]}}`,
			want: `{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {serviceAccountName: robot,
			  containers: [{name: a, volumeMounts: [{name: robot-token-ci, mountPath: /token}]}], volumes: [{name: robot-token-ci, secret: {secretName: robot-token-ci}}]}}`,
		},
		"a daemon set": {
			in:   `{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: a, annotations: {deprecated.daemonset.template.generation: "3"}}, spec: {selector: {matchLabels: {a: b}}}, status: {desiredNumberScheduled: 1}}`,
			want: `{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: a}, spec: {selector: {matchLabels: {a: b}}}}`,
		},
		"a replica set of its own": {
			in:   `{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: a, labels: {pod-template-hash: x}, annotations: {deployment.kubernetes.io/desired-replicas: "2"}}, spec: {selector: {matchLabels: {pod-template-hash: x}}}}`,
			want: `{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: a, labels: {pod-template-hash: x}}, spec: {selector: {matchLabels: {pod-template-hash: x}}}}`,
		},
		"a job with a selector of its own": {
			in:   `{apiVersion: batch/v1, kind: Job, metadata: {name: a}, spec: {manualSelector: true, selector: {matchLabels: {mine: "1"}}, ttlSecondsAfterFinished: 60, template: {metadata: {labels: {mine: "1", job-name: x}}}}}`,
			want: `{apiVersion: batch/v1, kind: Job, metadata: {name: a}, spec: {manualSelector: true, selector: {matchLabels: {mine: "1"}}, ttlSecondsAfterFinished: 60, template: {metadata: {labels: {mine: "1", job-name: x}}}}}`,
		},
		"a scheduled job": {
			in:   `{apiVersion: batch/v1, kind: CronJob, metadata: {name: a}, spec: {schedule: "* * * * *"}, status: {lastScheduleTime: x}}`,
			want: `{apiVersion: batch/v1, kind: CronJob, metadata: {name: a}, spec: {schedule: "* * * * *"}}`,
		},
		"endpoints by hand": {
			in:   `{apiVersion: v1, kind: Endpoints, metadata: {name: a, annotations: {endpoints.kubernetes.io/last-change-trigger-time: x}}, subsets: [{addresses: [{ip: 10.1.1.1}]}]}`,
			want: `{apiVersion: v1, kind: Endpoints, metadata: {name: a}, subsets: [{addresses: [{ip: 10.1.1.1}]}]}`,
		},
		"an ingress": {
			in:   `{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: a}, spec: {ingressClassName: nginx}, status: {loadBalancer: {ingress: [{ip: 1.2.3.4}]}}}`,
			want: `{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: a}, spec: {ingressClassName: nginx}}`,
		},
		"a definition with an injector": {
			in: `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: a, annotations: {cert-manager.io/inject-ca-from-secret: n/s}},
			  spec: {preserveUnknownFields: false, conversion: {strategy: Webhook, webhook: {clientConfig: {caBundle: eA==, service: {name: a}}}}}, status: {storedVersions: [v1]}}`,
			want: `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: a, annotations: {cert-manager.io/inject-ca-from-secret: n/s}},
			  spec: {conversion: {strategy: Webhook, webhook: {clientConfig: {service: {name: a}}}}}}`,
		},
		"a definition of its own": {
			in:   `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: a}, spec: {conversion: {webhook: {clientConfig: {caBundle: eA==}}}}}`,
			want: `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: a}, spec: {conversion: {webhook: {clientConfig: {caBundle: eA==}}}}}`,
		},
		"an API with an injector": {
			in:   `{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: a, annotations: {service.beta.openshift.io/inject-cabundle: "true"}}, spec: {caBundle: eA==, service: {name: a}}}`,
			want: `{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: a, annotations: {service.beta.openshift.io/inject-cabundle: "true"}}, spec: {service: {name: a}}}`,
		},
		"an API of its own": {
			in:   `{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: a}, spec: {caBundle: eA==, service: {name: a}}}`,
			want: `{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: a}, spec: {caBundle: eA==, service: {name: a}}}`,
		},
		"an object that is no map": {
			in:   `{apiVersion: v1, kind: Service, metadata: {name: a}, spec: text}`,
			want: `{apiVersion: v1, kind: Service, metadata: {name: a}, spec: text}`,
		},
		"lists that are none": {
			in:   `{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: text, volumes: [text, {name: [list]}]}}`,
			want: `{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: text, volumes: [text, {name: [list]}]}}`,
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
