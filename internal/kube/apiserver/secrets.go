package apiserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
)

// The files in the directory of a server that its secrets are in.
const (
	keyFile   = "service-account.key"
	tokenFile = "tokens.csv"
)

// secrets writes the key that tokens of service accounts are signed with and the token of an administrator, and returns the latter.
func (s *Server) secrets() (token string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return "", err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})
	if err := os.WriteFile(s.file(keyFile), text, 0o600); err != nil {
		return "", err
	}
	token = rand.Text()
	return token, os.WriteFile(s.file(tokenFile), []byte(token+",admin,admin,system:masters\n"), 0o600)
}

// freeAddresses returns addresses on loopback that nobody listens on.
func freeAddresses(count int) ([]string, error) {
	var addresses []string
	for range count {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer listener.Close() // all at once, so that none is given twice
		addresses = append(addresses, listener.Addr().String())
	}
	return addresses, nil
}
