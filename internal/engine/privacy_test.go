package engine

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// TestNothingReadable puts a marked text through every way into the engine, and finds it in no file of the engine and no log.
func TestNothingReadable(t *testing.T) {
	const marked, inError = "the-colonel-has-eleven-herbs", "the-cook-has-twelve"
	dir := t.TempDir()
	var log bytes.Buffer
	e, err := Open(t.Context(), Options{StateDir: dir, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	stop := work(t, e)
	var told string
	x := start(t, e, "till", "patient", order{Text: marked})
	if err := e.Query(t.Context(), x, "told", &told); err != nil || told != marked {
		t.Fatalf("Query() = %q, %v", told, err)
	}
	if err := e.Signal(t.Context(), x, "tell", marked); err != nil {
		t.Fatal(err)
	}
	if err := e.Wait(t.Context(), x, &told); err != nil || told != marked {
		t.Fatalf("Wait() = %q, %v", told, err)
	}
	failed := start(t, e, "oven", "fail", order{Fault: fault.New(fault.Failed, "cannot bake: %s", inError).WithHint("see %s", inError)})
	if err := e.Wait(t.Context(), failed, nil); err == nil || !strings.Contains(err.Error(), inError) {
		t.Fatalf("Wait() = %v", err)
	}
	stop()
	e.Close()
	if err := Stop(context.Background(), dir); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(log.Bytes(), []byte(marked)) {
		t.Error("the text is in the SDK's log")
	}
	if held := holders(t, dir, []byte("till")); len(held) == 0 {
		t.Fatal("not even the workflow's id was found: the search does not work")
	}
	for _, text := range []string{marked, inError} {
		if held := holders(t, dir, []byte(text)); len(held) > 0 {
			t.Errorf("%q is in %v", text, held)
		}
	}
}

// holders returns the files of the engine that hold the bytes.
func holders(t *testing.T, dir string, text []byte) (found []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, "engine"), func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(file)
		if bytes.Contains(raw, text) {
			found = append(found, file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestFilesArePrivate(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "engine"), 0o755); err != nil { // somebody made it too open before
		t.Fatal(err)
	}
	e := open(t, dir)
	info, err := os.Stat(string(e.dir))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the engine's directory: %v, %v", info.Mode(), err)
	}
	for _, name := range []string{payloadFile, identityFile, clientsLock, "engine.db", "engine.db-wal", "engine.db-shm", addressFile, programName + ".log"} {
		info, err := os.Stat(e.dir.file(name))
		if err != nil {
			t.Error(err)
		} else if info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v", name, info.Mode())
		}
	}
}

// TestStrangers knocks at every port the engine listens on: without a certificate, with one of the stranger's own making, and
// without TLS.
func TestStrangers(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	ports := listening(t, enginePid(dir))
	if len(ports) < 3 {
		t.Fatalf("ports of the engine: %v", ports)
	}
	forged := forgedCertificate(t)
	for _, address := range ports {
		if !strings.HasPrefix(address, "127.0.0.1:") {
			t.Errorf("the engine listens on %s", address)
		}
		for name, certificates := range map[string][]tls.Certificate{"none": nil, "forged": {forged}} {
			if err := knock(address, certificates); err == nil {
				t.Errorf("%s let in a stranger with certificate %s", address, name)
			}
		}
		if plain, err := speakPlainly(address); err != nil || plain {
			t.Errorf("%s answered without TLS: %v, %v", address, plain, err)
		}
	}
}

// knock tries to get through the handshake, which with TLS 1.3 is over only when something was read.
func knock(address string, certificates []tls.Certificate) error {
	conn, err := tls.Dial("tcp4", address, &tls.Config{
		Certificates: certificates, InsecureSkipVerify: true, NextProtos: []string{"h2"}, //nolint:gosec // a stranger does not care whom he talks to
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

// speakPlainly says whether the address answers HTTP/2 without TLS.
func speakPlainly(address string) (bool, error) {
	conn, err := net.Dial("tcp4", address)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")); err != nil {
		return false, nil
	}
	answer := make([]byte, 9)
	n, _ := conn.Read(answer)
	return n == 9 && answer[3] == 4, nil // a SETTINGS frame, RFC 9113 section 6.5
}

// listening returns the TCP addresses that a process listens on, from /proc.
func listening(t *testing.T, pid int) (addresses []string) {
	t.Helper()
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	var sockets []string
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && strings.HasPrefix(to, "socket:[") {
			sockets = append(sockets, strings.Trim(to, "socket:[]"))
		}
	}
	for _, table := range []string{"tcp", "tcp6"} {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(raw), "\n")[1:] {
			f := strings.Fields(line)
			if len(f) < 10 || f[3] != "0A" || !slices.Contains(sockets, f[9]) { // 0A: listening
				continue
			}
			addresses = append(addresses, procAddress(t, f[1]))
		}
	}
	return addresses
}

// procAddress reads an address of /proc/net/tcp; any of /proc/net/tcp6 is returned as it is.
func procAddress(t *testing.T, s string) string {
	t.Helper()
	host, port, _ := strings.Cut(s, ":")
	if len(host) != 8 {
		return s
	}
	var h uint32
	var p uint16
	if _, err := fmt.Sscanf(host+" "+port, "%X %X", &h, &p); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s:%d", net.IP(binary.NativeEndian.AppendUint32(nil, h)), p)
}

// forgedCertificate is made out to the right name by the wrong person.
func forgedCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{serverName}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
