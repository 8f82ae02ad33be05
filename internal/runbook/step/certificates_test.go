package step

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/certs"
	"github.com/crossfade-dev/crossfade/internal/certs/pebbletest"
	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// answering is a router that answers by itself.
type answering struct {
	*httptest.Server
	mu    sync.Mutex
	texts map[string]string // by path
}

func startAnswering(t *testing.T) *answering {
	t.Helper()
	a := &answering{texts: map[string]string{}}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if text, known := a.texts[r.URL.Path]; known {
			fmt.Fprint(w, text)
		} else {
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *answering) Answer(_ context.Context, _, path, text string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.texts[path] = text
	return nil
}

func (a *answering) Silence(context.Context, string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.texts)
	return nil
}

// certified is a bench with a certificate, a CA, and clusters that are API servers.
type certified struct {
	*bench
	ca       *pebbletest.CA
	old, new *kubetest.Server
	backup   spec.CertificateBackup
	env      spec.Environment
	cfg      *spec.Config
}

func newCertified(t *testing.T) *certified {
	t.Helper()
	router := startAnswering(t)
	_, port, err := net.SplitHostPort(router.Listener.Addr().String())
	ok(t, err)
	c := &certified{
		ca: pebbletest.Start(t, pebbletest.Options{HTTPPort: port, Validity: 3600}), old: kubetest.Start(t, "old"), new: kubetest.Start(t, "new"),
		backup: spec.CertificateBackup{Directory: filepath.Join(t.TempDir(), "backup"), IdentityFile: newIdentity(t)},
	}
	of := spec.Certificate{
		Name: "shop", Names: []string{"shop.example.com"}, HTTP01: "front", Secret: spec.SecretName{Namespace: "shop", Name: "shop-tls"},
		Issuer: spec.Issuer{Directory: c.ca.Directory, CAFile: c.ca.RootsFile},
	}
	c.bench = newBench(t, func(p *plan.Plan) {
		p.Certificates = []plan.Certificate{{Certificate: of, Router: p.Routes[0].Router}}
		p.CertificateBackup = &c.backup
		p.Routes = nil
	})
	c.time = time.Now().UTC()
	c.clusters.accesses = map[string]cluster.Access{"old": c.old.Access, "new": c.new.Access}
	c.makeProver = func(plan.Certificate) (certs.Prover, error) {
		h := certs.NewHTTP(router, "front")
		h.Client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, router.Listener.Addr().String())
		}
		return h, nil
	}
	c.env = spec.Environment{Metadata: spec.Metadata{Name: "production"}, Spec: spec.EnvironmentSpec{
		Cluster: spec.Cluster{Provider: "local"}, Certificates: []spec.Certificate{of}, CertificateBackup: &c.backup,
	}}
	c.cfg = &spec.Config{Environments: []spec.Environment{c.env}}
	c.cfg.Platform.Spec.Routers = []spec.Router{{Name: "front", Caddy: &spec.CaddyRouter{Listen: ":80"}}}
	return c
}

func newIdentity(t *testing.T) string {
	t.Helper()
	key, err := age.GenerateX25519Identity()
	ok(t, err)
	file := filepath.Join(t.TempDir(), "backup.key")
	ok(t, os.WriteFile(file, []byte(key.String()+"\n"), 0o600))
	return file
}

// secret is what a cluster has; nil for none.
func (c *certified) secret(t *testing.T, in *kubetest.Server) *unstructured.Unstructured {
	t.Helper()
	found, err := in.Connect(t).Get(t.Context(), secretRef(c.env.Spec.Certificates[0].Secret))
	ok(t, err)
	return found
}

// forget takes the Secret away, as the next generation has none.
func (c *certified) forget(t *testing.T, in *kubetest.Server) {
	t.Helper()
	ok(t, in.Connect(t).Delete(t.Context(), secretRef(c.env.Spec.Certificates[0].Secret)))
}

// lose takes the backup away.
func (c *certified) lose(t *testing.T) {
	t.Helper()
	ok(t, os.Remove(filepath.Join(c.backup.Directory, "shop.age")))
}

func (c *certified) restore(t *testing.T, time int) error {
	t.Helper()
	return c.RestoreCertificates(t.Context(), ID{Run: "r1", Name: "certificates/restore", Time: time})
}

