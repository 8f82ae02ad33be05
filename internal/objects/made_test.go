package objects_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/kube"
)

// workloads is what people make, and from which controllers make much more.
const workloads = `
{apiVersion: v1, kind: Namespace, metadata: {name: made}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: made, labels: {team: red}}, spec: {selector: {app: web}, ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: outside, namespace: made}, spec: {ports: [{port: 5432}]}}
---
{apiVersion: v1, kind: Endpoints, metadata: {name: outside, namespace: made, labels: {team: red}}, subsets: [{addresses: [{ip: 10.1.2.3}], ports: [{port: 5432}]}]}
---
{apiVersion: v1, kind: Service, metadata: {name: sliced, namespace: made}, spec: {clusterIP: None, ports: [{port: 5432}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: sliced-1, namespace: made, labels: {kubernetes.io/service-name: sliced, endpointslice.kubernetes.io/managed-by: staff}}
addressType: IPv4
endpoints: [{addresses: [10.1.2.4]}]
ports: [{port: 5432}]
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: robot, namespace: made}}
---
{apiVersion: v1, kind: Secret, metadata: {name: robot-token-ci, namespace: made, annotations: {kubernetes.io/service-account.name: robot}}, type: kubernetes.io/service-account-token, stringData: {extra: x}}
---
{apiVersion: v1, kind: Secret, metadata: {name: robot-key, namespace: made, annotations: {kubernetes.io/service-account.name: robot}}, type: kubernetes.io/service-account-token}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: made}
spec: {replicas: 2, selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: "web:1"}]}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: made}
spec:
  serviceName: sliced
  selector: {matchLabels: {app: db}}
  template: {metadata: {labels: {app: db}}, spec: {containers: [{name: db, image: "db:1", volumeMounts: [{name: data, mountPath: /data}]}]}}
  volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]
---
{apiVersion: v1, kind: Pod, metadata: {name: alone, namespace: made}, spec: {volumes: [{name: scratch, emptyDir: {}}], containers: [{name: a, image: "a:1", volumeMounts: [{name: scratch, mountPath: /scratch}]}]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: made-of-others}
aggregationRule: {clusterRoleSelectors: [{matchLabels: {made: part}}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: made-part, labels: {made: part}}, rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]}
`

// kindsOf are the plurals of namespaced kinds whose objects controllers make.
var kindsOf = []schema.GroupVersionResource{
	{Group: "apps", Version: "v1", Resource: "replicasets"},
	{Version: "v1", Resource: "pods"},
	{Version: "v1", Resource: "persistentvolumeclaims"},
	{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"},
	{Version: "v1", Resource: "secrets"},
	{Version: "v1", Resource: "serviceaccounts"},
}

// count counts the objects of a namespace by kind.
func count(t *testing.T, c *kube.Cluster, namespace string) map[string]int {
	t.Helper()
	found := map[string]int{}
	for _, r := range kindsOf {
		for _, err := range c.List(t.Context(), r, kube.Query{Namespace: namespace}) {
			if err != nil {
				t.Fatal(err)
			}
			found[r.Resource]++
		}
	}
	return found
}

// testMadeByControllers: what controllers make is left to the controllers of the other cluster, which make it there, from what
// people made, all of which is copied. Nothing of what they made there is touched by a later copy.
func testMadeByControllers(t *testing.T, p *clusters) {
	p.from.WriteAs(t, "kubectl-create", workloads)
	want := map[string]int{"replicasets": 1, "pods": 4, "persistentvolumeclaims": 1, "endpointslices": 3, "secrets": 2, "serviceaccounts": 2}
	made := func(c *kube.Cluster) func() bool {
		return func() bool { return maps.Equal(want, count(t, c, "made")) && rules(t, c, "made-of-others") == 1 }
	}
	eventually(t, "the controllers of the first cluster have done their work", made(p.a))
	selected := within("made", names("made-*"))
	_, decided := p.decided(t, "made", selected)
	covers(t, "decisions", map[string]string{
		"Namespace made":                                       "create",
		"Service made/web":                                     "create",
		"Endpoints made/web":                                   "skip made by the cluster itself",
		"Endpoints made/outside":                               "create",
		"discovery.k8s.io/EndpointSlice made/sliced-1":         "create",
		"ServiceAccount made/default":                          "skip made by the cluster itself",
		"ServiceAccount made/robot":                            "create",
		"Secret made/robot-key":                                "create",
		"Secret made/robot-token-ci":                           "create",
		"ConfigMap made/kube-root-ca.crt":                      "skip made by the cluster itself",
		"apps/Deployment made/web":                             "create",
		"apps/StatefulSet made/db":                             "create",
		"Pod made/alone":                                       "create",
		"Pod made/db-0":                                        "skip made by a controller for another object",
		"PersistentVolumeClaim made/data-db-0":                 "skip made by the cluster itself",
		"rbac.authorization.k8s.io/ClusterRole made-of-others": "create",
		"rbac.authorization.k8s.io/ClusterRole made-part":      "create",
	}, decided)
	for object, what := range decided {
		kind, _, _ := strings.Cut(object, " ")
		random := object != "discovery.k8s.io/EndpointSlice made/sliced-1" && object != "Pod made/alone"
		if slices.Contains([]string{"apps/ReplicaSet", "Pod", "discovery.k8s.io/EndpointSlice"}, kind) && random && what != "skip made by a controller for another object" {
			t.Errorf("%s: %s", object, what)
		}
	}
	eventually(t, "the controllers of the other cluster have done theirs", made(p.b))
	for _, name := range []string{"robot-key", "robot-token-ci"} {
		eventually(t, name+" has a token of the other cluster", func() bool {
			data, _ := p.there(t, "{apiVersion: v1, kind: Secret, metadata: {name: "+name+", namespace: made}}").Object["data"].(map[string]any)
			return data["token"] != nil
		})
	}
	slices := owned(t, p.b)
	p.settled(t, selected)
	if again := owned(t, p.b); !maps.Equal(slices, again) {
		t.Errorf("a copy has touched endpoint slices: %v, %v", slices, again)
	}
}

// owned are the endpoint slices of the other cluster with their UIDs.
func owned(t *testing.T, c *kube.Cluster) map[string]string {
	t.Helper()
	found := map[string]string{}
	for obj, err := range c.List(t.Context(), kindsOf[3], kube.Query{Namespace: "made"}) {
		if err != nil {
			t.Fatal(err)
		}
		found[obj.GetName()] = string(obj.GetUID())
	}
	return found
}

func rules(t *testing.T, c *kube.Cluster, role string) int {
	t.Helper()
	obj := get(t, c, "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: "+role+"}}")
	if obj == nil {
		return 0
	}
	list, _ := obj.Object["rules"].([]any)
	return len(list)
}
