package spec

import (
	"net"
	"slices"
	"strings"

	"github.com/crossfade-dev/crossfade/internal/spec/strict"
)

// environment validates one environment.
type environment struct {
	*validator
	at   place
	spec *EnvironmentSpec
	name string
}

func (e environment) validate() {
	if e.spec.Foundation != "" {
		e.refers(e.at.to("foundation"), "foundation", e.spec.Foundation, e.foundations)
	}
	e.prefix()
	e.cluster()
	e.prime()
	e.copying()
	e.placed()
	e.nginx()
	e.routes()
	e.byDNS()
	e.checks()
	e.shift()
	e.promotion()
	e.certificates()
}

// prefix checks what generations are named by. Two environments with one prefix could not tell their generations apart.
func (e environment) prefix() {
	at, prefix := e.at.to("prefix"), e.spec.Prefix
	if prefix == "" {
		at, prefix = in(e.at.doc, "metadata.name"), e.name
	}
	switch {
	case prefix == "":
		return
	case len(prefix) > maxPrefix:
		at.Problem("is %d characters long; the names of generations begin with at most %d, which spec.prefix sets", len(prefix), maxPrefix)
	case e.spec.Prefix != "" && !prefixName.MatchString(prefix):
		at.Problem("%s cannot begin the name of a generation: a lower-case letter, then lower-case letters, digits and hyphens", strict.Quote(prefix))
	}
	if owner, ok := e.prefixes[prefix]; ok && owner != e.name {
		at.Problem("generations named %s... already belong to the environment %s", strict.Show(prefix), strict.Show(owner))
	}
	e.prefixes[prefix] = e.name
}

func (e environment) cluster() {
	at, c := e.at.to("cluster"), e.spec.Cluster
	for name, set := range map[string]bool{"local": c.Local != nil, "existing": c.Existing != nil} {
		if set && c.Provider != name && at.to("provider").Readable() {
			at.to(name).Problem("are options of another provider than %s", strict.Show(c.Provider))
		}
	}
	if c.Provider == "existing" && c.Existing == nil && at.to("existing").Readable() {
		at.to("existing").Problem("is missing; the provider needs its contexts")
	}
	if c.Existing != nil {
		at.to("existing").existing(c.Existing)
	}
}

func (p place) existing(x *ExistingCluster) {
	if at := p.to("contexts"); at.Readable() {
		if len(x.Contexts) != 2 {
			at.Problem("must have exactly two contexts, which generations take in turn, not %d", len(x.Contexts))
		} else if x.Contexts[0] == x.Contexts[1] {
			at.Problem("names the context %s twice", strict.Show(x.Contexts[0]))
		}
		if x.Live != "" && !slices.Contains(x.Contexts, x.Live) {
			p.to("live").Problem("%s is not one of the contexts%s", strict.Show(x.Live), strict.Suggest(x.Live, x.Contexts))
		}
		for context := range x.NodeAddresses {
			if !slices.Contains(x.Contexts, context) {
				p.to("nodeAddresses", context).Problem("is not one of the contexts%s", strict.Suggest(context, x.Contexts))
			}
		}
	}
	for context, addresses := range x.NodeAddresses {
		for i, address := range addresses {
			if net.ParseIP(address) == nil {
				p.to("nodeAddresses", context, i).host(address)
			}
		}
	}
	p.to("kubeconfig").absolute(&x.Kubeconfig)
}

func (e environment) prime() {
	at := e.at.to("prime")
	var units []string
	needs, taken := map[string][]string{}, unique{}
	for _, u := range e.spec.Prime {
		units = append(units, u.Name)
		needs[u.Name] = u.Needs
	}
	for i := range e.spec.Prime {
		u, at := &e.spec.Prime[i], at.to(i)
		at.to("name").label(u.Name)
		taken.add(at.to("name"), "units of prime named", u.Name)
		at.to("namespace").label(u.Namespace)
		for j, need := range u.Needs {
			if e.at.to("prime").Readable() {
				e.refers(at.to("needs", j), "unit of prime", need, units)
			}
		}
		at.manifests(&u.Manifests)
		checks(at.to("checks"), u.Checks)
	}
	if _, cycle := Order(units, needs); cycle != nil {
		at.to(slices.Index(units, cycle[0]), "needs").Problem("units need each other in a cycle: %s", strings.Join(cycle, " -> "))
	}
}

