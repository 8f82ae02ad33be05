package step

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/certs"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/spec"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// requestLimit bounds the request of one certificate, the waits for other processes and for DNS included.
const requestLimit = 15 * time.Minute

// RestoreCertificates puts the certificates of the backup into the new generation. One that the backup lacks, or has in a worse state, is
// taken into the backup from the live generation first. Nothing is asked of a CA.
func (t *Toolbox) RestoreCertificates(ctx context.Context, id ID) error {
	return t.do(ctx, id, "restoring certificates", "", func(ctx context.Context, j *job) error {
		backup, err := certs.OpenBackup(j.plan.CertificateBackup.Directory, j.plan.CertificateBackup.IdentityFile)
		if err != nil {
			return err
		}
		to, err := j.connect(ctx, j.plan.Generation)
		if err != nil {
			return err
		}
		var restored, missing []string
		for _, c := range j.plan.Certificates {
			p, err := j.adopt(ctx, backup, c)
			if err != nil {
				return err
			}
			if why := unfit(p, c, t.Now()); why != "" {
				j.say("%s is not restored: %s", c.Name, why)
				missing = append(missing, c.Name)
				continue
			}
			if err := putSecret(ctx, to, c.Secret, p); err != nil {
				return err
			}
			restored = append(restored, c.Name)
		}
		j.done = "restored " + listOf(restored) + " from the backup"
		if len(missing) > 0 {
			j.done += "; it has none that serves of " + listOf(missing)
		}
		return nil
	})
}

// unfit says why a certificate of the backup is not restored; "" where it is.
func unfit(p *certs.Pair, c plan.Certificate, now time.Time) string {
	if p == nil {
		return "there is none in the backup"
	}
	return p.Unfit(c.Names, now)
}

// adopt returns what the backup has of a certificate; where the live generation has one that serves and the backup has none, or one that
// ends sooner, it is put into the backup before.
func (j *job) adopt(ctx context.Context, backup *certs.Backup, c plan.Certificate) (*certs.Pair, error) {
	kept, err := backup.Get(c.Name)
	if err != nil || j.plan.Previous == "" {
		return kept, err
	}
	from, err := j.connect(ctx, j.plan.Previous)
	if err != nil {
		return nil, err
	}
	live, err := secretIn(ctx, from, c.Secret)
	if err != nil || live == nil || live.Unfit(c.Names, j.Now()) != "" {
		return kept, err
	}
	better := func(kept *certs.Pair) bool {
		return kept == nil || kept.Unfit(c.Names, j.Now()) != "" || kept.NotAfter().Before(live.NotAfter())
	}
	if !better(kept) {
		return kept, nil
	}
	kept, err = backup.Adopt(ctx, c.Name, live, better, func() { j.say("waiting for another process, which requests a certificate") })
	if err == nil && kept == live {
		j.say("took the certificate %s of %s into the backup", c.Name, j.plan.Previous)
	}
	return kept, err
}

// RequestCertificates requests the certificates that the backup lacks, or that are due, and puts them into the backup, then into the new
// generation. Where one that still serves cannot be renewed, the run goes on with it.
func (t *Toolbox) RequestCertificates(ctx context.Context, id ID) error {
	return t.do(ctx, id, "requesting certificates that are missing or due", "nothing was requested", func(ctx context.Context, j *job) error {
		backup, err := certs.OpenBackup(j.plan.CertificateBackup.Directory, j.plan.CertificateBackup.IdentityFile)
		if err != nil {
			return err
		}
		var got []string
		for _, c := range j.plan.Certificates {
			requested, err := j.certify(ctx, backup, c)
			if err != nil {
				return err
			}
			if requested {
				got = append(got, c.Name)
			}
		}
		if len(got) > 0 {
			j.done = "requested " + listOf(got)
		}
		return nil
	})
}

