package decide

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	return kubetest.Objects(t, text)[0]
}

// resourceOf is the resource of an object, as far as decisions need it.
func resourceOf(obj *unstructured.Unstructured) kube.Resource {
	gvk := obj.GroupVersionKind()
	return kube.Resource{
		GroupVersionResource: schema.GroupVersionResource{Group: gvk.Group, Version: gvk.Version}, Kind: gvk.Kind, Namespaced: obj.GetNamespace() != "",
	}
}

// nobody is asked for owners.
func nobody(context.Context, metav1.OwnerReference, string) (*unstructured.Unstructured, error) {
	return nil, nil //nolint:nilnil // there is none
}

// by is an entry of managed fields of an update of a field in the body.
func by(manager string) string { return byField(manager, "f:spec") }

func byField(manager, field string) string {
	return "{manager: " + manager + ", operation: Update, fieldsV1: {\"" + field + "\": {}}}"
}

func TestObject(t *testing.T) {
	tests := map[string]struct {
		reason string
		obj    string
		want   Reason
	}{
		"configuration":     {"what people made is copied", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop}}", None},
		"by a person":       {"field managers tell", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop, managedFields: [" + by("kubectl-create") + "]}}", None},
		"by the cluster":    {"whatever its name", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop, managedFields: [" + by("kube-controller-manager") + "]}}", Cluster},
		"by both":           {"somebody has put something into it", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop, managedFields: [" + by("kube-controller-manager") + ", " + by("vi") + "]}}", None},
		"status alone":      {"a status by the cluster makes it nobody's", "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: shop, managedFields: [" + by("kubectl") + ", {manager: kubelet, operation: Update, subresource: status}]}}", None},
		"being deleted":     {"it would be gone again", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop, deletionTimestamp: '2026-01-01T00:00:00Z'}}", Deleting},
		"system":            {"belongs to how the cluster was built", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: kube-system}}", System},
		"own":               {"says what is live there", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: crossfade-system}}", System},
		"system namespace":  {"every cluster has it", "{apiVersion: v1, kind: Namespace, metadata: {name: kube-public}}", System},
		"grant":             {"given by users for their own programs", "{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: auth-reader, namespace: kube-system}}", None},
		"default namespace": {"every cluster has it", "{apiVersion: v1, kind: Namespace, metadata: {name: default, labels: {a: b}}}", Cluster},
		"in default":        {"people use it", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default}}", None},
		"the API":           {"its address is the cluster's", "{apiVersion: v1, kind: Service, metadata: {name: kubernetes, namespace: default}}", Cluster},
		"its endpoints":     {"its address is the cluster's", "{apiVersion: v1, kind: Endpoints, metadata: {name: kubernetes, namespace: default}}", Cluster},
		"its slice":         {"its address is the cluster's", "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: kubernetes, namespace: default}}", Cluster},
		"another API":       {"it only has the name", "{apiVersion: v1, kind: Service, metadata: {name: kubernetes, namespace: shop}}", None},
		"root CA":           {"the other cluster has another, even if somebody labelled it", "{apiVersion: v1, kind: ConfigMap, metadata: {name: kube-root-ca.crt, namespace: shop, managedFields: [" + by("kubectl-label") + "]}}", Cluster},

		"default account":     {"every namespace gets one", "{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: shop}}", Cluster},
		"with an old token":   {"before 1.24 it got a token too", "{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: shop}, secrets: [{name: default-token-x}]}", Cluster},
		"with a pull secret":  {"that is somebody's", "{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: shop}, imagePullSecrets: [{name: registry}]}", None},
		"without a token":     {"that somebody asked for", "{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: shop, managedFields: [" + byField("kubectl", "f:automountServiceAccountToken") + "]}, automountServiceAccountToken: false}", None},
		"with an annotation":  {"such as an identity of a cloud", "{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: shop, annotations: {eks.amazonaws.com/role-arn: x}}}", None},
		"an account":          {"made by people", "{apiVersion: v1, kind: ServiceAccount, metadata: {name: robot, namespace: shop}}", None},
		"old token":           {"by its name, where nothing tells who made it", token("robot-token-x7d2q", ""), Token},
		"old token, labelled": {"the type is still the controller's", token("robot-token-x7d2q", byField("kube-controller-manager", "f:type")+", "+byField("kubectl-label", "f:metadata")), Token},
		"token of a person":   {"asked for with a Secret of that name", token("robot-token-ci", byField("kubectl-client-side-apply", "f:type")), None},
		"token of any name":   {"asked for with a Secret", token("robot-key", ""), None},
		"bootstrap token":     {"lets nodes join the old cluster", "{apiVersion: v1, kind: Secret, metadata: {name: a, namespace: shop}, type: bootstrap.kubernetes.io/token}", Token},
		"registry token":      {"of OpenShift's own registry", "{apiVersion: v1, kind: Secret, metadata: {name: robot-dockercfg-x, namespace: shop, annotations: {kubernetes.io/service-account.name: robot}}, type: kubernetes.io/dockercfg}", Token},
		"registry password":   {"of somebody's registry", "{apiVersion: v1, kind: Secret, metadata: {name: registry, namespace: shop}, type: kubernetes.io/dockercfg}", None},
		"release":             {"Helm would take the objects for its own", "{apiVersion: v1, kind: Secret, metadata: {name: sh.helm.release.v1.web.v1, namespace: shop}, type: helm.sh/release.v1}", Helm},
		"election":            {"the leader is in the old cluster", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop, annotations: {control-plane.alpha.kubernetes.io/leader: '{}'}}}", Election},
		"old election":        {"in an Endpoints object", "{apiVersion: v1, kind: Endpoints, metadata: {name: a, namespace: shop, annotations: {control-plane.alpha.kubernetes.io/leader: '{}'}}}", Election},
		"webhook's CA":        {"cert-manager's webhook makes its own in every cluster", "{apiVersion: v1, kind: Secret, metadata: {name: cert-manager-webhook-ca, namespace: cert-manager, annotations: {cert-manager.io/allow-direct-injection: 'true'}}}", Owned},
		"webhook's CA, named": {"it may have another name", "{apiVersion: v1, kind: Secret, metadata: {name: a, namespace: shop, labels: {app.kubernetes.io/managed-by: cert-manager}, annotations: {cert-manager.io/allow-direct-injection: 'true'}}}", Owned},
		"injected by people":  {"a CA of theirs", "{apiVersion: v1, kind: Secret, metadata: {name: a, namespace: shop, annotations: {cert-manager.io/allow-direct-injection: 'true'}}}", None},
		"injected, issued":    {"a CA that cert-manager has issued", "{apiVersion: v1, kind: Secret, metadata: {name: cert-manager-webhook-ca, namespace: shop, annotations: {cert-manager.io/allow-direct-injection: 'true', cert-manager.io/certificate-name: a}}}", None},
		"account at a CA":     {"of an Issuer: another one would be registered", "{apiVersion: v1, kind: Secret, metadata: {name: acme-account, namespace: cert-manager, managedFields: [" + byField("cert-manager-issuers", "f:data") + "]}}", None},
		"lease":               {"says who leads in the old cluster", "{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: a, namespace: shop}}", Cluster},

		"endpoints by hand":   {"a database outside", "{apiVersion: v1, kind: Endpoints, metadata: {name: db, namespace: shop, managedFields: [" + byField("kubectl", "f:subsets") + "]}}", None},
		"endpoints":           {"of a selector", "{apiVersion: v1, kind: Endpoints, metadata: {name: db, namespace: shop, managedFields: [" + byField("kube-controller-manager", "f:subsets") + "]}}", Cluster},
		"slice by hand":       {"a database outside", slice("staff"), None},
		"slice by nobody":     {"a database outside", "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: db, namespace: shop}}", None},
		"slice":               {"of a selector", slice("endpointslice-controller.k8s.io"), Owned},
		"mirrored slice":      {"of Endpoints by hand", slice("endpointslicemirroring-controller.k8s.io"), Owned},
		"node":                {"a machine", "{apiVersion: v1, kind: Node, metadata: {name: a}}", Cluster},
		"event":               {"what happened there", "{apiVersion: v1, kind: Event, metadata: {name: a, namespace: shop}}", Cluster},
		"certificate request": {"asked of the old cluster", "{apiVersion: certificates.k8s.io/v1, kind: CertificateSigningRequest, metadata: {name: a}}", Cluster},
		"order":               {"two clusters must not ask twice", "{apiVersion: acme.cert-manager.io/v1, kind: Order, metadata: {name: a, namespace: shop}}", Cluster},
		"same kind, no never": {"of another group", "{apiVersion: shop.example.com/v1, kind: Order, metadata: {name: a, namespace: shop}}", None},
		"machine":             {"a machine", "{apiVersion: karpenter.sh/v1, kind: NodeClaim, metadata: {name: a}}", Cluster},
		"address":             {"given to a pod", "{apiVersion: crd.projectcalico.org/v1, kind: IPAMBlock, metadata: {name: a}}", Cluster},
		"target group":        {"of the old load balancer", "{apiVersion: elbv2.k8s.aws/v1beta1, kind: TargetGroupBinding, metadata: {name: a, namespace: shop}}", Cluster},
		"snapshot":            {"restored from a snapshot's own contents", "{apiVersion: snapshot.storage.k8s.io/v1, kind: VolumeSnapshot, metadata: {name: a, namespace: shop}}", Cluster},
		"pod":                 {"made by people", "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: shop}, status: {phase: Running}}", None},
		"pod that ended":      {"it would run again", "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: shop}, status: {phase: Succeeded}}", Ended},
		"pod that failed":     {"it would run again", "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: shop}, status: {phase: Failed}}", Ended},
		"static pod":          {"a file on a node", "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: shop, annotations: {kubernetes.io/config.mirror: x}}}", Cluster},
		"job":                 {"still to be done", "{apiVersion: batch/v1, kind: Job, metadata: {name: a, namespace: shop}, status: {conditions: [{type: Complete, status: 'False'}]}}", None},
		"job that ended":      {"it would run again", "{apiVersion: batch/v1, kind: Job, metadata: {name: a, namespace: shop}, status: {conditions: [{type: SuccessCriteriaMet, status: 'True'}, {type: Complete, status: 'True'}]}}", Ended},
		"job that failed":     {"it would run again", "{apiVersion: batch/v1, kind: Job, metadata: {name: a, namespace: shop}, status: {conditions: [{type: Failed, status: 'True'}]}}", Ended},
		"volume":              {"made by people for somebody's disk", "{apiVersion: v1, kind: PersistentVolume, metadata: {name: a}}", None},
		"volume for a claim":  {"the other cluster makes its own", "{apiVersion: v1, kind: PersistentVolume, metadata: {name: a, annotations: {pv.kubernetes.io/provisioned-by: x}}}", Volume},
		"local API":           {"every API server has them", "{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: v1.apps}, spec: {group: apps}}", Aggregated},
		"aggregated API":      {"somebody's", "{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: v1.metrics}, spec: {group: metrics, service: {name: a, namespace: b}}}", None},
		"system role": {
			"every cluster has it",
			"{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: 'system:node', labels: {kubernetes.io/bootstrapping: rbac-defaults}}}", Cluster,
		},
		"addon's role":         {"somebody has installed it, whatever its name", "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: 'system:reader'}}", None},
		"bootstrap role":       {"every cluster has it, even if somebody edited it", "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: admin, labels: {kubernetes.io/bootstrapping: rbac-defaults}, managedFields: [" + by("kubectl-edit") + "]}}", Cluster},
		"role":                 {"somebody's", "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: shop-admin}}", None},
		"system priority":      {"every cluster has it", "{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: system-node-critical}}", Cluster},
		"priority":             {"somebody's", "{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: gold}}", None},
		"flow of the API":      {"every API server makes it", "{apiVersion: flowcontrol.apiserver.k8s.io/v1, kind: FlowSchema, metadata: {name: exempt, managedFields: [" + by("api-priority-and-fairness-config-producer-v1") + "]}}", Cluster},
		"unknown":              {"a kind nobody has heard of", "{apiVersion: example.com/v1, kind: Thing, metadata: {name: a}}", None},
		"made and controlled":  {"by a component, for an owner that is gone", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop, ownerReferences: [{apiVersion: example.com/v1, kind: Thing, name: a, uid: u, controller: true}], managedFields: [" + by("kube-controller-manager") + "]}}", Owned},
		"owner without a hand": {"an owner that is no controller only takes it along when it goes", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: a, uid: u}]}}", None},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			obj := object(t, test.obj)
			got, err := New(Rules{}, nobody).Object(t.Context(), resourceOf(obj), obj)
			if err != nil || got != test.want {
				t.Errorf("%s: got %q (%v), want %q", test.reason, got, err, test.want)
			}
		})
	}
}

