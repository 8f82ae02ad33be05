package withhold

import (
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/objects/field"
)

// rule says what is withheld of the objects of some kinds.
type rule struct {
	kinds  []string                                                  // groups and kinds, as schema.GroupKind writes them
	acts   bool                                                      // whether the kinds do work of their own, as opposed to telling others where the cluster is
	when   func(obj *unstructured.Unstructured, singleton bool) bool // always when nil
	set    []setting
	remove []pointer // what is taken away; the last part may end with * for every key of a map that begins so
}

// setting is a field and its value while it is withheld.
type setting struct {
	at    pointer
	to    any
	makes pointer // the outermost map that is made where it is missing; at unless set
}

// rules are what is withheld, by kind. Things are withheld in this order and released in the opposite one: what starts others
// comes before those others, and what publishes addresses comes last, so that the time in which nobody publishes them is short.
var rules = []rule{
	{
		// The workload at zero does not move an autoscaler, unless its minReplicas is 0; this holds for both.
		kinds: []string{"HorizontalPodAutoscaler.autoscaling"}, acts: true,
		when: func(obj *unstructured.Unstructured, singleton bool) bool {
			return singleton && obj.GroupVersionKind().Version == "v2"
		},
		set: []setting{{at: "/spec/behavior/scaleUp/selectPolicy", to: "Disabled", makes: "/spec/behavior"}},
	},
	{
		kinds: []string{"ScaledObject.keda.sh"}, acts: true, when: isSingleton,
		set: []setting{{at: annotation("autoscaling.keda.sh/paused-replicas"), to: "0"}},
	},
	{
		kinds: []string{"ScaledJob.keda.sh"}, acts: true, when: isSingleton,
		set: []setting{{at: annotation("autoscaling.keda.sh/paused"), to: "true"}},
	},
	{
		kinds: []string{"CronJob.batch"}, acts: true,
		set: []setting{{at: "/spec/suspend", to: true}},
	},
	{
		kinds: []string{"Job.batch"}, acts: true,
		when: func(obj *unstructured.Unstructured, _ bool) bool {
			return obj.GetAnnotations()[IdempotentAnnotation] != "true"
		},
		set: []setting{{at: "/spec/suspend", to: true}},
	},
	{
		kinds: []string{"Deployment.apps", "StatefulSet.apps", "ReplicaSet.apps", "ReplicationController"}, acts: true, when: isSingleton,
		set: []setting{{at: "/spec/replicas", to: int64(0)}},
	},
	{
		// Scaled to zero, such a set would delete its claims.
		kinds: []string{"StatefulSet.apps"}, acts: true,
		when: func(obj *unstructured.Unstructured, singleton bool) bool {
			return singleton && field.String(obj, "spec", "persistentVolumeClaimRetentionPolicy", "whenScaled") == "Delete"
		},
		set: []setting{{at: "/spec/persistentVolumeClaimRetentionPolicy/whenScaled", to: "Retain"}},
	},
	{
		kinds: []string{"DaemonSet.apps"}, acts: true, when: isSingleton,
		set: []setting{{
			at: "/spec/template/spec/nodeSelector/" + pointer(escape.Replace(Annotation)), to: "true", makes: "/spec/template/spec/nodeSelector",
		}},
	},
	{
		kinds: named, when: func(obj *unstructured.Unstructured, _ bool) bool { return published(obj) },
		set: []setting{
			{at: annotation("external-dns.alpha.kubernetes.io/controller"), to: notOurs},
			{at: annotation("external-dns.kubernetes.io/controller"), to: notOurs},
		},
	},
	{
		kinds:  slices.Concat(named, annotated),
		remove: slices.Concat(each(annotations, naming), each(annotations, issuing), each(annotations, addressing)),
	},
	{
		kinds:  []string{"Gateway.gateway.networking.k8s.io"},
		remove: slices.Concat([]pointer{"/spec/addresses"}, each("/spec/infrastructure/annotations", naming), each("/spec/infrastructure/annotations", addressing)),
	},
	{
		kinds:  []string{"Service"},
		remove: []pointer{"/spec/loadBalancerIP", "/spec/externalIPs"},
	},
	{
		kinds:  []string{"DNSEndpoint.externaldns.k8s.io"},
		remove: []pointer{"/spec/endpoints"},
	},
}

// notOurs is the controller that an object is left to while it is withheld: external-dns ignores an object with a controller
// other than its own (docs/annotations of external-dns; its prefix is another one since v0.22).
const notOurs = "crossfade-withheld"

// named are the kinds whose hosts external-dns publishes, and which it ignores when they name another controller.
var named = []string{
	"Service", "Ingress.networking.k8s.io",
	"HTTPRoute.gateway.networking.k8s.io", "GRPCRoute.gateway.networking.k8s.io", "TLSRoute.gateway.networking.k8s.io",
	"TCPRoute.gateway.networking.k8s.io", "UDPRoute.gateway.networking.k8s.io",
	"Gateway.networking.istio.io", "VirtualService.networking.istio.io", "HTTPProxy.projectcontour.io", "Route.route.openshift.io",
	"RouteGroup.zalando.org",
}

