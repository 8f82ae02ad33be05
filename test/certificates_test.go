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
	w.keepsSecret(t, "PRIVATE KEY-----")
}

// certificate is the chain in the live generation's Secret, in PEM; its key fits.
func (w *world) certificate(t *testing.T) string {
	t.Helper()
	var secret struct{ Data map[string]string }
	if err := json.Unmarshal([]byte(w.kubectl(w.live(), "get", "secret", "shop-tls", "-n", "shop-web", "-o", "json")), &secret); err != nil {
		t.Fatal(err)
	}
	chain, err := base64.StdEncoding.DecodeString(secret.Data["tls.crt"])
	if err != nil || secret.Data["tls.key"] == "" {
		t.Fatalf("the Secret has %d fields: %v", len(secret.Data), err)
	}
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

// keepsSecret looks for a text in every file of the state directory but those of the clusters, which have Secrets.
func (w *world) keepsSecret(t *testing.T, text string) {
	t.Helper()
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
		if strings.Contains(string(raw), text) {
			t.Errorf("there is a private key in %s", path)
		}
		return err
	})
	if err != nil || looked < 3 {
		t.Errorf("%d files were looked at: %v", looked, err)
	}
}
