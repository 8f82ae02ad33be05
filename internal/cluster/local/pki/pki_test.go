package pki

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// at returns a clock that stands still. The certificates of tests are checked against the real one: keep it near.
func at(t time.Time) func() time.Time { return func() time.Time { return t } }

var leaf = Leaf{Name: "node", User: "system:node:one", Groups: []string{"system:nodes"}, Server: true, Hosts: []string{"one-1", "198.18.0.2"}}

func open(t *testing.T, dir string, now time.Time) *Authority {
	t.Helper()
	a, err := Open(dir, at(now))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t *testing.T, a *Authority, l Leaf) bool {
	t.Helper()
	made, err := a.Issue(l)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestIssuedCertificateIsGood(t *testing.T) {
	a := open(t, t.TempDir(), time.Now())
	issue(t, a, leaf)
	pair, err := tls.LoadX509KeyPair(a.File("node.crt"), a.File("node.key"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	raw, err := os.ReadFile(a.File("ca.crt"))
	if err != nil || !roots.AppendCertsFromPEM(raw) {
		t.Fatalf("cannot use ca.crt: %v", err)
	}
	for _, host := range leaf.Hosts {
		for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, KeyUsages: []x509.ExtKeyUsage{use}}); err != nil {
				t.Errorf("as %s: %v", host, err)
			}
		}
	}
	if s := pair.Leaf.Subject; s.CommonName != leaf.User || len(s.Organization) != 1 || s.Organization[0] != "system:nodes" {
		t.Errorf("the subject is %s", s)
	}
	if pair.Leaf.IsCA {
		t.Error("a leaf may sign others")
	}
}

func TestClientIsNoServer(t *testing.T) {
	a := open(t, t.TempDir(), time.Now())
	issue(t, a, Leaf{Name: "client", User: "someone"})
	pair, err := tls.LoadX509KeyPair(a.File("client.crt"), a.File("client.key"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.certificate)
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err == nil {
		t.Error("a client's certificate is good for a server")
	}
}

func TestIssueAgain(t *testing.T) {
	now := time.Now()
	change := func(f func(*Leaf)) Leaf {
		l := leaf
		f(&l)
		return l
	}
	cases := map[string]struct {
		second Leaf
		now    time.Time
		damage func(t *testing.T, a *Authority)
		want   bool
	}{
		"the same":            {second: leaf, now: now, want: false},
		"hosts in any order":  {second: change(func(l *Leaf) { l.Hosts = []string{"198.18.0.2", "one-1"} }), now: now, want: false},
		"another address":     {second: change(func(l *Leaf) { l.Hosts = []string{"one-1", "198.18.0.3"} }), now: now, want: true},
		"another user":        {second: change(func(l *Leaf) { l.User = "other" }), now: now, want: true},
		"another group":       {second: change(func(l *Leaf) { l.Groups = nil }), now: now, want: true},
		"no server any more":  {second: change(func(l *Leaf) { l.Server = false }), now: now, want: true},
		"too old":             {second: leaf, now: now.Add(lifetime + time.Hour), want: true},
		"key lost":            {second: leaf, now: now, want: true, damage: func(t *testing.T, a *Authority) { remove(t, a.File("node.key")) }},
		"cut off":             {second: leaf, now: now, want: true, damage: func(t *testing.T, a *Authority) { write(t, a.File("node.crt"), "-----BEGIN") }},
		"of another":          {second: leaf, now: now, want: true, damage: func(t *testing.T, a *Authority) { replaceAuthority(t, a) }},
		"key of another leaf": {second: leaf, now: now, want: true, damage: func(t *testing.T, a *Authority) { otherKey(t, a) }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			a := open(t, dir, now)
			if !issue(t, a, leaf) {
				t.Fatal("the first was not made")
			}
			if tc.damage != nil {
				tc.damage(t, a)
			}
			if got := issue(t, open(t, dir, tc.now), tc.second); got != tc.want {
				t.Errorf("made again: %v, want %v", got, tc.want)
			}
			if issue(t, open(t, dir, tc.now), tc.second) {
				t.Error("made a third time")
			}
		})
	}
}

func remove(t *testing.T, files ...string) {
	t.Helper()
	for _, file := range files {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func replaceAuthority(t *testing.T, a *Authority) {
	t.Helper()
	remove(t, a.File("ca.crt"), a.File("ca.key"))
	open(t, a.dir, a.now())
}

func otherKey(t *testing.T, a *Authority) {
	t.Helper()
	issue(t, a, Leaf{Name: "other", User: "other"})
	raw, err := os.ReadFile(a.File("other.key"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, a.File("node.key"), string(raw))
}

func TestAuthorityIsKept(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir, time.Now())
	if second := open(t, dir, time.Now()); !bytes.Equal(first.certificate.Raw, second.certificate.Raw) {
		t.Error("opening it again made another authority")
	}
	write(t, filepath.Join(dir, "ca.key"), "spoiled")
	if _, err := Open(dir, time.Now); err == nil {
		t.Error("an authority with a spoiled key was opened, or replaced")
	}
}

func TestFilesArePrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	a := open(t, dir, time.Now())
	issue(t, a, leaf)
	for range 2 {
		if err := a.Key("accounts"); err != nil {
			t.Fatal(err)
		}
	}
	count := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %s", path, info.Mode())
		}
		count++
		return nil
	})
	if want := 1 + 3*2; err != nil || count != want { // the directory; ca, node, accounts
		t.Errorf("%d files, %v; want %d", count, err, want)
	}
}
