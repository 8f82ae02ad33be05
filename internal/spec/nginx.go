package spec

import (
	"net"
	"path"
	"regexp"

	"github.com/crossfade-dev/crossfade/internal/spec/strict"
)

var upstreamName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// nginxFront checks how nginx leads to a service.
func (p place) nginxFront(f *NginxFront) {
	if f.NodePort%10 != 0 {
		p.to("nodePort").Problem("%d does not end in 0; a service owns ten ports, of which the first leads to blue and the next one to green", f.NodePort)
	}
	if f.Port != "" && !validPort(f.Port) && !validPortName(f.Port) {
		p.to("port").Problem("%s is neither a port number (1 to 65535) nor the name of one", strict.Quote(f.Port))
	}
	if f.Upstream != "" && !upstreamName.MatchString(f.Upstream) {
		p.to("upstream").Problem("%s is not a name of letters, digits, dots, hyphens and underscores", strict.Quote(f.Upstream))
	}
}

// nginx checks the nodes of the environment, and the services that they lead to: each owns ports that no other one has.
func (e environment) nginx() {
	if n := e.spec.Nginx; n != nil {
		e.at.to("nginx").nodes(&n.SSH, n.Nodes)
	}
	owners, upstreams := map[int]string{}, map[string]string{}
	for i, ref := range e.spec.Services {
		s, at := e.services[ref.Name], e.at.to("services", i, "name")
		if s == nil || s.Spec.Strategy.BlueGreen == nil || s.Spec.Strategy.BlueGreen.Front == nil || s.Spec.Strategy.BlueGreen.Front.Nginx == nil {
			continue
		}
		front := s.Spec.Strategy.BlueGreen.Front.Nginx
		if e.spec.Nginx == nil && e.at.Readable() {
			at.Problem("the front of %s is nginx, and the environment names no nodes with one in spec.nginx", strict.Show(ref.Name))
		}
		if owner, taken := owners[front.NodePort]; taken && owner != ref.Name && front.NodePort != 0 {
			at.Problem("%s and %s have the same NodePort %d; each owns ten of its own", strict.Show(owner), strict.Show(ref.Name), front.NodePort)
		}
		owners[front.NodePort] = ref.Name
		name := front.Upstream
		if name == "" {
			name = ref.Name
		}
		if owner, taken := upstreams[name]; taken && owner != ref.Name {
			at.Problem("%s and %s have the same upstream %s", strict.Show(owner), strict.Show(ref.Name), strict.Show(name))
		}
		upstreams[name] = ref.Name
	}
}

var listenForm = regexp.MustCompile(`^[A-Za-z0-9.:\[\]*/_-]+( [A-Za-z0-9_=:]+)*$`)

// nginxRouter checks the nginx that carry routes.
func (p place) nginxRouter(r *NginxRouter) {
	p.nodes(&r.SSH, r.Nodes)
	p.to("entry").entry(r.Entry)
	for i, text := range r.Listen {
		if !listenForm.MatchString(text) {
			p.to("listen", i).Problem(`%s is not as in nginx's directive listen, such as "80" or "443 ssl http2"`, strict.Quote(text))
		}
	}
	for i, n := range r.Nodes {
		if n.Backend != "" {
			p.to("nodes", i, "backend").Problem("is of no use to a router: routes lead to the endpoints of generations")
		}
	}
}

// nodes checks machines with an nginx, and makes the paths of files on this machine absolute.
func (p place) nodes(ssh *SSH, nodes []NginxNode) {
	p.to("ssh", "keyFile").absolute(&ssh.KeyFile)
	p.to("ssh", "knownHosts").absolute(&ssh.KnownHosts)
	if len(nodes) == 0 && p.to("nodes").Readable() {
		p.to("nodes").Problem("has none; at least one nginx leads the users")
	}
	taken, dirs := unique{}, unique{}
	for i, node := range nodes {
		at := p.to("nodes", i)
		at.to("name").label(node.Name)
		taken.add(at.to("name"), "nodes named", node.Name)
		dirs.add(at, "nodes with one directory at", node.Address+" "+node.directory())
		at.to("address").reached(node.Address)
		for field, file := range map[string]string{"pidFile": node.PIDFile, "dir": node.Dir} {
			if file != "" && (!path.IsAbs(file) || path.Clean(file) != file) {
				at.to(field).Problem("%s is not a whole path", strict.Quote(file))
			}
		}
		if net.ParseIP(node.Backend) == nil {
			at.to("backend").host(node.Backend)
		}
	}
}

func (n NginxNode) directory() string {
	if n.Dir == "" {
		return "/etc/nginx/conf.d"
	}
	return n.Dir
}

// reached checks the address of an SSH server.
func (p place) reached(address string) {
	host, port, err := net.SplitHostPort(address)
	switch {
	case address == "" || net.ParseIP(address) != nil:
		return
	case err != nil:
		host = address
	case !validPort(port):
		p.Problem("%s has no valid port", strict.Quote(address))
		return
	}
	if net.ParseIP(host) == nil {
		p.host(host)
	}
}
