package spec

import (
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/crossfade-dev/crossfade/internal/spec/strict"
)

// validator checks what the types cannot say: names, ranges, files, and whether what documents refer to exists. It makes
// paths absolute on the way.
type validator struct {
	docs     []*document
	complete bool // see loader

	platform     *Platform
	routers      []string
	foundations  []string
	environments []string
	services     map[string]*Service
	serviceNames []string
	hosts        unique            // by router and host, over all environments
	prefixes     map[string]string // the environment that owns each
	backups      map[string]string // the same of directories of certificates
	routersKnown bool
}

func (v *validator) validate() {
	v.services, v.hosts, v.prefixes, v.backups = map[string]*Service{}, unique{}, map[string]string{}, map[string]string{}
	v.collect()
	for _, doc := range v.docs {
		at := in(doc, "spec")
		switch value := doc.value.(type) {
		case *Platform:
			v.routing(at, value)
			v.promotion(at, &value.Spec)
		case *Environment:
			environment{validator: v, at: at, spec: &value.Spec, name: value.Metadata.Name}.validate()
		case *Service:
			v.service(at, &value.Spec)
		case *Stack:
			v.stack(at, &value.Spec)
		}
	}
	v.serviceCycle()
}

// collect notes which documents there are, and checks their names.
func (v *validator) collect() {
	taken := unique{}
	for _, doc := range v.docs {
		if doc.value == nil {
			continue
		}
		at, name := in(doc, "metadata.name"), name(doc.value)
		at.label(name)
		switch value := doc.value.(type) {
		case *Platform:
			if v.platform != nil {
				at.Problem("is a second Platform; a configuration has exactly one")
				continue
			}
			v.platform = value
			v.routersKnown = in(doc, "spec.routers").Readable()
			for _, r := range value.Spec.Routers {
				v.routers = append(v.routers, r.Name)
			}
			continue
		case *Foundation:
			v.foundations = append(v.foundations, name)
		case *Environment:
			v.environments = append(v.environments, name)
		case *Service:
			v.services[name] = value
			v.serviceNames = append(v.serviceNames, name)
		}
		scoped := doc.kind + " " + name
		if first, ok := taken[scoped]; ok && name != "" {
			at.Problem("there are two documents of kind %s with the name %s; the first is at %s", doc.kind, strict.Show(name), first.Where())
		}
		taken[scoped] = at
	}
}

// refers checks that a name is among those known. Where documents could not be read, their names may be missing, and
// nothing is said.
func (v *validator) refers(p place, what, name string, known []string) {
	if name != "" && v.complete && !slices.Contains(known, name) {
		p.Problem("there is no %s %s%s", what, strict.Show(name), strict.Suggest(name, known))
	}
}

func (v *validator) routing(at place, p *Platform) {
	taken, listening := unique{}, unique{}
	for i, r := range p.Spec.Routers {
		at := at.to("routers", i)
		at.to("name").label(r.Name)
		taken.add(at.to("name"), "routers named", r.Name)
		if r.Caddy != nil {
			at := at.to("caddy")
			at.to("listen").address(r.Caddy.Listen)
			listening.add(at.to("listen"), "routers that listen at", r.Caddy.Listen)
			at.to("admin").admin(r.Caddy.Admin)
		}
		if r.HAProxy != nil {
			at := at.to("haproxy")
			at.to("socket").socket(r.HAProxy.Socket)
			listening.add(at.to("socket"), "routers steered through", r.HAProxy.Socket)
			at.to("entry").entry(r.HAProxy.Entry)
		}
		if r.DNS != nil {
			at.to("dns").dnsRouter(r.DNS)
		}
		if r.Gateway != nil {
			at.to("gateway").gatewayRouter(r.Gateway)
		}
		if r.Nginx != nil {
			at.to("nginx").nginxRouter(r.Nginx)
		}
	}
}

// gatewayRouter checks where a Gateway is.
func (p place) gatewayRouter(r *GatewayRouter) {
	p.to("kubeconfig").absolute(&r.Kubeconfig)
	p.to("namespace").label(r.Namespace)
	p.to("gateway").host(r.Gateway)
	p.to("section").host(r.Section)
	p.to("entry").entry(r.Entry)
}

// promotion checks how versions go from environment to environment.
func (v *validator) promotion(at place, p *PlatformSpec) {
	taken := unique{}
	for i, stage := range p.Stages {
		v.refers(at.to("stages", i), "environment", stage, v.environments)
		taken.add(at.to("stages", i), "stages named", stage)
	}
	if p.GoodTag != "" && !tagName.MatchString(p.GoodTag) {
		at.to("goodTag").Problem("%s is not a tag of an image", strict.Quote(p.GoodTag))
	}
}

// address checks host:port, of which the host may be left out.
func (p place) address(text string) {
	if text == "" {
		return
	}
	_, port, err := net.SplitHostPort(text)
	if err != nil || !validPort(port) {
		p.Problem(`%s is not an address to listen at, such as ":80" or "127.0.0.1:8080"`, strict.Quote(text))
	}
}

// admin checks the address of Caddy's admin API.
func (p place) admin(text string) {
	if text == "" || strings.HasPrefix(text, "unix//") && len(text) > len("unix//") {
		return
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		p.Problem(`%s is neither "unix//path" nor "http://host:port"`, strict.Quote(text))
	}
}

// socket checks the address of HAProxy's stats socket.
func (p place) socket(text string) {
	if text == "" || strings.HasPrefix(text, "/") {
		return
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" || !validPort(port) {
		p.Problem(`%s is neither "/path" nor "host:port"`, strict.Quote(text))
	}
}

// entry checks the URL at which a router answers.
func (p place) entry(text string) {
	if text == "" {
		return
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		p.Problem(`%s is neither "http://host:port" nor "https://host:port"`, strict.Quote(text))
	}
}

func validPort(text string) bool {
	n, err := strconv.Atoi(text)
	return err == nil && n >= 1 && n <= 65535
}

func (v *validator) service(at place, s *ServiceSpec) {
	at.to("namespace").label(s.Namespace)
	if s.Image != "" && !imageName.MatchString(s.Image) {
		at.to("image").Problem("%s is not a repository; its tag or digest is the version, and is not written here", strict.Quote(s.Image))
	}
	for i, need := range s.Needs {
		v.refers(at.to("needs", i), "service", need, v.serviceNames)
	}
	at.manifests(&s.Manifests)
	checks(at.to("checks"), s.Checks)
	if b := s.Strategy.BlueGreen; b != nil {
		at := at.to("strategy", "blueGreen")
		if b.Front != nil && b.Front.HTTPRoute != nil {
			at.to("front", "httpRoute", "steps").shares(b.Front.HTTPRoute.Steps)
		}
		if b.Front != nil && b.Front.Nginx != nil {
			at.to("front", "nginx").nginxFront(b.Front.Nginx)
		}
		at = at.to("checks")
		at.preview = true
		checks(at, b.Checks)
	}
}

// shares checks the steps in which users are moved, in percent.
func (p place) shares(steps []int) {
	if !p.Readable() || steps == nil {
		return
	}
	for i, share := range steps {
		if share < 1 || share > 100 {
			p.to(i).Problem("must be between 1 and 100 percent, not %d", share)
			return
		}
		if i > 0 && share <= steps[i-1] {
			p.to(i).Problem("%d does not come after %d; steps ascend", share, steps[i-1])
			return
		}
	}
	if len(steps) == 0 || steps[len(steps)-1] != 100 {
		p.Problem("must end with 100, where every user has moved")
	}
}

// serviceCycle reports one cycle of needs among all services, at the service it begins with.
func (v *validator) serviceCycle() {
	needs := map[string][]string{}
	for name, s := range v.services {
		needs[name] = s.Spec.Needs
	}
	_, cycle := Order(v.serviceNames, needs)
	if cycle == nil {
		return
	}
	for _, doc := range v.docs {
		if s, ok := doc.value.(*Service); ok && s.Metadata.Name == cycle[0] {
			in(doc, "spec.needs").Problem("services need each other in a cycle: %s", strings.Join(cycle, " -> "))
			return
		}
	}
}

func (v *validator) stack(at place, s *StackSpec) {
	if len(s.Services) == 0 && len(s.Objects) == 0 && at.Readable() {
		at.Problem("needs services or objects, or the stack moves nothing")
	}
	for i, name := range s.Services {
		v.refers(at.to("services", i), "service", name, v.serviceNames)
	}
	selectors(at.to("objects"), s.Objects)
}

// manifests checks that the sources of objects are there.
func (p place) manifests(m *Manifests) {
	for i := range m.Files {
		p.to("files", i).resolve(&m.Files[i], "a file or directory of manifests", isFileOrDir)
	}
	p.to("kustomize").resolve(&m.Kustomize, "the directory of a kustomization", isKustomization)
	if m.Helm != nil {
		at := p.to("helm")
		at.to("chart").resolve(&m.Helm.Chart, "a chart", isChart)
		at.to("releaseName").label(m.Helm.ReleaseName)
		for i := range m.Helm.ValuesFiles {
			at.to("valuesFiles", i).resolve(&m.Helm.ValuesFiles[i], "a file", isFile)
		}
	}
}
