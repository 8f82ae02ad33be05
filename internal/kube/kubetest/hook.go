package kubetest

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"testing"
)

// Hook is a webhook: a server that answers the API server's questions.
type Hook struct {
	URL      string
	CABundle string // as a configuration of webhooks has it
}

// Answering starts a webhook that ends with the test. Of each question's request it makes the response, which it gives the UID of the
// request; the kind of question is what the configuration asks it for. A response of nil is never given.
func Answering(t *testing.T, answer func(request map[string]any) (response map[string]any)) Hook {
	t.Helper()
	ended := make(chan struct{})
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review map[string]any
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		request, _ := review["request"].(map[string]any)
		response := answer(request)
		if response == nil {
			select {
			case <-r.Context().Done():
			case <-ended:
			}
			return
		}
		response["uid"] = request["uid"]
		reply(w, map[string]any{"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response})
	}))
	t.Cleanup(func() { close(ended); server.Close() })
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return Hook{URL: server.URL, CABundle: base64.StdEncoding.EncodeToString(certificate)}
}
