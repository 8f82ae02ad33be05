package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
)

// keeper makes a registry that holds its manifests in memory remember them: it writes each manifest that the registry took
// to a file, and puts all of them again when it starts. The blobs are files already.
type keeper struct {
	next http.Handler
	dir  string
	mu   sync.Mutex // one change to dir at a time
}

// manifest is one file of the directory: the request that put it.
type manifest struct {
	Path        string `json:"path"`
	ContentType string `json:"contentType"`
	Body        []byte `json:"body"`
}

// newKeeper wraps a registry without manifests and puts the ones kept in dir.
func newKeeper(next http.Handler, dir string) (*keeper, error) {
	k := &keeper{next: next, dir: dir}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot keep manifests in %s: %w", dir, err)
	}
	manifests, err := k.load()
	if err != nil {
		return nil, err
	}
	for _, m := range manifests {
		if status := k.put(m); status != http.StatusCreated {
			return nil, fmt.Errorf("cannot take back the manifest %s: the registry answered %d", m.Path, status)
		}
	}
	return k, nil
}

// ServeHTTP answers like the wrapped registry. A manifest is on disk before its put is answered.
func (k *keeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.Contains(r.URL.Path, "/manifests/") || (r.Method != http.MethodPut && r.Method != http.MethodDelete) {
		k.next.ServeHTTP(w, r)
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 16<<20))
	if err != nil {
		http.Error(w, "cannot read the manifest: "+err.Error(), http.StatusBadRequest)
		return
	}
	m := manifest{Path: r.URL.Path, ContentType: r.Header.Get("Content-Type"), Body: body}
	r.Body = io.NopCloser(bytes.NewReader(body))
	answer := &recorder{header: w.Header(), status: http.StatusOK}
	k.next.ServeHTTP(answer, r)
	if answer.status < 300 {
		if err := k.record(r.Method, m); err != nil {
			http.Error(w, "cannot keep the manifest: "+err.Error(), http.StatusInternalServerError)
			return
		}
	}
	w.WriteHeader(answer.status)
	_, _ = w.Write(answer.body.Bytes())
}

func (k *keeper) record(method string, m manifest) error {
	name := filepath.Join(k.dir, url.QueryEscape(m.Path))
	if method == http.MethodDelete {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := os.WriteFile(name+".new", raw, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// load reads the kept manifests, those of single images before the indexes that name them.
func (k *keeper) load() ([]manifest, error) {
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		return nil, fmt.Errorf("cannot read the manifests in %s: %w", k.dir, err)
	}
	var all []manifest
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".new") { // a write that was cut off
			continue
		}
		raw, err := os.ReadFile(filepath.Join(k.dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("cannot read a manifest: %w", err)
		}
		var m manifest
		if err := json.Unmarshal(raw, &m); err != nil {
			return nil, fmt.Errorf("cannot read the manifest %s: %w", e.Name(), err)
		}
		all = append(all, m)
	}
	isIndex := func(m manifest) bool {
		return strings.Contains(m.ContentType, "index") || strings.Contains(m.ContentType, "list")
	}
	sort.SliceStable(all, func(i, j int) bool { return !isIndex(all[i]) && isIndex(all[j]) })
	return all, nil
}

func (k *keeper) put(m manifest) int {
	r, err := http.NewRequest(http.MethodPut, "http://registry"+m.Path, bytes.NewReader(m.Body))
	if err != nil {
		return http.StatusBadRequest
	}
	r.Header.Set("Content-Type", m.ContentType)
	answer := &recorder{header: http.Header{}, status: http.StatusOK}
	k.next.ServeHTTP(answer, r)
	return answer.status
}

// recorder holds an answer back until the manifest is on disk.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header returns the header of the answer itself.
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader notes the status.
func (r *recorder) WriteHeader(status int) { r.status = status }

// Write notes a part of the body.
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }
