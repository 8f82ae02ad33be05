package step

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/crossfade-dev/crossfade/internal/certs"
	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// inBackup says in words what the backup has of each certificate; nil where there are none.
func (t *Toolbox) inBackup(env *spec.Environment) (map[string]string, error) {
	states, err := t.Certificates(env)
	if err != nil || len(states) == 0 {
		return nil, err
	}
	all := map[string]string{}
	for _, s := range states {
		switch {
		case s.Due != "":
			all[s.Name] = "one will be requested: " + s.Due
		default:
			all[s.Name] = "valid until " + s.NotAfter.Format(time.DateOnly)
		}
	}
	return all, nil
}

// CertificateState is what the backup has of a certificate.
type CertificateState struct {
	Name     string     `json:"name"`
	Names    []string   `json:"names"`
	Secret   string     `json:"secret"`             // NAMESPACE/NAME
	File     string     `json:"file"`               // where it is kept
	NotAfter *time.Time `json:"notAfter,omitempty"` // absent while the backup has none
	Renewal  *time.Time `json:"renewal,omitempty"`  // from when on it is renewed
	Due      string     `json:"due,omitempty"`      // why it is to be requested now
}

// Certificates looks at the certificates of an environment in its backup. It asks nobody.
func (t *Toolbox) Certificates(env *spec.Environment) ([]CertificateState, error) {
	all := []CertificateState{}
	if len(env.Spec.Certificates) == 0 {
		return all, nil
	}
	backup, err := certs.OpenBackup(env.Spec.CertificateBackup.Directory, env.Spec.CertificateBackup.IdentityFile)
	if err != nil {
		return nil, err
	}
	for _, c := range env.Spec.Certificates {
		p, err := backup.Get(c.Name)
		if err != nil {
			return nil, err
		}
		s := CertificateState{Name: c.Name, Names: c.Names, Secret: c.Secret.Namespace + "/" + c.Secret.Name, File: backup.File(c.Name)}
		if p != nil {
			end, renewal := p.NotAfter().UTC(), p.Renewal()
			s.NotAfter, s.Renewal = &end, &renewal
		}
		s.Due = (&certs.Request{Of: c, Now: t.Now}).Due(p)
		all = append(all, s)
	}
	return all, nil
}

// Renew requests the certificates of an environment that are due, or one of them by its name, into the backup, and after it puts what the
// backup has into the Secrets of the live generation, and of others that have them. One that fails keeps no other one. It returns what
// the backup has then, and may be called by any process at any time.
func (t *Toolbox) Renew(ctx context.Context, cfg *spec.Config, env *spec.Environment, only string, say func(format string, args ...any)) ([]CertificateState, error) {
	all, err := chosen(cfg, env, only)
	if err != nil {
		return nil, err
	}
	backup, err := certs.OpenBackup(env.Spec.CertificateBackup.Directory, env.Spec.CertificateBackup.IdentityFile)
	if err != nil {
		return nil, err
	}
	got, failed := map[string]*certs.Pair{}, error(nil)
	for _, c := range all {
		p, err := t.renew(ctx, c, backup, say)
		if err != nil {
			say("%s is not renewed: %v", c.Name, err)
			failed = cmp.Or(failed, err)
			continue
		}
		got[c.Name] = p
	}
	standing, err := t.standing(ctx, cfg, env)
	if err != nil {
		return nil, cmp.Or(failed, err)
	}
	for _, c := range all {
		if p := got[c.Name]; p != nil {
			if err := standing.put(ctx, c, p, say); err != nil {
				return nil, cmp.Or(failed, err)
			}
		}
	}
	if failed != nil {
		return nil, failed
	}
	return t.Certificates(env)
}

// chosen are the certificates of an environment, or the one of a name.
func chosen(cfg *spec.Config, env *spec.Environment, only string) ([]plan.Certificate, error) {
	all, err := plan.Certificates(cfg, env)
	if err != nil {
		return nil, err
	}
	if only != "" {
		all = slices.DeleteFunc(all, func(c plan.Certificate) bool { return c.Name != only })
	}
	if len(all) == 0 {
		return nil, fault.New(fault.Invalid, "environment %s has no certificate %s", env.Metadata.Name, only).WithHint("list them with crossfade certificates %s", env.Metadata.Name)
	}
	return all, nil
}

// renew requests a certificate into the backup if it is due.
func (t *Toolbox) renew(ctx context.Context, c plan.Certificate, backup *certs.Backup, say func(format string, args ...any)) (*certs.Pair, error) {
	prover, err := t.prover(ctx, c)
	if err != nil {
		return nil, err
	}
	return obtain(ctx, &certs.Request{Of: c.Certificate, Backup: backup, Prover: prover, Now: t.Now, Say: say})
}

// reachable are those of an environment that can be reached.
type reachable struct {
	live     string // "" for none
	clusters map[string]*kube.Cluster
}

// standing connects to the generations of an environment. The live one must be ready; others that are not are left out.
func (t *Toolbox) standing(ctx context.Context, cfg *spec.Config, env *spec.Environment) (reachable, error) {
	g := reachable{clusters: map[string]*kube.Cluster{}}
	routes, err := plan.Routes(cfg, env)
	if err != nil {
		return g, err
	}
	s := scope{Environment: env.Metadata.Name, Prefix: env.GenerationPrefix(), Cluster: env.Spec.Cluster, Routes: routes}
	provider, err := t.provider(s.Cluster, s.Environment)
	if err != nil {
		return g, err
	}
	seen, err := t.observe(ctx, s)
	if err != nil {
		return g, err
	}
	g.live = seen.Live
	names := seen.Generations
	if g.live != "" && !slices.Contains(names, g.live) {
		names = append(names, g.live)
	}
	for _, name := range names {
		status, err := provider.Observe(ctx, name)
		if err != nil {
			return g, err
		}
		if status.Phase != cluster.Ready {
			if name == g.live {
				return g, fault.New(fault.Unavailable, "cluster %s is not ready: %s %s", name, status.Phase, status.Detail).WithHint("see crossfade status %s", env.Metadata.Name)
			}
			continue
		}
		if g.clusters[name], err = kube.Connect(status.Access); err != nil {
			return g, err
		}
	}
	return g, nil
}

// put writes a certificate into the live generation, and into others that have its Secret.
func (g reachable) put(ctx context.Context, c plan.Certificate, p *certs.Pair, say func(format string, args ...any)) error {
	for _, name := range slices.Sorted(maps.Keys(g.clusters)) {
		in := g.clusters[name]
		if name != g.live {
			found, err := in.Get(ctx, secretRef(c.Secret))
			if err != nil {
				return err
			}
			if found == nil {
				continue
			}
		}
		if err := putSecret(ctx, in, c.Secret, p); err != nil {
			return err
		}
		say("%s has the certificate %s, valid until %s", name, c.Name, p.NotAfter().UTC().Format(time.DateTime+" MST"))
	}
	return nil
}