// annotated are more kinds that external-dns publishes only with annotations, or that cert-manager reads.
var annotated = []string{
	"Gateway.gateway.networking.k8s.io", "IngressRoute.traefik.io", "IngressRouteTCP.traefik.io", "IngressRouteUDP.traefik.io",
	"TCPIngress.configuration.konghq.com", "VirtualServer.cis.f5.com", "TransportServer.cis.f5.com", "Host.getambassador.io",
}

// naming are the annotations that have a name published (external-dns).
var naming = []string{"external-dns.alpha.kubernetes.io/*", "external-dns.kubernetes.io/*", "external-dns.ambassador-service"}

// issuing are the annotations that have a certificate asked for (cert-manager). The certificates that there are were copied.
var issuing = []string{
	"cert-manager.io/cluster-issuer", "cert-manager.io/issuer", "cert-manager.io/issuer-name", "kubernetes.io/tls-acme",
	"certmanager.k8s.io/cluster-issuer", "certmanager.k8s.io/issuer",
}

// addressing are the annotations that claim an address, or a load balancer with one, which only one cluster can have.
var addressing = []string{
	"service.beta.kubernetes.io/aws-load-balancer-eip-allocations", "service.beta.kubernetes.io/aws-load-balancer-private-ipv4-addresses",
	"service.beta.kubernetes.io/aws-load-balancer-ipv6-addresses", "service.beta.kubernetes.io/aws-load-balancer-name",
	"alb.ingress.kubernetes.io/load-balancer-name",
	"service.beta.kubernetes.io/azure-load-balancer-ipv4", "service.beta.kubernetes.io/azure-load-balancer-ipv6",
	"service.beta.kubernetes.io/azure-pip-name", "service.beta.kubernetes.io/azure-pip-name-ipv6", "service.beta.kubernetes.io/azure-dns-label-name",
	"networking.gke.io/load-balancer-ip-addresses", "kubernetes.io/ingress.global-static-ip-name", "kubernetes.io/ingress.regional-static-ip-name",
	"metallb.io/loadBalancerIPs", "metallb.universe.tf/loadBalancerIPs", "lbipam.cilium.io/ips", "io.cilium/lb-ipam-ips",
	"kube-vip.io/loadbalancerIPs", "eip.openelb.kubesphere.io/v1alpha1",
	"kubernetes.digitalocean.com/load-balancer-id", "service.beta.kubernetes.io/do-loadbalancer-name", "load-balancer.hetzner.cloud/name",
	"loadbalancer.openstack.org/load-balancer-id", "service.beta.kubernetes.io/linode-loadbalancer-nodebalancer-id",
}

// annotation is where an annotation is.
func annotation(name string) pointer { return annotations + "/" + pointer(escape.Replace(name)) }

// each is a pointer for each of some keys of a map.
func each(parent pointer, names []string) []pointer {
	list := make([]pointer, len(names))
	for i, name := range names {
		list[i] = parent + "/" + pointer(escape.Replace(name))
	}
	return list
}

// published reports whether external-dns would do something for an object of the kinds in named: it does for a host of its own, for an
// annotation, and for a load balancer when it is told a template. Other kinds than these two have a host always, if only
// that of the gateway they are attached to.
func published(obj *unstructured.Unstructured) bool {
	for name := range obj.GetAnnotations() {
		if strings.HasPrefix(name, "external-dns.") {
			return true
		}
	}
	switch obj.GetKind() {
	case "Service":
		return field.String(obj, "spec", "type") == "LoadBalancer"
	case "Ingress":
		return len(field.List(obj, "spec", "tls")) > 0 || slices.ContainsFunc(field.List(obj, "spec", "rules"), func(rule any) bool {
			host, _ := field.AsMap(rule)["host"].(string)
			return host != ""
		})
	}
	return true
}

func isSingleton(_ *unstructured.Unstructured, singleton bool) bool { return singleton }

// byKind are the rules by kind, each in order.
var byKind = func() map[string][]rule {
	index := map[string][]rule{}
	for _, r := range rules {
		for _, kind := range r.kinds {
			index[kind] = append(index[kind], r)
		}
	}
	return index
}()

// rulesOf are the rules for a kind, in order.
func rulesOf(kind schema.GroupKind) []rule { return byKind[kind.String()] }

// placeOf is the position of a kind's first rule, and whether the kind does work of its own; -1 for a kind of which nothing is withheld.
func placeOf(kind schema.GroupKind) (place int, acts bool) {
	name := kind.String()
	place = slices.IndexFunc(rules, func(r rule) bool { return slices.Contains(r.kinds, name) })
	return place, place >= 0 && rules[place].acts
}

// allows reports whether Hold may have written down what was at a pointer, for an object of the rule's kinds.
func (r rule) allows(p pointer, value any) bool {
	for _, s := range r.set {
		if p == s.at && (value == nil || reflect.TypeOf(value) == reflect.TypeOf(s.to)) {
			return true
		}
		if value == nil && s.made().contains(p) && p.contains(s.at) {
			return true
		}
	}
	return value != nil && slices.ContainsFunc(r.remove, func(pattern pointer) bool { return pattern.matches(p) })
}

func (s setting) made() pointer {
	if s.makes == "" {
		return s.at
	}
	return s.makes
}
