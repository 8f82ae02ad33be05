package kubetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
)

// Kill ends one of the programs of the server (apiserver.API, apiserver.Store) at once, until it is revived.
func (s *Server) Kill(program string) { s.real.Kill(program) }

// Revive starts a program again, with more arguments. It returns when the server answers.
func (s *Server) Revive(t *testing.T, program string, arguments ...string) {
	t.Helper()
	if err := s.real.Revive(t.Context(), program, arguments...); err != nil {
		t.Fatal(err)
	}
}

// Compact has etcd forget every version of the objects but the present one.
func (s *Server) Compact(t *testing.T) {
	t.Helper()
	var now struct {
		Header struct{ Revision string }
	}
	s.store(t, "/v3/kv/range", `{"key":"AA=="}`, &now)
	s.store(t, "/v3/kv/compaction", fmt.Sprintf(`{"revision":%s,"physical":true}`, now.Header.Revision), nil)
}

// MakeRoom gives back what etcd does not need of its disk, and has it take writes again after it was full.
func (s *Server) MakeRoom(t *testing.T) {
	t.Helper()
	s.Compact(t)
	s.store(t, "/v3/maintenance/defragment", `{}`, nil)
	s.store(t, "/v3/maintenance/alarm", `{"action":"DEACTIVATE","alarm":"NOSPACE"}`, nil)
}

// store asks etcd something by its gateway for JSON.
func (s *Server) store(t *testing.T, path, body string, answer any) {
	t.Helper()
	response, err := http.Post(s.real.StoreURL+path, "application/json", bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("etcd answers %s to %s: %s, %v", response.Status, path, text, err)
	}
	if answer == nil {
		return
	}
	if err := json.Unmarshal(text, answer); err != nil {
		t.Fatal(err)
	}
}
