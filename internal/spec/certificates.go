package spec

import (
	"net/url"
	"slices"
	"strings"

	"github.com/crossfade-dev/crossfade/internal/spec/strict"
)

// certificates checks the certificates of the environment, and makes the paths of their files absolute.
func (e environment) certificates() {
	at, all := e.at.to("certificates"), e.spec.Certificates
	if e.spec.CertificateBackup == nil {
		if len(all) > 0 && e.at.to("certificateBackup").Readable() {
			e.at.to("certificateBackup").Problem("is missing; the certificates are kept there beyond the generations")
		}
	} else {
		e.backup(e.at.to("certificateBackup"), e.spec.CertificateBackup)
	}
	named, secrets := unique{}, unique{}
	for i := range all {
		c, at := &all[i], at.to(i)
		at.to("name").label(c.Name)
		named.add(at.to("name"), "certificates named", c.Name)
		if s := c.Secret; s.Namespace != "" && s.Name != "" {
			at.to("secret", "namespace").label(s.Namespace)
			at.to("secret", "name").host(s.Name)
			secrets.add(at.to("secret"), "certificates in the Secret", s.Namespace+"/"+s.Name)
		}
		at.to("issuer").issuer(&c.Issuer)
		e.proven(at, c)
	}
}

func (e environment) backup(at place, b *CertificateBackup) {
	at.to("directory").absolute(&b.Directory)
	at.to("identityFile").absolute(&b.IdentityFile)
	if owner, taken := e.backups[b.Directory]; taken && owner != e.name && b.Directory != "" {
		at.to("directory").Problem("already has the certificates of the environment %s", strict.Show(owner))
	}
	e.backups[b.Directory] = e.name
}

func (p place) issuer(i *Issuer) {
	p.to("caFile").absolute(&i.CAFile)
	if i.Account != nil {
		p.to("externalAccount", "keyFile").absolute(&i.Account.KeyFile)
	}
	if u, err := url.Parse(i.Directory); i.Directory != "" && (err != nil || u.Scheme != "https" || u.Host == "") {
		p.to("directory").Problem("%s is not the URL of an ACME directory, https://HOST/PATH", strict.Quote(i.Directory))
	}
	if i.Email != "" && !strings.Contains(strings.Trim(i.Email, "@"), "@") {
		p.to("email").Problem("%s is not an email address", strict.Quote(i.Email))
	}
}

// proven checks the names of a certificate, and that a router can prove them.
func (e environment) proven(at place, c *Certificate) {
	if len(c.Names) == 0 && at.to("names").Readable() {
		at.to("names").Problem("has none; a certificate is for at least one name")
	}
	names := unique{}
	for i, name := range c.Names {
		at := at.to("names", i)
		names.add(at, "names", name)
		base, wildcard := strings.CutPrefix(name, "*.")
		at.host(base)
		if wildcard && c.HTTP01 != "" {
			at.Problem("%s has a wildcard, which http01 cannot prove; use dns01", strict.Show(name))
		}
	}
	for field, router := range map[string]string{"http01": c.HTTP01, "dns01": c.DNS01} {
		if router == "" {
			continue
		}
		if e.routersKnown {
			e.refers(at.to(field), "router", router, e.routers)
		}
		if kind := e.routerOf(router); kind != nil && (field == "http01" && kind.Caddy == nil || field == "dns01" && kind.DNS == nil) {
			at.to(field).Problem("%s", map[string]string{
				"http01": strict.Show(router) + " is not a caddy router, and no other one answers the CA; use dns01",
				"dns01":  strict.Show(router) + " is not a dns router, and has no zone to answer the CA by",
			}[field])
		}
	}
}

// routerOf is a router of the platform; nil where there is none of that name.
func (e environment) routerOf(name string) *Router {
	if e.platform == nil {
		return nil
	}
	i := slices.IndexFunc(e.platform.Spec.Routers, func(r Router) bool { return r.Name == name })
	if i < 0 {
		return nil
	}
	return &e.platform.Spec.Routers[i]
}
