// Command registry is an image registry that keeps its images in a directory. Any client of the OCI distribution
// specification may pull from its address; only those who may open its socket may push.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	address := flag.String("listen", "", "address to listen on, for reading")
	socket := flag.String("socket", "", "path of a Unix socket to listen on, for reading and writing")
	dir := flag.String("dir", "", "directory for the images")
	flag.Parse()
	if err := run(*address, *socket, *dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(address, socket, dir string) error {
	blobs := filepath.Join(dir, "blobs")
	if err := os.MkdirAll(blobs, 0o700); err != nil {
		return fmt.Errorf("cannot keep images in %s: %w", dir, err)
	}
	handler := registry.New(
		registry.WithBlobHandler(registry.NewDiskBlobHandler(blobs)),
		registry.Logger(log.New(io.Discard, "", 0)),
	)
	kept, err := newKeeper(handler, filepath.Join(dir, "manifests"))
	if err != nil {
		return err
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) { // of one that was killed
		return fmt.Errorf("cannot remove the old socket: %w", err)
	}
	ended := make(chan error, 2)
	go func() { ended <- serve("unix", socket, kept) }()
	go func() { ended <- serve("tcp", address, readOnly(kept)) }()
	return <-ended
}

func serve(network, address string, handler http.Handler) error {
	listener, err := net.Listen(network, address)
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %w", address, err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	return fmt.Errorf("cannot serve on %s: %w", address, server.Serve(listener))
}

// readOnly refuses everything but reading: whoever can reach the address must not decide what a tag stands for.
func readOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.Error(w, "this address is for reading only", http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(w, r)
	})
}