func (e environment) copying() {
	at := e.at.to("copy")
	selectors(at.to("include"), e.spec.Copy.Include)
	selectors(at.to("exclude"), e.spec.Copy.Exclude)
	selectors(at.to("quiesce"), e.spec.Copy.Quiesce)
	byKind(at.to("owners"), e.spec.Copy.Owners, "sync", "git", "backup", "target")
	byKind(at.to("conflicts"), e.spec.Copy.Conflicts, "source", "target")
	for i, r := range e.spec.Copy.References {
		at := at.to("references", i)
		at.to("kind").kind(r.Kind)
		at.to("to").kind(r.To)
	}
}

// byKind checks a choice that is made kind by kind.
func byKind(at place, chosen map[string]string, choices ...string) {
	for kind, choice := range chosen {
		at.to(kind).kind(kind)
		if !slices.Contains(choices, choice) && choice != "" {
			at.to(kind).Problem("must be one of %s, not %s%s", strict.List(choices), strict.Show(choice), strict.Suggest(choice, choices))
		}
	}
}

// placed checks the services of the environment: each exists, is there once, and has what it needs beside it.
func (e environment) placed() {
	at, taken := e.at.to("services"), unique{}
	here := e.serviceNamesHere()
	for i := range e.spec.Services {
		ref := &e.spec.Services[i]
		e.overrides(at.to(i), ref)
		at := at.to(i, "name")
		taken.add(at, "services named", ref.Name)
		e.refers(at, "service", ref.Name, e.serviceNames)
		s := e.services[ref.Name]
		if s == nil || !e.at.to("services").Readable() {
			continue
		}
		for _, need := range s.Spec.Needs {
			if !slices.Contains(here, need) && e.services[need] != nil {
				at.Problem("%s needs %s, which is not among the environment's services", strict.Show(ref.Name), strict.Show(need))
			}
		}
	}
}

// overrides checks what a reference says in place of its service.
func (e environment) overrides(at place, ref *ServiceRef) {
	at.to("namespace").label(ref.Namespace)
	var set []string
	for name, is := range map[string]bool{"files": len(ref.Files) > 0, "kustomize": ref.Kustomize != "", "helm": ref.Helm != nil} {
		if is {
			set = append(set, name)
		}
	}
	if slices.Sort(set); len(set) > 1 {
		at.Problem("has %s, but at most one of them may be set", strict.List(set))
	}
	at.manifests(&ref.Manifests)
	checks(at.to("checks"), ref.Checks)
}

func (e environment) serviceNamesHere() []string {
	var result []string
	for _, ref := range e.spec.Services {
		result = append(result, ref.Name)
	}
	return result
}

func (e environment) routes() {
	taken := unique{}
	for i, r := range e.spec.Routes {
		at := e.at.to("routes", i)
		at.to("host").host(r.Host)
		at.to("preLive").host(r.PreLive)
		if r.PreLive != "" && r.PreLive == r.Host {
			at.to("preLive").Problem("is the live host itself; the next generation needs a name of its own")
		} else {
			e.claim(at, taken, r)
		}
		if e.platform != nil && e.routersKnown {
			e.refers(at.to("router"), "router", r.Router, e.routers)
		}
		if e.at.to("services").Readable() && r.Service != "" && !slices.Contains(e.serviceNamesHere(), r.Service) {
			at.to("service").Problem("%s is not among the environment's services%s", strict.Show(r.Service), strict.Suggest(r.Service, e.serviceNamesHere()))
		}
		at.backend(r)
	}
}

// claim notes the two names of a route: neither may belong to another route of the environment, nor to any of its router.
func (e environment) claim(at place, taken unique, r Route) {
	names := map[string]string{"host": r.Host}
	if r.Host != "" {
		names["preLive"] = r.PreLiveHost()
	}
	for field, host := range names {
		mine, theirs := taken[host], e.hosts[r.Router+" "+host]
		switch {
		case host == "":
		case mine.doc != nil:
			at.to(field).Problem("there are two routes with the host %s; the first is at %s", host, mine.Where())
		case theirs.doc != nil:
			at.to(field).Problem("the router %s has a route with the host %s already, at %s", strict.Show(r.Router), host, theirs.Where())
		}
		taken[host], e.hosts[r.Router+" "+host] = at.to(field), at.to(field)
	}
}

