// Package pki makes the keys and certificates of a local cluster, and keeps them in files that only their owner can read.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// lifetime of all certificates. A cluster is disposable: it does not live to see the end of it.
const lifetime = 10 * 365 * 24 * time.Hour

// Authority is a certificate authority in a directory: ca.crt and ca.key.
type Authority struct {
	dir         string
	now         func() time.Time
	certificate *x509.Certificate
	key         crypto.Signer
}

// Leaf says what a certificate is for.
type Leaf struct {
	Name   string // of its files: NAME.crt and NAME.key
	User   string // common name: the user of Kubernetes
	Groups []string
	Server bool     // whether it is shown to clients; it may be shown to servers in any case
	Hosts  []string // names and addresses of the server
}

// Open returns the authority in dir, and makes it when there is none. Only one process at a time may use a directory.
func Open(dir string, now func() time.Time) (*Authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the directory for certificates: %w", err)
	}
	a := &Authority{dir: dir, now: now}
	certificate, key, err := a.load("ca")
	if err == nil {
		a.certificate, a.key = certificate, key
		return a, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	template := a.template("crossfade-ca", nil)
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage |= x509.KeyUsageCertSign
	if a.key, err = newKey(); err != nil {
		return nil, err
	}
	if err := a.write("ca", template, template, a.key, a.key); err != nil {
		return nil, err
	}
	a.certificate, _, err = a.load("ca")
	return a, err
}

// Issue makes the leaf's files unless they are there and say the same, and reports whether it made them.
func (a *Authority) Issue(leaf Leaf) (bool, error) {
	if certificate, _, err := a.load(leaf.Name); err == nil && a.matches(certificate, leaf) {
		return false, nil
	}
	template := a.template(leaf.User, leaf.Groups)
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if leaf.Server {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	for _, host := range leaf.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	key, err := newKey()
	if err != nil {
		return false, err
	}
	return true, a.write(leaf.Name, template, a.certificate, key, a.key)
}

// Key makes a bare key pair, NAME.key and NAME.pub, unless it is there.
func (a *Authority) Key(name string) error {
	if _, err := os.Stat(a.File(name + ".pub")); err == nil {
		return nil
	}
	key, err := newKey()
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("cannot encode the key %s: %w", name, err)
	}
	if err := a.writeKey(name, key); err != nil {
		return err
	}
	return a.writeFile(name+".pub", "PUBLIC KEY", public) // last: its presence says that both are there
}

// File returns the path of a file of the authority's directory.
func (a *Authority) File(name string) string { return filepath.Join(a.dir, name) }

func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("cannot make a key: %w", err)
	}
	return key, nil
}

func (a *Authority) template(user string, groups []string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		serial = big.NewInt(a.now().UnixNano()) // crypto/rand does not fail; a serial number is no secret
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: user, Organization: groups},
		NotBefore:    a.now().Add(-5 * time.Minute), // clocks that are a little behind
		NotAfter:     a.now().Add(lifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}
}

// matches reports whether a certificate on disk is still the one that the leaf asks for.
func (a *Authority) matches(c *x509.Certificate, leaf Leaf) bool {
	var hosts []string
	hosts = append(hosts, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		hosts = append(hosts, ip.String())
	}
	same := func(x, y []string) bool {
		x, y = slices.Clone(x), slices.Clone(y)
		slices.Sort(x)
		slices.Sort(y)
		return slices.Equal(x, y)
	}
	return c.CheckSignatureFrom(a.certificate) == nil && c.Subject.CommonName == leaf.User && same(c.Subject.Organization, leaf.Groups) &&
		same(hosts, leaf.Hosts) && leaf.Server == slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth) && a.now().Before(c.NotAfter)
}

func (a *Authority) write(name string, template, parent *x509.Certificate, key, signer crypto.Signer) error {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return fmt.Errorf("cannot make the certificate %s: %w", name, err)
	}
	if err := a.writeKey(name, key); err != nil {
		return err
	}
	return a.writeFile(name+".crt", "CERTIFICATE", der) // last: load looks for it first
}

func (a *Authority) writeKey(name string, key crypto.Signer) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("cannot encode the key %s: %w", name, err)
	}
	return a.writeFile(name+".key", "PRIVATE KEY", der)
}

// writeFile writes a PEM file that appears complete or not at all.
func (a *Authority) writeFile(name, kind string, der []byte) error {
	fresh := a.File(name + ".new")
	if err := os.WriteFile(fresh, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	if err := os.Rename(fresh, a.File(name)); err != nil {
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	return nil
}

// load reads a certificate and its key, which must belong together.
func (a *Authority) load(name string) (*x509.Certificate, crypto.Signer, error) {
	certificateDER, err := readPEM(a.File(name + ".crt"))
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := readPEM(a.File(name + ".key"))
	if err != nil {
		return nil, nil, err
	}
	certificate, err := x509.ParseCertificate(certificateDER)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the certificate %s: %w", name, err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(keyDER)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the key %s: %w", name, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(certificate.PublicKey) {
		return nil, nil, fmt.Errorf("cannot use the key %s: it is not the key of its certificate", name)
	}
	return certificate, key, nil
}

func readPEM(file string) ([]byte, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", file, err)
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, fmt.Errorf("cannot read %s: it is not PEM", file)
	}
	return block.Bytes, nil
}
