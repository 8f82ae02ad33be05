package plan

import (
	"cmp"
	"slices"

	"github.com/crossfade-dev/crossfade/internal/spec"
)

// frontOf is what leads the users of a service from outside; nil when nothing does but its Kubernetes Services.
func frontOf(s *spec.Service) *spec.Front {
	if s.Spec.Strategy.BlueGreen == nil {
		return nil
	}
	return withFrontDefaults(s.Metadata.Name, s.Spec.Strategy.BlueGreen.Front)
}

func withFrontDefaults(service string, f *spec.Front) *spec.Front {
	if f != nil && f.Nginx != nil {
		n := *f.Nginx
		n.Upstream = cmp.Or(n.Upstream, service)
		return &spec.Front{Nginx: &n}
	}
	if f == nil || f.HTTPRoute == nil || f.HTTPRoute.Steps != nil {
		return f
	}
	h := *f.HTTPRoute
	h.Steps = []int{100}
	return &spec.Front{HTTPRoute: &h}
}

func withNginxDefaults(n *spec.Nginx) *spec.Nginx {
	if n == nil {
		return nil
	}
	return &spec.Nginx{SSH: n.SSH, Nodes: NodesWithDefaults(n.Nodes)}
}

// NodesWithDefaults are machines with an nginx of which nothing is left open.
func NodesWithDefaults(nodes []spec.NginxNode) []spec.NginxNode {
	nodes = slices.Clone(nodes)
	for i := range nodes {
		if len(nodes[i].Command) == 0 {
			nodes[i].Command = []string{"nginx"}
		}
		nodes[i].PIDFile, nodes[i].Dir = cmp.Or(nodes[i].PIDFile, "/run/nginx.pid"), cmp.Or(nodes[i].Dir, "/etc/nginx/conf.d")
	}
	return nodes
}
