package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/certs/pebbletest"
	"github.com/crossfade-dev/crossfade/internal/fault"
)

// authority is a CA in a test's hand.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// sign makes a certificate, of itself where by is nil.
func sign(t *testing.T, by *authority, until time.Time, name string, names ...string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: names,
		NotBefore: until.Add(-90 * 24 * time.Hour), NotAfter: until, IsCA: len(names) == 0, BasicConstraintsValid: true,
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	ok(t, err)
	cert, err := x509.ParseCertificate(der)
	ok(t, err)
	return &authority{cert, key}
}

// pem writes certificates in PEM.
func (a *authority) pem(more ...*authority) []byte {
	var all []byte
	for _, x := range append([]*authority{a}, more...) {
		all = append(all, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: x.cert.Raw})...)
	}
	return all
}

// pair is a leaf with its chain.
func (a *authority) pair(t *testing.T, chain ...*authority) *Pair {
	t.Helper()
	key, err := encode(a.key)
	ok(t, err)
	p, err := NewPair(a.pem(chain...), key)
	ok(t, err)
	return p
}

// TestDue says of what a backup may have why another certificate is to be requested.
func TestDue(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	days := func(n int) time.Time { return now.Add(time.Duration(n) * 24 * time.Hour) }
	root, past := sign(t, nil, days(1000), "Root"), sign(t, nil, days(-2), "Root of before")
	cases := map[string]struct {
		reason string
		pair   *Pair
		want   string
	}{
		"Good":      {"two thirds of its life are not over", sign(t, root, days(31), "", "shop.example.com").pair(t, root), ""},
		"MoreNames": {"other names beside ours do no harm", sign(t, root, days(31), "", "a.example.com", "shop.example.com").pair(t), ""},
		"Due":       {"the last third of 90 days", sign(t, root, days(29), "", "shop.example.com").pair(t), "it is to be renewed since 2026-11-20 12:00 UTC"},
		"Expired":   {"", sign(t, root, days(-1), "", "shop.example.com").pair(t), "it expired on 2026-11-20 12:00 UTC"},
		"Early":     {"", sign(t, root, days(100), "", "shop.example.com").pair(t), "it is not valid before 2026-12-01 12:00 UTC"},
		"OtherName": {"", sign(t, root, days(31), "", "other.example.com").pair(t), "it is for other.example.com, and not for shop.example.com"},
		"Wildcard":  {"a wildcard is another name, which a CA counts apart", sign(t, root, days(31), "", "*.example.com").pair(t), "it is for *.example.com, and not for shop.example.com"},
		"CAExpired": {"nobody trusts it any more", sign(t, past, days(31), "", "shop.example.com").pair(t, past), `its issuer "Root of before" expired on 2026-11-19 12:00 UTC`},
		"None":      {"", nil, "there is none in the backup"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := &Request{Now: func() time.Time { return now }}
			r.Of.Names = []string{"shop.example.com"}
			if got := r.Due(tc.pair); got != tc.want {
				t.Errorf("%s: got %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}

// TestBackup keeps certificates, and says clearly what is wrong with one that cannot be used.
func TestBackup(t *testing.T) {
	root := sign(t, nil, time.Now().Add(time.Hour), "Root")
	leaf, other := sign(t, root, time.Now().Add(time.Hour), "", "shop.example.com"), sign(t, root, time.Now().Add(time.Hour), "", "shop.example.com")
	dir, key := filepath.Join(t.TempDir(), "a", "backup"), identity(t)
	b, err := OpenBackup(dir, key)
	ok(t, err)
	if p, err := b.Get("shop"); p != nil || err != nil {
		t.Errorf("an empty backup has %v (%v)", p, err)
	}
	for range 2 {
		ok(t, b.Put("shop", leaf.pair(t, root)))
	}
	p, err := b.Get("shop")
	ok(t, err)
	if len(p.certs) != 2 || p.Unfit([]string{"shop.example.com"}, time.Now()) != "" {
		t.Errorf("what comes back is %v", p)
	}
	unended := leaf.pair(t, root)
	unended.Chain = bytes.TrimSpace(unended.Chain) // as many tools write a file, and the data of a Secret
	ok(t, b.Put("shop", unended))
	p, err = b.Get("shop")
	ok(t, err)
	if len(p.certs) != 2 {
		t.Errorf("what comes back of a chain without an end of its line is %v", p)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 1 {
		t.Errorf("the directory has %v", left)
	}

	rotated := filepath.Join(t.TempDir(), "keys")
	older, err := os.ReadFile(key)
	ok(t, err)
	newer, err := os.ReadFile(identity(t))
	ok(t, err)
	ok(t, os.WriteFile(rotated, append(newer, older...), 0o600))
	two, err := OpenBackup(dir, rotated)
	ok(t, err)
	_, err = two.Get("shop")
	ok(t, err)
	ok(t, two.Put("shop", leaf.pair(t, root)))
	_, err = b.Get("shop")
	refused(t, "encrypted for the first key", err, fault.Invalid, "shop.age", key, "another key")

	mixed, err := encode(other.key)
	ok(t, err)
	for reason, plain := range map[string][]byte{"another's key": append(leaf.pem(), mixed...), "no key": leaf.pem(), "nothing": nil} {
		ok(t, b.seal(b.File("shop"), plain))
		_, err = b.Get("shop")
		refused(t, reason, err, fault.Invalid, "cannot use the certificate shop", "shop.age")
	}
	ok(t, os.WriteFile(b.File("shop"), []byte("not by age"), 0o600))
	_, err = b.Get("shop")
	refused(t, "no age file", err, fault.Invalid, "shop.age", "damaged")
}

// TestAdopt keeps what is better than what is kept, as it is once nobody requests anything.
func TestAdopt(t *testing.T) {
	root := sign(t, nil, time.Now().Add(time.Hour), "Root")
	live, issued := sign(t, root, time.Now().Add(time.Hour), "", "shop.example.com").pair(t), sign(t, root, time.Now().Add(2*time.Hour), "", "shop.example.com").pair(t)
	b, err := OpenBackup(filepath.Join(t.TempDir(), "backup"), identity(t))
	ok(t, err)
	better := func(kept *Pair) bool { return kept == nil || kept.NotAfter().Before(live.NotAfter()) }
	other, err := b.lock(t.Context(), func() {})
	ok(t, err)
	waits := func() { // the other one has just got its own
		ok(t, b.Put("shop", issued))
		ok(t, other.Close())
	}
	kept, err := b.Adopt(t.Context(), "shop", live, better, waits)
	ok(t, err)
	if !kept.Leaf().Equal(issued.Leaf()) {
		t.Error("what was just issued is not returned")
	}
	if kept, err = b.Get("shop"); err != nil || !kept.Leaf().Equal(issued.Leaf()) {
		t.Errorf("what was just issued is not kept: %v", err)
	}
	ok(t, b.Put("shop", sign(t, root, time.Now().Add(time.Minute), "", "shop.example.com").pair(t)))
	kept, err = b.Adopt(t.Context(), "shop", live, better, waits)
	ok(t, err)
	if again, err := b.Get("shop"); err != nil || !kept.Leaf().Equal(live.Leaf()) || !again.Leaf().Equal(live.Leaf()) {
		t.Errorf("what lasts longer is not kept: %v", err)
	}
}

// TestIdentities: a key that is none is one clear error, and is not quoted.
func TestIdentities(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	_, err := OpenBackup("/backup", file)
	refused(t, "missing", err, fault.Invalid, file, "/backup")
	for reason, text := range map[string]string{
		"damaged": "AGE-SECRET-KEY-1QQQQSECRETQQQQ\n", "a recipient": "age1qqqq\n", "empty": "",
	} {
		ok(t, os.WriteFile(file, []byte(text), 0o600))
		_, err := OpenBackup("/backup", file)
		refused(t, reason, err, fault.Invalid, file, "age identities")
		if strings.Contains(err.Error(), "QQQQ") {
			t.Errorf("the key is in %v", err)
		}
	}
}

// TestAuthorities: a CA that cannot be trusted is one clear error, before anything is asked of it.
func TestAuthorities(t *testing.T) {
	s := newScene(t, pebbletest.Options{})
	dir := t.TempDir()
	past, others := sign(t, nil, time.Now().Add(-time.Hour), "Root of before"), sign(t, nil, time.Now().Add(time.Hour), "Others")
	cases := map[string]struct {
		content []byte
		says    string
	}{
		"Expired": {past.pem(), "Root of before expired on 20"},
		"Another": {others.pem(), "is not to be trusted"},
		"None":    {[]byte("nothing"), "no certificate in PEM"},
		"Missing": {nil, "no such file"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := s.request(t, "shop.example.com")
			r.Of.Issuer.CAFile = filepath.Join(dir, name)
			if tc.content != nil {
				ok(t, os.WriteFile(r.Of.Issuer.CAFile, tc.content, 0o600))
			}
			_, err := r.Obtain(t.Context())
			refused(t, name, err, fault.Invalid, tc.says)
		})
	}
	s.asked(t, "none was trusted", 0, 0)
	r := s.request(t, "shop.example.com")
	r.Of.Issuer.Directory = "https://127.0.0.1:1/dir"
	_, err := r.Obtain(t.Context())
	refused(t, "nobody there", err, fault.Unavailable, "https://127.0.0.1:1/dir does not answer")
}