// certify requests a certificate if it is missing or due, and reports whether it did. The new generation is given what the backup has then:
// an earlier time may have ended, or somebody else requested it, after it was restored.
func (j *job) certify(ctx context.Context, backup *certs.Backup, c plan.Certificate) (bool, error) {
	r := &certs.Request{Of: c.Certificate, Backup: backup, Now: j.Now, Say: j.say}
	kept, err := backup.Get(c.Name)
	if err != nil {
		return false, err
	}
	p := kept
	if r.Due(kept) != "" {
		if p, err = j.obtain(ctx, r, c, kept); err != nil {
			return false, err
		}
	}
	to, err := j.connect(ctx, j.plan.Generation)
	if err != nil {
		return false, err
	}
	return p != kept, putSecret(ctx, to, c.Secret, p)
}

// obtain requests a certificate. Where that fails and the one of before still serves, it is that.
func (j *job) obtain(ctx context.Context, r *certs.Request, c plan.Certificate, kept *certs.Pair) (p *certs.Pair, err error) {
	if r.Prover, err = j.prover(ctx, c); err != nil {
		return nil, err
	}
	p, err = obtain(ctx, r)
	if err != nil && ctx.Err() == nil && unfit(kept, c, j.Now()) == "" {
		j.say("%s goes on with its certificate of before, until %s: %v", c.Name, kept.NotAfter().UTC().Format(time.DateTime+" MST"), err)
		return kept, nil
	}
	return p, err
}

func obtain(ctx context.Context, r *certs.Request) (*certs.Pair, error) {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	return r.Obtain(ctx)
}

// prover proves the names of a certificate by its router.
func (t *Toolbox) prover(ctx context.Context, c plan.Certificate) (certs.Prover, error) {
	if t.makeProver != nil {
		return t.makeProver(c)
	}
	if err := openRouter(ctx, c.Router, t.StateDir); err != nil {
		return nil, err
	}
	router, err := t.router(c.Router)
	if err != nil {
		return nil, err
	}
	answerer, answers := router.(traffic.Answerer)
	publisher, publishes := router.(traffic.Publisher)
	switch {
	case c.HTTP01 != "" && answers:
		return certs.NewHTTP(answerer, c.Router.Name), nil
	case c.DNS01 != "" && publishes:
		return &certs.DNS{Zone: publisher}, nil
	}
	return nil, fault.New(fault.Invalid, "cannot prove the names of %s: the router %s does not", c.Name, c.Router.Name).WithHint("name a caddy router in http01, or a dns router in dns01")
}

// secretRef is a Secret without its content.
func secretRef(s spec.SecretName) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"namespace": s.Namespace, "name": s.Name},
	}}
}

// secretIn reads a certificate from a Secret; nil where there is none, or none that can be used.
func secretIn(ctx context.Context, in *kube.Cluster, s spec.SecretName) (*certs.Pair, error) {
	found, err := in.Get(ctx, secretRef(s))
	if err != nil || found == nil {
		return nil, err
	}
	value := func(key string) []byte {
		text, _, _ := unstructured.NestedString(found.Object, "data", key)
		raw, _ := base64.StdEncoding.DecodeString(text) // nothing is no certificate either
		return raw
	}
	p, err := certs.NewPair(value("tls.crt"), value("tls.key"))
	if err != nil {
		return nil, nil //nolint:nilerr,nilnil // documented
	}
	return p, nil
}

// putSecret writes a certificate into a Secret, and makes its namespace where that is missing.
func putSecret(ctx context.Context, in *kube.Cluster, s spec.SecretName, p *certs.Pair) error {
	namespace := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": s.Namespace}}}
	there, err := in.Get(ctx, namespace)
	if err != nil {
		return err
	}
	if there == nil {
		if _, err := in.Create(ctx, namespace); err != nil {
			return err
		}
	}
	secret := secretRef(s)
	secret.Object["type"] = "kubernetes.io/tls"
	secret.Object["data"] = map[string]any{
		"tls.crt": base64.StdEncoding.EncodeToString(p.Chain), "tls.key": base64.StdEncoding.EncodeToString(p.Key),
	}
	existing, err := in.Get(ctx, secret)
	if err != nil {
		return err
	}
	_, err = in.Write(ctx, secret, existing, true)
	return err
}

func listOf(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return fmt.Sprintf("the certificates %s", strings.Join(names, ", "))
}
