package withhold

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
)

func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	return kubetest.Objects(t, text)[0]
}

// queue finds a singleton of the name queue, and nothing else.
func queue(t *testing.T) Find {
	workload := parse(t, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: queue, namespace: shop, labels: {crossfade.dev/singleton: ""}}}`)
	return func(_ context.Context, kind schema.GroupKind, namespace, name string) (*unstructured.Unstructured, error) {
		if kind.String() == "Deployment.apps" && namespace == "shop" && name == "queue" {
			return workload, nil
		}
		return nil, nil //nolint:nilnil // not there
	}
}

func TestHold(t *testing.T) {
	tests := map[string]struct{ reason, in, want string }{
		"CronJob": {
			"it is suspended; that it did not say so is kept",
			`{apiVersion: batch/v1, kind: CronJob, metadata: {name: a}, spec: {schedule: "* * * * *"}}`,
			`{apiVersion: batch/v1, kind: CronJob, metadata: {name: a, annotations: {crossfade.dev/withheld: '{"/spec/suspend":null}'}}, spec: {suspend: true, schedule: "* * * * *"}}`,
		},
		"RunningCronJob": {
			"that it said it runs is kept",
			`{apiVersion: batch/v1, kind: CronJob, metadata: {name: a, annotations: {mine: "1"}}, spec: {suspend: false}}`,
			`{apiVersion: batch/v1, kind: CronJob, metadata: {name: a, annotations: {mine: "1", crossfade.dev/withheld: '{"/spec/suspend":false}'}}, spec: {suspend: true}}`,
		},
		"SuspendedCronJob": {
			"what its users have stopped is theirs",
			`{apiVersion: batch/v1, kind: CronJob, metadata: {name: a}, spec: {suspend: true}}`, "",
		},
		"OthersCronJob": {
			"a kind of another group is another kind",
			`{apiVersion: example.com/v1, kind: CronJob, metadata: {name: a}, spec: {suspend: false}}`, "",
		},
		"NoSpec": {
			"the API server refuses it, and says so better",
			`{apiVersion: batch/v1, kind: CronJob, metadata: {name: a}}`, "",
		},
		"Job": {
			"it would be done a second time",
			`{apiVersion: batch/v1, kind: Job, metadata: {name: a}, spec: {suspend: false}}`,
			`{apiVersion: batch/v1, kind: Job, metadata: {name: a, annotations: {crossfade.dev/withheld: '{"/spec/suspend":false}'}}, spec: {suspend: true}}`,
		},
		"IdempotentJob": {
			"it may be done a second time",
			`{apiVersion: batch/v1, kind: Job, metadata: {name: a, annotations: {crossfade.dev/idempotent: "true"}}, spec: {suspend: false}}`, "",
		},
		"Workload": {
			"it may run in both generations",
			`{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {replicas: 3}}`, "",
		},
		"Singleton": {
			"marked by an annotation",
			`{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, annotations: {crossfade.dev/singleton: "true"}}, spec: {replicas: 3}}`,
			`{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, annotations: {crossfade.dev/singleton: "true", crossfade.dev/withheld: '{"/spec/replicas":3}'}}, spec: {replicas: 0}}`,
		},
		"SingletonByLabel": {
			"marked by a label, without replicas of its own",
			`{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: a, labels: {crossfade.dev/singleton: ""}}, spec: {serviceName: a}}`,
			`{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: a, labels: {crossfade.dev/singleton: ""}, annotations: {crossfade.dev/withheld: '{"/spec/replicas":null}'}}, spec: {serviceName: a, replicas: 0}}`,
		},
		"NoSingleton": {
			"the mark can be taken back",
			`{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, labels: {crossfade.dev/singleton: "false"}}, spec: {replicas: 3}}`, "",
		},
		"StoppedSingleton": {
			"what its users have scaled to zero is theirs",
			`{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: a, labels: {crossfade.dev/singleton: "true"}}, spec: {replicas: 0}}`, "",
		},
		"ClaimsOfASingleton": {
			"at zero it would delete its claims",
			`{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: a, labels: {crossfade.dev/singleton: "true"}}, spec: {replicas: 1, persistentVolumeClaimRetentionPolicy: {whenScaled: Delete, whenDeleted: Retain}}}`,
			`{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: a, labels: {crossfade.dev/singleton: "true"}, annotations: {crossfade.dev/withheld: '{"/spec/persistentVolumeClaimRetentionPolicy/whenScaled":"Delete","/spec/replicas":1}'}},
			  spec: {replicas: 0, persistentVolumeClaimRetentionPolicy: {whenScaled: Retain, whenDeleted: Retain}}}`,
		},
		"DaemonSet": {
			"no node has the label",
			`{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: a, labels: {crossfade.dev/singleton: "true"}}, spec: {template: {spec: {nodeSelector: {disk: ssd}}}}}`,
			`{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: a, labels: {crossfade.dev/singleton: "true"}, annotations: {crossfade.dev/withheld: '{"/spec/template/spec/nodeSelector/crossfade.dev~1withheld":null}'}},
			  spec: {template: {spec: {nodeSelector: {disk: ssd, crossfade.dev/withheld: "true"}}}}}`,
		},
		"DaemonSetEverywhere": {
			"the whole selector was not there",
			`{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: a, labels: {crossfade.dev/singleton: "true"}}, spec: {template: {spec: {hostNetwork: true}}}}`,
			`{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: a, labels: {crossfade.dev/singleton: "true"}, annotations: {crossfade.dev/withheld: '{"/spec/template/spec/nodeSelector":null}'}},
			  spec: {template: {spec: {hostNetwork: true, nodeSelector: {crossfade.dev/withheld: "true"}}}}}`,
		},
		"AutoscalerOfASingleton": {
			"it may not scale up what is at zero",
			`{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: a, namespace: shop}, spec: {minReplicas: 0, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: queue}}}`,
			`{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: a, namespace: shop, annotations: {crossfade.dev/withheld: '{"/spec/behavior":null}'}},
			  spec: {minReplicas: 0, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: queue}, behavior: {scaleUp: {selectPolicy: Disabled}}}}`,
		},
		"AutoscalerOfOthers": {
			"what it scales may run in both",
			`{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: a, namespace: shop}, spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}}`, "",
		},
		"ScaledObject": {
			"KEDA would start a workload that is at zero; it means a Deployment when it says no more",
			`{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {name: a, namespace: shop}, spec: {scaleTargetRef: {name: queue}}}`,
			`{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {name: a, namespace: shop, annotations: {autoscaling.keda.sh/paused-replicas: "0", crossfade.dev/withheld: '{"/metadata/annotations/autoscaling.keda.sh~1paused-replicas":null}'}},
			  spec: {scaleTargetRef: {name: queue}}}`,
		},
		"Ingress": {
			"it routes its host within the cluster; nobody is told of it, and no certificate is asked for",
			`{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: a, annotations: {external-dns.alpha.kubernetes.io/ttl: "60", cert-manager.io/cluster-issuer: acme, nginx.ingress.kubernetes.io/x: "1"}}, spec: {rules: [{host: shop.example.com}]}}`,
			`{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: a, annotations: {external-dns.alpha.kubernetes.io/controller: crossfade-withheld, external-dns.kubernetes.io/controller: crossfade-withheld, nginx.ingress.kubernetes.io/x: "1",
			  crossfade.dev/withheld: '{"/metadata/annotations/cert-manager.io~1cluster-issuer":"acme","/metadata/annotations/external-dns.alpha.kubernetes.io~1controller":null,"/metadata/annotations/external-dns.alpha.kubernetes.io~1ttl":"60","/metadata/annotations/external-dns.kubernetes.io~1controller":null}'}},
			  spec: {rules: [{host: shop.example.com}]}}`,
		},
		"IngressWithoutHost": {
			"there is nothing to publish",
			`{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: a}, spec: {defaultBackend: {service: {name: web}}}}`, "",
		},
		"IngressOfAnotherController": {
			"whose controller it was is kept",
			`{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: a, annotations: {external-dns.kubernetes.io/controller: dns-controller}}, spec: {tls: [{hosts: [a]}]}}`,
			`{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: a, annotations: {external-dns.alpha.kubernetes.io/controller: crossfade-withheld, external-dns.kubernetes.io/controller: crossfade-withheld,
			  crossfade.dev/withheld: '{"/metadata/annotations/external-dns.alpha.kubernetes.io~1controller":null,"/metadata/annotations/external-dns.kubernetes.io~1controller":"dns-controller"}'}}, spec: {tls: [{hosts: [a]}]}}`,
		},
		"Route": {
			"it has the hosts of its gateway when it has none",
			`{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: a}, spec: {parentRefs: [{name: g}]}}`,
			`{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: a, annotations: {external-dns.alpha.kubernetes.io/controller: crossfade-withheld, external-dns.kubernetes.io/controller: crossfade-withheld,
			  crossfade.dev/withheld: '{"/metadata/annotations/external-dns.alpha.kubernetes.io~1controller":null,"/metadata/annotations/external-dns.kubernetes.io~1controller":null}'}}, spec: {parentRefs: [{name: g}]}}`,
		},
		"Gateway": {
			"its addresses are the live one's",
			`{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: a, annotations: {cert-manager.io/issuer: i}}, spec: {addresses: [{value: 192.0.2.1}], infrastructure: {annotations: {metallb.io/loadBalancerIPs: 192.0.2.1, mine: "1"}}}}`,
			`{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: a, annotations: {
			  crossfade.dev/withheld: '{"/metadata/annotations/cert-manager.io~1issuer":"i","/spec/addresses":[{"value":"192.0.2.1"}],"/spec/infrastructure/annotations/metallb.io~1loadBalancerIPs":"192.0.2.1"}'}}, spec: {infrastructure: {annotations: {mine: "1"}}}}`,
		},
		"Service": {
			"its addresses are the live one's",
			`{apiVersion: v1, kind: Service, metadata: {name: a, annotations: {service.beta.kubernetes.io/azure-pip-name: p}}, spec: {type: ClusterIP, externalIPs: [192.0.2.1], loadBalancerIP: 192.0.2.2}}`,
			`{apiVersion: v1, kind: Service, metadata: {name: a, annotations: {crossfade.dev/withheld: '{"/metadata/annotations/service.beta.kubernetes.io~1azure-pip-name":"p","/spec/externalIPs":["192.0.2.1"],"/spec/loadBalancerIP":"192.0.2.2"}'}}, spec: {type: ClusterIP}}`,
		},
		"ServiceWithin": {
			"nobody outside is told of it",
			`{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {type: NodePort, ports: [{port: 80}]}}`, "",
		},
		"DNSEndpoint": {
			"it is nothing but names",
			`{apiVersion: externaldns.k8s.io/v1alpha1, kind: DNSEndpoint, metadata: {name: a}, spec: {endpoints: [{dnsName: a.example.com}]}}`,
			`{apiVersion: externaldns.k8s.io/v1alpha1, kind: DNSEndpoint, metadata: {name: a, annotations: {crossfade.dev/withheld: '{"/spec/endpoints":[{"dnsName":"a.example.com"}]}'}}, spec: {}}`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			in := parse(t, test.in)
			before, want := in.DeepCopy(), in
			if test.want != "" {
				want = parse(t, test.want)
			}
			held, err := Hold(t.Context(), in, queue(t))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want.Object, held.Object); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
			if Held(held) != (test.want != "") || test.want == "" && held != in {
				t.Errorf("held: %t, the same object: %t", Held(held), held == in)
			}
			free, err := Restore(held)
			if diff := cmp.Diff(before.Object, free.Object); err != nil || diff != "" {
				t.Errorf("restored, %v (-want +got):\n%s", err, diff)
			}
			if again, err := Hold(t.Context(), held, queue(t)); err != nil || again != held {
				t.Errorf("held again, %v (-want +got):\n%s", err, cmp.Diff(held, again))
			}
			if diff := cmp.Diff(before.Object, in.Object); diff != "" {
				t.Errorf("the object passed in was changed:\n%s", diff)
			}
		})
	}
}

// TestHoldAgain: what somebody has set since it was withheld is withheld too, and comes back.
func TestHoldAgain(t *testing.T) {
	tests := map[string]struct{ reason, changed, want string }{
		"Started": {
			"it is stopped again, as it is now",
			`{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, labels: {crossfade.dev/singleton: "true"}, annotations: {crossfade.dev/withheld: '{"/spec/replicas":3}'}}, spec: {replicas: 5}}`,
			`{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, labels: {crossfade.dev/singleton: "true"}}, spec: {replicas: 5}}`,
		},
		"Unmarked": {
			"what was taken once is given back",
			`{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, annotations: {crossfade.dev/withheld: '{"/spec/replicas":3}'}}, spec: {replicas: 0}}`,
			`{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {replicas: 3}}`,
		},
		"Published": {
			"one more annotation",
			`{apiVersion: v1, kind: Service, metadata: {name: a, annotations: {metallb.io/loadBalancerIPs: 192.0.2.1, crossfade.dev/withheld: '{"/spec/loadBalancerIP":"192.0.2.2"}'}}, spec: {type: ClusterIP}}`,
			`{apiVersion: v1, kind: Service, metadata: {name: a, annotations: {metallb.io/loadBalancerIPs: 192.0.2.1}}, spec: {type: ClusterIP, loadBalancerIP: 192.0.2.2}}`,
		},
		"Cleared": {
			"a field that was there and was taken away by somebody stays away",
			`{apiVersion: batch/v1, kind: CronJob, metadata: {name: a, annotations: {crossfade.dev/withheld: '{"/spec/suspend":false}'}}, spec: {schedule: x}}`,
			`{apiVersion: batch/v1, kind: CronJob, metadata: {name: a}, spec: {schedule: x}}`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			held, err := Hold(t.Context(), parse(t, test.changed), nil)
			if err != nil {
				t.Fatal(err)
			}
			free, err := Restore(held)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(parse(t, test.want).Object, free.Object); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

// TestGarbled: what Hold has not written is an error that says what to do, for a release and for withholding more.
func TestGarbled(t *testing.T) {
	for name, value := range map[string]string{
		"no JSON": "cronjob", "no object": "[]", "nothing": "null", "empty": "{}", "no text": "", "two": `{"/spec/suspend":false} {}`,
		"another field": `{"/spec/schedule":"* * * * *"}`, "everything": `{"/spec":null}`, "the name": `{"/metadata/name":"b"}`, "another type": `{"/spec/suspend":"no"}`,
		"no pointer": `{"spec":null}`, "empty pointer": `{"":null}`, "a field of another kind": `{"/spec/replicas":1}`,
	} {
		t.Run(name, func(t *testing.T) {
			job := parse(t, `{apiVersion: batch/v1, kind: CronJob, metadata: {name: a, namespace: shop}, spec: {suspend: true}}`)
			job.SetAnnotations(map[string]string{Annotation: value})
			_, restored := Restore(job)
			_, held := Hold(t.Context(), job, nil)
			for _, err := range []error{restored, held} {
				if fault.CodeOf(err) != fault.Failed || !strings.Contains(fmt.Sprint(err), "batch/CronJob shop/a") || fault.HintOf(err) == "" {
					t.Errorf("got %v, want an error that names the object, with a hint", err)
				}
			}
		})
	}
}

// TestAll finds what an autoscaler scales among the objects that are applied with it, and asks for it otherwise.
func TestAll(t *testing.T) {
	objs := kubetest.Objects(t, `
{apiVersion: apps/v1, kind: Deployment, metadata: {name: mail, namespace: shop, labels: {crossfade.dev/singleton: "true"}}, spec: {replicas: 1}}
---
{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {name: a, namespace: shop}, spec: {scaleTargetRef: {name: mail}}}
---
{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {name: b, namespace: shop}, spec: {scaleTargetRef: {name: queue}}}
---
{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {name: c, namespace: shop}, spec: {scaleTargetRef: {name: web}}}
`)
	held, err := All(t.Context(), objs, queue(t))
	if err != nil {
		t.Fatal(err)
	}
	var got []bool
	for _, obj := range held {
		got = append(got, Held(obj))
	}
	if diff := cmp.Diff([]bool{true, true, true, false}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	broken := errors.New("no answer")
	_, err = All(t.Context(), objs, func(context.Context, schema.GroupKind, string, string) (*unstructured.Unstructured, error) {
		return nil, broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want that of the lookup", err)
	}
}
