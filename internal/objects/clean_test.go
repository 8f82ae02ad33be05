package objects

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"github.com/crossfade-dev/crossfade/internal/kube"
)

// object reads one object from YAML.
func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	obj := &unstructured.Unstructured{}
	if err := obj.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	return obj
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
			want: `{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {type: LoadBalancer, ports: [{port: 80}]}}`,
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
		"a cron job": {
			in:   `{apiVersion: batch/v1, kind: CronJob, metadata: {name: a}, spec: {schedule: x}, status: {lastScheduleTime: y}}`,
			want: `{apiVersion: batch/v1, kind: CronJob, metadata: {name: a, annotations: {crossfade.dev/withheld: cronjob}}, spec: {schedule: x, suspend: true}}`,
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
			cleaned := clean(original)
			if diff := cmp.Diff(object(t, test.want).Object, cleaned.Object); diff != "" {
				t.Errorf("clean (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before.Object, original.Object); diff != "" {
				t.Errorf("the original was changed:\n%s", diff)
			}
		})
	}
}

func TestSame(t *testing.T) {
	const fields = `{"f:data": {"f:a": {}}, "f:ports": {'k:{"port":80}': {".": {}, "f:port": {}}}, "f:finalizers": {'v:"x"': {}}}`
	const existing = `{apiVersion: v1, kind: ConfigMap, metadata: {name: a, uid: u, managedFields: [{manager: crossfade, operation: Apply, fieldsV1: ` + fields + `}]}, data: {a: b, theirs: c}, ports: [{port: 80, given: 1}], finalizers: [x]}`
	tests := map[string]struct {
		want string
		same bool
	}{
		"the same":         {`{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {a: b}, ports: [{port: 80}], finalizers: [x]}`, true},
		"another value":    {`{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {a: x}, ports: [{port: 80}], finalizers: [x]}`, false},
		"one more field":   {`{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {a: b, z: z}, ports: [{port: 80}], finalizers: [x]}`, false},
		"a field is gone":  {`{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {}, ports: [{port: 80}], finalizers: [x]}`, false},
		"an item is gone":  {`{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {a: b}, ports: [], finalizers: [x]}`, false},
		"a value is gone":  {`{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {a: b}, ports: [{port: 80}]}`, false},
		"an item has come": {`{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {a: b}, ports: [{port: 80}, {port: 81}], finalizers: [x]}`, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := same(object(t, test.want), object(t, existing)); got != test.same {
				t.Errorf("same is %t", got)
			}
		})
	}
	if alien := object(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}`); same(alien, alien) {
		t.Error("what Crossfade has not applied must be written once")
	}
}

func TestLevels(t *testing.T) {
	resource := func(group, kind string) kube.Resource {
		return kube.Resource{GroupVersionResource: schema.GroupVersionResource{Group: group, Resource: kind}, Kind: kind}
	}
	all := []kube.Resource{
		resource("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"), resource("apps", "Deployment"), resource("", "Service"),
		resource("", "Secret"), resource("", "ServiceAccount"), resource("", "Namespace"), resource("apiextensions.k8s.io", "CustomResourceDefinition"),
		resource("", "ResourceQuota"), resource("example.com", "Service"), resource("autoscaling", "HorizontalPodAutoscaler"), resource("example.com", "Coupon"),
	}
	position := map[string]int{}
	for i, level := range levels(all) {
		for _, r := range level {
			position[r.GroupKind().String()] = i
		}
	}
	for _, pair := range [][2]string{
		{"CustomResourceDefinition.apiextensions.k8s.io", "Coupon.example.com"},
		{"Namespace", "ServiceAccount"},
		{"ServiceAccount", "Secret"},
		{"Secret", "Coupon.example.com"},
		{"Secret", "Deployment.apps"},
		{"Service", "ResourceQuota"},
		{"ResourceQuota", "Deployment.apps"},
		{"Deployment.apps", "HorizontalPodAutoscaler.autoscaling"},
		{"HorizontalPodAutoscaler.autoscaling", "ValidatingWebhookConfiguration.admissionregistration.k8s.io"},
		{"CustomResourceDefinition.apiextensions.k8s.io", "Service.example.com"},
	} {
		if position[pair[0]] >= position[pair[1]] {
			t.Errorf("%s is at level %d, %s at %d", pair[0], position[pair[0]], pair[1], position[pair[1]])
		}
	}
}

// TestPeers: whatever the two clusters hold, every object meets the one of its name and no other.
func TestPeers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[a-c][a-c.-]{0,2}/[a-c]{1,2}`)
		list := func(label string) []string {
			names := rapid.SliceOfDistinct(name, rapid.ID[string]).Draw(t, label)
			slices.Sort(names)
			return names
		}
		ours, theirs := list("ours"), list("theirs")
		p := newPeers(func(yield func(*unstructured.Unstructured, error) bool) {
			for _, name := range theirs {
				if !yield(named(name), nil) {
					return
				}
			}
		})
		defer p.close()
		for _, name := range ours {
			found, err := p.find(named(name))
			if err != nil {
				t.Fatal(err)
			}
			if (found != nil) != slices.Contains(theirs, name) || found != nil && key(found) != name {
				t.Fatalf("peer of %s: %v", name, found)
			}
		}
	})
}

func named(name string) *unstructured.Unstructured {
	namespace, name, _ := strings.Cut(name, "/")
	obj := &unstructured.Unstructured{Object: map[string]any{}}
	obj.SetNamespace(namespace)
	obj.SetName(name)
	return obj
}

func TestWithholdLeavesOthers(t *testing.T) {
	objs := []*unstructured.Unstructured{
		object(t, `{apiVersion: batch/v1, kind: CronJob, metadata: {name: a}, spec: {suspend: false}}`),
		object(t, `{apiVersion: batch/v1, kind: CronJob, metadata: {name: b}, spec: {suspend: true}}`),
		object(t, `{apiVersion: example.com/v1, kind: CronJob, metadata: {name: c}, spec: {suspend: false}}`),
	}
	before, err := json.Marshal(objs)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, obj := range Withhold(objs) {
		got = append(got, obj.GetName()+"="+obj.GetAnnotations()[WithheldAnnotation])
	}
	if diff := cmp.Diff([]string{"a=cronjob", "b=", "c="}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if after, err := json.Marshal(objs); err != nil || string(after) != string(before) {
		t.Error("the objects passed in were changed")
	}
}