// backend checks where a route is answered.
func (p place) backend(r Route) {
	if r.Backend != nil {
		p.to("backend", "namespace").label(r.Backend.Namespace)
		p.to("backend", "name").label(r.Backend.Name)
	}
	if r.Port != "" && !validPort(r.Port) && !validPortName(r.Port) {
		p.to("port").Problem("%s is neither a port number (1 to 65535) nor the name of one", strict.Quote(r.Port))
	}
	if r.Health != "" && !strings.HasPrefix(r.Health, "/") {
		p.to("health").Problem("%s is not a path; it does not begin with /", strict.Quote(r.Health))
	}
}

// validPortName reports whether a text can be the name of a port (RFC 6335 section 5.1).
func validPortName(text string) bool {
	return len(text) <= 15 && dnsLabel.MatchString(text) && strings.ContainsAny(text, "abcdefghijklmnopqrstuvwxyz")
}

// checks validates the environment's checks, and that every check of a route, those of its services among them, has one.
func (e environment) checks() {
	checks(e.at.to("verify"), e.spec.Verify)
	checks(e.at.to("gate", "checks"), e.spec.Gate.Checks)
	checks(e.at.to("shift", "checks"), e.spec.Shift.Checks)
	if !e.at.to("routes").Readable() {
		return
	}
	e.routed(e.at.to("verify"), e.spec.Verify)
	e.routed(e.at.to("gate", "checks"), e.spec.Gate.Checks)
	e.routed(e.at.to("shift", "checks"), e.spec.Shift.Checks)
	for i, u := range e.spec.Prime {
		e.routed(e.at.to("prime", i, "checks"), u.Checks)
	}
	for i, ref := range e.spec.Services {
		e.routed(e.at.to("services", i, "checks"), ref.Checks)
		for _, doc := range e.docs {
			if s, ok := doc.value.(*Service); ok && s.Metadata.Name == ref.Name && ref.Checks == nil {
				e.routed(in(doc, "spec.checks"), s.Spec.Checks)
			}
		}
	}
}

// promotion checks what stands before a promotion: there must be a stage that a version is promoted from, whose routes its checks may ask.
func (e environment) promotion() {
	at, p := e.at.to("promotion"), &e.spec.Promotion
	checks(at.to("checks"), p.Checks)
	if e.platform == nil || !e.complete || len(p.Checks) == 0 && p.Soak == 0 && p.Approve == "" {
		return
	}
	before, _ := e.platform.StagesBefore(e.name)
	if len(before) == 0 {
		at.Problem("is never asked for: %s is not among the platform's stages behind another one", strict.Show(e.name))
		return
	}
	for _, doc := range e.docs {
		if other, ok := doc.value.(*Environment); ok && other.Metadata.Name == before[len(before)-1] && in(doc, "spec.routes").Readable() {
			environment{validator: e.validator, spec: &other.Spec, name: other.Metadata.Name}.routed(at.to("checks"), p.Checks)
		}
	}
}

func (e environment) routed(at place, list []Check) {
	var hosts []string
	for _, r := range e.spec.Routes {
		hosts = append(hosts, r.Host)
	}
	for i, c := range list {
		if c.HTTP != nil && c.HTTP.Route != "" && !slices.Contains(hosts, c.HTTP.Route) {
			at.to(i, "http", "route").Problem("the environment %s has no route with the host %s%s", strict.Show(e.name), strict.Show(c.HTTP.Route), strict.Suggest(c.HTTP.Route, hosts))
		}
	}
}

// router is the one of a name; nil when there is none.
func (e environment) router(name string) *Router {
	if e.platform == nil {
		return nil
	}
	for i, r := range e.platform.Spec.Routers {
		if r.Name == name {
			return &e.platform.Spec.Routers[i]
		}
	}
	return nil
}