func token(name, managers string) string {
	return "{apiVersion: v1, kind: Secret, metadata: {name: " + name + ", namespace: shop, annotations: {kubernetes.io/service-account.name: robot}, managedFields: [" +
		managers + "]}, type: kubernetes.io/service-account-token}"
}

func slice(manager string) string {
	return "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: db, namespace: shop, labels: {endpointslice.kubernetes.io/managed-by: " + manager + "}}}"
}

func TestPolicy(t *testing.T) {
	rules := Rules{Copy: spec.Copy{Conflicts: map[string]string{"Deployment": "target", "Deployment.apps": "source"}}}
	for reason, test := range map[string]struct{ obj, want string }{
		"the closer name wins": {"{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}}", "source"},
		"a kind of any group":  {"{apiVersion: example.com/v1, kind: Deployment, metadata: {name: web}}", "target"},
		"nobody unless set":    {"{apiVersion: v1, kind: ConfigMap, metadata: {name: web}}", ""},
	} {
		if got := rules.Policy(object(t, test.obj)); got != test.want {
			t.Errorf("%s: got %q", reason, got)
		}
	}
}

func TestRules(t *testing.T) {
	const config = "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop, labels: {app: web}}}"
	const namespace = "{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {app: web}}}"
	const role = "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: shop}}"
	const dns = "{apiVersion: v1, kind: ConfigMap, metadata: {name: coredns, namespace: kube-system}}"
	const deployment = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop}}"
	const another = "{apiVersion: example.com/v1, kind: Deployment, metadata: {name: web, namespace: shop}}"
	include := func(s ...spec.Selector) Rules { return Rules{Copy: spec.Copy{Include: s}} }
	exclude := func(s ...spec.Selector) Rules { return Rules{Copy: spec.Copy{Exclude: s}} }
	owners := func(pairs ...string) Rules {
		r := Rules{Copy: spec.Copy{Owners: map[string]string{}}}
		for i := 0; i < len(pairs); i += 2 {
			r.Owners[pairs[i]] = pairs[i+1]
		}
		return r
	}
	tests := map[string]struct {
		reason string
		rules  Rules
		obj    string
		want   Reason
	}{
		"namespace":            {"by name", include(spec.Selector{Namespaces: []string{"shop"}}), config, None},
		"pattern":              {"as a shell's", include(spec.Selector{Namespaces: []string{"s?o*"}}), config, None},
		"another namespace":    {"not that", include(spec.Selector{Namespaces: []string{"shop-2"}}), config, Unselected},
		"one of several":       {"any selector will do", include(spec.Selector{Names: []string{"x"}}, spec.Selector{Kinds: []string{"ConfigMap"}}), config, None},
		"every field":          {"all fields of a selector must match", include(spec.Selector{Namespaces: []string{"shop"}, Names: []string{"x"}}), config, Unselected},
		"label":                {"with its value", include(spec.Selector{Labels: map[string]string{"app": "web"}}), config, None},
		"label, other value":   {"with another value", include(spec.Selector{Labels: map[string]string{"app": "db"}}), config, Unselected},
		"empty label":          {"a label that is not there is not an empty one", include(spec.Selector{Labels: map[string]string{"tier": ""}}), config, Unselected},
		"kind with group":      {"the group counts", include(spec.Selector{Kinds: []string{"Deployment.apps"}}), another, Unselected},
		"bare kind":            {"of any group", include(spec.Selector{Kinds: []string{"Deployment"}}), another, None},
		"its namespace":        {"asked for with the objects in it", include(spec.Selector{Namespaces: []string{"shop"}, Kinds: []string{"ConfigMap"}}), namespace, None},
		"namespace by label":   {"like any object", include(spec.Selector{Labels: map[string]string{"app": "web"}}), namespace, None},
		"namespace by name":    {"names are of objects in namespaces", include(spec.Selector{Names: []string{"shop"}}), namespace, Unselected},
		"no namespace":         {"a namespace selects nothing outside it", include(spec.Selector{Namespaces: []string{"shop"}}), role, Unselected},
		"narrowed":             {"what narrows comes on top", Rules{Copy: spec.Copy{Include: []spec.Selector{{Namespaces: []string{"shop"}}}}, Only: []spec.Selector{{Kinds: []string{"Secret"}}}}, config, Unselected},
		"excluded":             {"taken from everything", exclude(spec.Selector{Kinds: []string{"ConfigMap"}}), config, Excluded},
		"excluded namespace":   {"with itself", exclude(spec.Selector{Namespaces: []string{"shop"}}), namespace, Excluded},
		"not excluded":         {"another name", exclude(spec.Selector{Names: []string{"set?"}}), config, None},
		"system":               {"is not copied because everything is", include(spec.Selector{Namespaces: []string{"*"}}), dns, System},
		"system by name":       {"who names it wants it", include(spec.Selector{Namespaces: []string{"kube-system"}, Names: []string{"coredns"}}), dns, None},
		"system, another name": {"naming one object of it does not bring the others, whatever else is asked for", include(spec.Selector{Namespaces: []string{"*"}}, spec.Selector{Namespaces: []string{"kube-system"}, Names: []string{"key"}}), dns, System},
		"pattern of system":    {"a pattern does not name it", include(spec.Selector{Namespaces: []string{"kube-*"}}), dns, System},
		"git":                  {"who owns it writes it", owners("Deployment", "git"), deployment, Pipeline},
		"backup":               {"who owns it writes it", owners("Deployment", "backup"), deployment, Backup},
		"target":               {"who owns it writes it", owners("Deployment", "target"), deployment, Target},
		"sync":                 {"that is the copy", owners("Deployment", "sync"), deployment, None},
		"group before kind":    {"the closer name wins", owners("Deployment", "git", "Deployment.apps", "sync"), deployment, None},
		"kind of a group":      {"and only there", owners("Deployment", "git", "Deployment.apps", "sync"), another, Pipeline},
		"another's owner":      {"of that kind alone", owners("Deployment.apps", "git"), another, None},
		"pipeline":             {"objects of a service", Rules{Owned: []string{"apps/Deployment shop/web"}}, deployment, Pipeline},
		"pipeline's namespace": {"is made for what is in it", Rules{Owned: []string{"Namespace shop"}}, namespace, None},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			obj := object(t, test.obj)
			got, err := New(test.rules, nobody).Object(t.Context(), resourceOf(obj), obj)
			if err != nil || got != test.want {
				t.Errorf("%s: got %q (%v), want %q", test.reason, got, err, test.want)
			}
		})
	}
}
