package endpoint

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
)

// nodes are two that are ready, and one that is not.
const nodes = `
{apiVersion: v1, kind: Node, metadata: {name: a}, status: {conditions: [{type: Ready, status: 'True'}], addresses: [{type: Hostname, address: a}, {type: InternalIP, address: 10.0.0.1}]}}
---
{apiVersion: v1, kind: Node, metadata: {name: b}, status: {conditions: [{type: Ready, status: 'True'}], addresses: [{type: InternalIP, address: 10.0.0.2}]}}
---
{apiVersion: v1, kind: Node, metadata: {name: c}, status: {conditions: [{type: Ready, status: Unknown}], addresses: [{type: InternalIP, address: 10.0.0.3}]}}
---
`

func TestOfService(t *testing.T) {
	const service = "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: "
	const slice = `
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
endpoints: [{nodeName: a, conditions: {ready: false}}, {nodeName: b, conditions: {ready: true}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: other-1, namespace: shop, labels: {kubernetes.io/service-name: other}}
endpoints: [{nodeName: a, conditions: {ready: true}}]
`
	addresses := []string{"10.0.0.2", "10.0.0.1"}
	tests := map[string]struct {
		reason    string
		objects   string
		addresses []string
		want      []string
		code      fault.Code
		err       string
	}{
		"a node port": {
			reason: "every node answers at it", objects: service + "{type: NodePort, ports: [{port: 80, nodePort: 30080}]}}",
			want: []string{"10.0.0.1:30080", "10.0.0.2:30080"},
		},
		"a load balancer": {
			reason:  "at the Service's own port, by address or by name",
			objects: service + "{type: LoadBalancer, ports: [{port: 80, nodePort: 30080}]}, status: {loadBalancer: {ingress: [{hostname: lb.example.com}, {ip: 192.0.2.1}, {ip: '2001:db8::1'}]}}}",
			want:    []string{"192.0.2.1:80", "[2001:db8::1]:80", "lb.example.com:80"},
		},
		"a load balancer to come": {
			reason: "until it has an address the nodes answer", objects: service + "{type: LoadBalancer, ports: [{port: 80, nodePort: 30080}]}}",
			want: []string{"10.0.0.1:30080", "10.0.0.2:30080"},
		},
		"the policy Local": {
			reason:  "a node without a ready pod would drop the packets",
			objects: service + "{type: NodePort, externalTrafficPolicy: Local, ports: [{port: 80, nodePort: 30080}]}}" + slice,
			want:    []string{"10.0.0.2:30080"},
		},
		"the policy Local behind a forwarder": {
			reason:    "nobody can say which node is behind it",
			objects:   service + "{type: NodePort, externalTrafficPolicy: Local, ports: [{port: 80, nodePort: 30080}]}}" + slice,
			addresses: []string{"127.0.0.1", "10.0.0.1"}, want: []string{"127.0.0.1:30080"},
		},
		"the policy Local without pods": {
			reason:  "they may become ready",
			objects: service + "{type: NodePort, externalTrafficPolicy: Local, ports: [{port: 80, nodePort: 30080}]}}",
			code:    fault.Unavailable, err: "cannot route to the Service shop/web: no node has a ready pod of it",
		},
		"inside only": {
			reason: "nothing answers for it outside", objects: service + "{type: ClusterIP, ports: [{port: 80}]}}",
			code: fault.Failed, err: "cannot route to the Service shop/web: it has no node port (its type is ClusterIP)",
		},
		"not there": {
			reason: "the name is wrong, or it was not deployed",
			code:   fault.Failed, err: `cannot find the Service shop/web in the cluster canned: services "web" not found`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := kubetest.Show(t, nodes+test.objects).Connect(t)
			if test.addresses == nil {
				test.addresses = addresses
			}
			got, err := OfService(t.Context(), c, test.addresses, "shop", "web", "")
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
			if fault.CodeOf(err) != test.code || err != nil && err.Error() != test.err {
				t.Errorf("%s: want %s %q, got %s %v", test.reason, test.code, test.err, fault.CodeOf(err), err)
			}
		})
	}
}

func TestNodes(t *testing.T) {
	got, err := Nodes(t.Context(), kubetest.Show(t, nodes).Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"10.0.0.1", "10.0.0.2"}, got); diff != "" {
		t.Errorf("only those that are ready, without names (-want +got):\n%s", diff)
	}
}
