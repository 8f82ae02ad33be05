// Package certs keeps certificates for TLS beyond the generations that use them: in a backup that age encrypts, from which the next
// generation takes them, so that a roll-over normally asks a CA for nothing. What the backup lacks, or what is due, is requested by ACME
// (RFC 8555), by one process at a time, in orders that outlive the process.
//
// Private keys are in the backup, sealed, and in the Secrets of clusters, and nowhere else: what this package returns for people,
// its errors included, has none.
package certs

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// Key is a private key in PEM. It prints as nothing that is worth reading, whatever prints it.
type Key []byte

// Format prints that there is a key.
func (Key) Format(f fmt.State, _ rune) { fmt.Fprint(f, "(a private key)") }

// MarshalJSON refuses: a key goes into no document by accident.
func (Key) MarshalJSON() ([]byte, error) {
	return nil, fault.New(fault.Failed, "cannot write a private key as JSON")
}

// Pair is a certificate with its chain, leaf first, in PEM, and its private key.
type Pair struct {
	Chain []byte
	Key   Key
	certs []*x509.Certificate
}

// NewPair checks that a chain can be read and that the key is the one of its leaf. Its errors say what is wrong, not whose.
func NewPair(chain []byte, key Key) (*Pair, error) {
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s", strings.TrimPrefix(err.Error(), "tls: "))
	}
	p := &Pair{Chain: chain, Key: key}
	for _, der := range pair.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fault.New(fault.Invalid, "its chain cannot be read: %w", err)
		}
		p.certs = append(p.certs, c)
	}
	return p, nil
}

// Leaf is the certificate itself.
func (p *Pair) Leaf() *x509.Certificate { return p.certs[0] }

// Names are those it is for, in order.
func (p *Pair) Names() []string {
	names := slices.Clone(p.Leaf().DNSNames)
	slices.Sort(names)
	return slices.Compact(names)
}

// NotAfter is when it, or an issuer in its chain, expires.
func (p *Pair) NotAfter() time.Time {
	end := p.Leaf().NotAfter
	for _, c := range p.certs {
		if c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	return end
}

// Renewal is when the last third of its life begins, in which it is to be renewed.
func (p *Pair) Renewal() time.Time {
	end := p.NotAfter()
	return end.Add(-end.Sub(p.Leaf().NotBefore) / 3).UTC()
}

// Unfit says why it does not serve the names at a time; "" when it does.
func (p *Pair) Unfit(names []string, now time.Time) string {
	for _, name := range names {
		if !slices.Contains(p.Leaf().DNSNames, strings.ToLower(name)) {
			return fmt.Sprintf("it is for %s, and not for %s", strings.Join(p.Names(), ", "), name)
		}
	}
	if leaf := p.Leaf(); now.Before(leaf.NotBefore) {
		return "it is not valid before " + date(leaf.NotBefore)
	} else if now.After(leaf.NotAfter) {
		return "it expired on " + date(leaf.NotAfter)
	}
	for _, c := range p.certs[1:] {
		if now.After(c.NotAfter) {
			return fmt.Sprintf("its issuer %q expired on %s", c.Subject.CommonName, date(c.NotAfter))
		}
	}
	return ""
}

// date is a day and a time for people.
func date(at time.Time) string { return at.UTC().Format("2006-01-02 15:04 MST") }

// encode writes a private key in PEM (PKCS #8).
func encode(key crypto.Signer) (Key, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// signer reads what encode has written.
func (k Key) signer() (crypto.Signer, error) {
	block, _ := pem.Decode(k)
	if block == nil {
		return nil, fault.New(fault.Failed, "it is not in PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	s, ok := key.(crypto.Signer)
	if !ok {
		return nil, fault.New(fault.Failed, "it cannot sign")
	}
	return s, nil
}