func (c *certified) request(t *testing.T, time int) error {
	t.Helper()
	return c.RequestCertificates(t.Context(), ID{Run: "r1", Name: "certificates/request", Time: time})
}

func (c *certified) asked(t *testing.T, reason string, want int) {
	t.Helper()
	if got := c.ca.Asked(pebbletest.Finalize); got != want {
		t.Errorf("%s: %d certificates were requested, want %d", reason, got, want)
	}
}

// TestCertificates goes through two roll-overs, and what may befall a backup between them.
func TestCertificates(t *testing.T) {
	c := newCertified(t)
	ok(t, c.restore(t, 1))
	if c.secret(t, c.new) != nil {
		t.Error("there is a Secret that nobody has made")
	}
	ok(t, c.request(t, 1))
	first := c.secret(t, c.new)
	same(t, "its type", "kubernetes.io/tls", first.Object["type"].(string))
	ok(t, c.request(t, 2))
	c.asked(t, "the first generation", 1)

	c.forget(t, c.new)
	ok(t, c.restore(t, 2))
	ok(t, c.request(t, 3))
	same(t, "the next generation has the same one", first.Object["data"], c.secret(t, c.new).Object["data"])
	c.asked(t, "the next generation", 1)

	c.forget(t, c.new)
	ok(t, c.request(t, 4))
	same(t, "somebody else requested it, or a time before this was stopped", first.Object["data"], c.secret(t, c.new).Object["data"])
	c.asked(t, "it is in the backup", 1)

	c.adopts(t, first)
	c.renews(t, first)
	c.goesOn(t)
	c.tellsNoKeys(t)
}

// adopts: a backup that lost it takes it from the live generation.
func (c *certified) adopts(t *testing.T, first *unstructured.Unstructured) {
	t.Helper()
	c.lose(t)
	c.forget(t, c.new)
	live := secretRef(c.env.Spec.Certificates[0].Secret)
	live.Object["type"], live.Object["data"] = first.Object["type"], first.Object["data"]
	ns := kubetest.Objects(t, "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}")[0]
	_, err := c.old.Connect(t).Create(t.Context(), ns)
	ok(t, err)
	_, err = c.old.Connect(t).Create(t.Context(), live)
	ok(t, err)
	ok(t, c.restore(t, 3))
	same(t, "that of the live generation", first.Object["data"], c.secret(t, c.new).Object["data"])
	c.asked(t, "a lost backup", 1)
}

// renews: the command requests what is due, and puts it into every generation that has it.
func (c *certified) renews(t *testing.T, first *unstructured.Unstructured) {
	t.Helper()
	ok(t, c.Records.PutGeneration(t.Context(), record.Generation{Environment: "production", Name: "old", Phase: record.Live, Run: "r0"}))
	c.clusters.standing["production2611210259"], c.clusters.accesses["production2611210259"] = cluster.Ready, c.new.Access
	c.wait(45 * time.Minute)
	states, err := c.Certificates(&c.env)
	ok(t, err)
	if !strings.Contains(states[0].Due, "to be renewed since") {
		t.Errorf("it is not due: %+v", states[0])
	}
	kept, err := c.inBackup(&c.env)
	ok(t, err)
	if !strings.Contains(kept["shop"], "one will be requested: it is to be renewed since") {
		t.Errorf("the plan says %v", kept)
	}
	var said []string
	say := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	_, err = c.Renew(t.Context(), c.cfg, &c.env, "other", say)
	wantCode(t, "a name that is none", err, fault.Invalid)
	states, err = c.Renew(t.Context(), c.cfg, &c.env, "", say)
	ok(t, err)
	same(t, "what it returns", 1, len(states))
	same(t, "in both", c.secret(t, c.old).Object["data"], c.secret(t, c.new).Object["data"])
	if bytes.Equal(jsonOf(first.Object["data"]), jsonOf(c.secret(t, c.new).Object["data"])) {
		t.Error("it is the one of before")
	}
	c.asked(t, "renewed", 2)
}

