package test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/crossfade-dev/crossfade/internal/certs/pebbletest"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/bindtest"
)

// certify gives the environment a certificate by a real ACME server, which asks for names at a BIND.
func (w *world) certify(t *testing.T, b *bindtest.Server) *pebbletest.CA {
	t.Helper()
	ca := pebbletest.Start(t, pebbletest.Options{DNS: b.Address})
	dir := t.TempDir()
	identity, err := age.GenerateX25519Identity()
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "age"), []byte(identity.String()+"\n"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.replace("production.yaml", "  routes:\n", fmt.Sprintf(`  certificates:
    - name: shop
      names: [shop.example.com, "*.shop.example.com"]
      secret: {namespace: shop-web, name: shop-tls}
      issuer: {directory: %q, caFile: %s}
      dns01: edge
  certificateBackup: {directory: %s/backup, identityFile: %s/age}
  routes:
`, ca.Directory, ca.RootsFile, dir, dir))
	return ca
}

// renewed wants the live generation to have the certificate that an earlier one requested: nothing is requested a second time until it is due,
// and then once. The key is in Secrets and in the backup only.
func (w *world) renewed(t *testing.T, ca *pebbletest.CA, requested string) {
	t.Helper()
	if w.certificate(t) != requested {
		t.Error("the next generation has another certificate")
	}
	w.must("certificates", "renew", environment) // as every day
	if orders, signed := ca.Asked(pebbletest.NewOrder), ca.Asked(pebbletest.Finalize); orders != 1 || signed != 1 {
		t.Errorf("the CA was asked for %d orders, and has signed %d times; want one each", orders, signed)
	}
	ca.RenewNow(t, []byte(requested))
	w.must("certificates", "renew", environment)
	if same := w.certificate(t) == requested; same || ca.Asked(pebbletest.Finalize) != 2 {
		t.Errorf("the CA has signed %d times, and the live generation has the same certificate: %v; want it renewed", ca.Asked(pebbletest.Finalize), same)
	}
	var listed []struct{ Due string }
	if err := json.Unmarshal([]byte(w.must("certificates", environment, "-o", "json").stdout), &listed); err != nil || len(listed) != 1 || listed[0].Due != "" {
		t.Errorf("listed are %+v: %v", listed, err)
	}
	w.keepsSecret(t)
}

// tlsSecret is a field of the live generation's Secret.
func (w *world) tlsSecret(t *testing.T, field string) []byte {
	t.Helper()
	var secret struct{ Data map[string][]byte }
	if err := json.Unmarshal([]byte(w.kubectl(w.live(), "get", "secret", "shop-tls", "-n", "shop-web", "-o", "json")), &secret); err != nil {
		t.Fatal(err)
	}
	return secret.Data[field]
}

// certificate is the chain in the live generation's Secret, in PEM.
func (w *world) certificate(t *testing.T) string {
	t.Helper()
	chain := w.tlsSecret(t, "tls.crt")
	block, _ := pem.Decode(chain)
	if block == nil {
		t.Fatal("the Secret has no certificate in PEM")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil || leaf.VerifyHostname("a.shop.example.com") != nil {
		t.Fatalf("the Secret has the certificate of %v: %v", leaf.DNSNames, err)
	}
	return string(chain)
}

// keepsSecret looks for the private key of the Secret in every file of the state directory but those of the clusters, which have it.
func (w *world) keepsSecret(t *testing.T) {
	t.Helper()
	lines := strings.Split(string(w.tlsSecret(t, "tls.key")), "\n")
	if len(lines) < 3 || len(lines[1]) < 20 {
		t.Fatalf("the key has %d lines", len(lines))
	}
	looked := 0
	err := filepath.WalkDir(w.state, func(path string, d os.DirEntry, err error) error {
		switch {
		case err == nil && d.IsDir() && d.Name() == "local":
			return filepath.SkipDir
		case err != nil || !d.Type().IsRegular():
			return nil // it may have gone meanwhile
		}
		raw, err := os.ReadFile(path)
		looked++
		if strings.Contains(string(raw), lines[1]) || strings.Contains(string(raw), base64.StdEncoding.EncodeToString([]byte(lines[1]))) {
			t.Errorf("the private key is in %s", path)
		}
		return err
	})
	if err != nil || looked < 3 {
		t.Errorf("%d files were looked at: %v", looked, err)
	}
}
