package step

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/host"
	"github.com/crossfade-dev/crossfade/internal/host/local"
	"github.com/crossfade-dev/crossfade/internal/host/ssh"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/nginxctl"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/release"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
	"github.com/crossfade-dev/crossfade/internal/release/httproute"
	"github.com/crossfade-dev/crossfade/internal/release/nginx"
	"github.com/crossfade-dev/crossfade/internal/release/nodeport"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// painted is the objects of a service that is deployed in colours, with those of its front.
type painted struct {
	parts  colour.Parts
	front  *spec.Front // nil when there is none
	routes httproute.Routes
	pair   []*unstructured.Unstructured // the Kubernetes Services with a NodePort for each colour
}

// split parts the objects of a service that is deployed in colours.
func split(service string, front *spec.Front, objs []*unstructured.Unstructured) (p painted, err error) {
	p.front = front
	p.parts, err = colour.Split(service, objs)
	switch {
	case err != nil || front == nil:
	case front.HTTPRoute != nil:
		p.routes, p.parts, err = httproute.Split(service, p.parts)
	default:
		p.pair, err = nodeport.Pair(service, p.parts, front.Nginx.NodePort, front.Nginx.Port)
	}
	return p, err
}

// names are those of all that the service may have in a cluster.
func (p painted) names() ([]string, error) {
	names, err := p.parts.Names()
	for _, obj := range p.pair {
		names = append(names, ident.Of(obj))
	}
	return append(names, p.routes.Names()...), err
}

// trial is objects that the API server takes when it would take those of the next version.
func (p painted) trial() ([]*unstructured.Unstructured, error) {
	objs, err := p.parts.Trial()
	return slices.Concat(objs, p.pair, p.routes.Trial()), err
}

// fits refuses what the cluster has in the way of the front.
func (p painted) fits(ctx context.Context, service string, c *kube.Cluster) error {
	switch {
	case p.front == nil:
		return nil
	case p.front.HTTPRoute != nil:
		return httproute.New(p.routes, p.parts, c, nil).Check(ctx)
	default:
		return nodeport.New(service, p.pair, c, nil, nil).Free(ctx)
	}
}

// front is what leads the users of a service who come in from outside; nil when nothing does but its Kubernetes Services.
func (j *job) front(ctx context.Context, u plan.Unit, p painted, c *kube.Cluster) (release.Front, error) {
	switch {
	case p.front == nil:
		return nil, nil
	case p.front.HTTPRoute != nil:
		return httproute.New(p.routes, p.parts, c, j.say), nil
	}
	by, err := j.nginx(ctx, u)
	return nodeport.New(u.Name, p.pair, c, by, j.say), err
}

// nginx is the nginx of the environment's nodes, as it leads to a service.
func (j *job) nginx(ctx context.Context, u plan.Unit) (*nginx.Upstream, error) {
	if j.plan.Nginx == nil {
		return nil, fault.New(fault.Invalid, "no nodes lead to %s: the environment %s has none with an nginx", u.Name, j.plan.Environment).WithHint("name them in spec.nginx of the environment")
	}
	status, err := j.ready(ctx, j.plan.Generation)
	if err != nil {
		return nil, err
	}
	by := &nginx.Upstream{Service: u.Name, Name: u.Front.Nginx.Upstream, Port: u.Front.Nginx.NodePort, Progress: j.say}
	for _, n := range j.plan.Nginx.Nodes {
		node := nginx.Node{Node: nginxctl.Node{Host: j.host(n), Command: n.Command, PIDFile: n.PIDFile, Dir: n.Dir}, Backends: status.Nodes}
		if n.Backend != "" {
			node.Backends = []string{n.Backend}
		}
		by.Nodes = append(by.Nodes, node)
	}
	return by, nil
}

// host is a machine, until the step ends.
func (j *job) host(n spec.NginxNode) host.Host {
	h := machine(n, j.plan.Nginx.SSH)
	j.hosts = append(j.hosts, h)
	return h
}

// machine is one with an nginx: this one, or one that is reached over SSH.
func machine(n spec.NginxNode, s spec.SSH) host.Host {
	if n.Address == "" {
		return local.New(n.Name)
	}
	return ssh.New(ssh.Options{Name: n.Name, Address: n.Address, User: s.User, KeyFile: s.KeyFile, KnownHosts: s.KnownHosts})
}

// leave lets go of the machines that the step has used.
func (j *job) leave() {
	for _, h := range j.hosts {
		_ = h.Close() // it is of no use any more in any case
	}
}

// after runs what is to be run on every node when the users are led to the next version.
func (j *job) after(ctx context.Context) error {
	u := j.plan.Deploy.Unit
	if u.Front == nil || u.Front.Nginx == nil || len(u.Front.Nginx.After) == 0 {
		return nil
	}
	by, err := j.nginx(ctx, u)
	if err != nil {
		return err
	}
	return by.Run(ctx, append([]string{"env", "CROSSFADE_SERVICE=" + u.Name, "CROSSFADE_VERSION=" + u.Version}, u.Front.Nginx.After...))
}