// goesOn: a renewal that fails does not end a roll-over while the certificate serves, and does once it has expired.
func (c *certified) goesOn(t *testing.T) {
	t.Helper()
	c.ca.Before(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusTeapot); return true })
	c.wait(-45*time.Minute + 41*time.Minute)
	ok(t, c.request(t, 5))
	if story := strings.Join(c.story(t), "\n"); !strings.Contains(story, "shop goes on with its certificate of before") {
		t.Errorf("nobody is told that it is not renewed:\n%s", story)
	} else if !strings.HasSuffix(story, "nothing was requested") {
		t.Errorf("it is said to be requested:\n%s", story)
	}
	c.asked(t, "the CA refuses", 2)
}

// tellsNoKeys looks for the private key in the record.
func (c *certified) tellsNoKeys(t *testing.T) {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(c.secret(t, c.new).Object["data"].(map[string]any)["tls.key"].(string))
	ok(t, err)
	line := strings.Split(string(key), "\n")[1]
	raw, err := json.Marshal(c.events(t, "r1"))
	ok(t, err)
	for _, part := range []string{line, base64.StdEncoding.EncodeToString(key), "PRIVATE KEY"} {
		if bytes.Contains(raw, []byte(part)) {
			t.Error("a private key is in the record")
		}
	}
}

// TestCertificatesUnfit: each kind of bad input is one clear error, or is replaced.
func TestCertificatesUnfit(t *testing.T) {
	c := newCertified(t)
	ok(t, c.request(t, 1))
	c.forget(t, c.new)
	cases := map[string]struct {
		reason string
		edit   func(*plan.Plan)
		code   fault.Code
		says   string
	}{
		"WrongKey": {
			"an age key that it was not encrypted for", func(p *plan.Plan) {
				p.CertificateBackup = &spec.CertificateBackup{Directory: c.backup.Directory, IdentityFile: newIdentity(t)}
			},
			fault.Invalid, "was encrypted for another key than those in",
		},
		"NoKey": {
			"no age key", func(p *plan.Plan) {
				p.CertificateBackup = &spec.CertificateBackup{Directory: c.backup.Directory, IdentityFile: c.ca.RootsFile}
			},
			fault.Invalid, "it is not a file of age identities",
		},
		"WrongName": {
			"one for other names is not restored", func(p *plan.Plan) { p.Certificates[0].Names = []string{"other.example.com"} },
			"", "shop is not restored: it is for shop.example.com, and not for other.example.com",
		},
	}
	n := 1
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			n++
			run := fmt.Sprintf("r%d", n)
			p := c.plan
			p.Certificates = append([]plan.Certificate(nil), c.plan.Certificates...)
			tc.edit(&p)
			ok(t, c.Begin(t.Context(), Start{Run: run, Operation: Rollover, By: "me@here", Plan: p}))
			err := c.RestoreCertificates(t.Context(), ID{Run: run, Name: "certificates/restore", Time: 1})
			wantCode(t, tc.reason, err, tc.code)
			if err != nil && fault.HintOf(err) == "" {
				t.Errorf("%s: %v has no hint", tc.reason, err)
			}
			if told, _ := json.Marshal(c.events(t, run)); !strings.Contains(string(told), tc.says) {
				t.Errorf("%s: told is %s", tc.reason, told)
			}
			if c.secret(t, c.new) != nil {
				t.Error("there is a Secret")
			}
		})
	}
}

// TestRenewFirstIntoBackup: a certificate is renewed into the backup though the live generation is not to be reached, and put there later.
func TestRenewFirstIntoBackup(t *testing.T) {
	c := newCertified(t)
	ok(t, c.Records.PutGeneration(t.Context(), record.Generation{Environment: "production", Name: "old", Phase: record.Live, Run: "r0"}))
	c.clusters.standing["old"] = cluster.Phase("stopped")
	say := func(string, ...any) {}
	_, err := c.Renew(t.Context(), c.cfg, &c.env, "shop", say)
	wantCode(t, "the live generation is not ready", err, fault.Unavailable)
	c.asked(t, "into the backup", 1)
	c.clusters.standing["old"] = cluster.Ready
	_, err = c.Renew(t.Context(), c.cfg, &c.env, "shop", say)
	ok(t, err)
	if c.secret(t, c.old) == nil {
		t.Error("the live generation does not have it")
	}
	c.asked(t, "once", 1)
}
