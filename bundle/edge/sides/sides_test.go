package sides

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
)

// routes are two sides, the first of which fails where a header says so, and what becomes of that.
const routes = `{
  "routes": [
    {"match": [{"host": ["a.example.com"]}, {"header": {"Side": ["a"]}}], "terminal": true, "handle": [
      {"handler": "vars", "side": "a"},
      {"handler": "headers", "response": {"set": {"Side": ["{http.vars.side}"]}}},
      {"handler": "subroute", "routes": [{"match": [{"header": {"Fail": ["*"]}}], "handle": [{"handler": "error", "status_code": 502, "error": "it fails"}]}]},
      {"handler": "static_response", "body": "of a"}]},
    {"match": [{"host": ["*.example.com"]}], "terminal": true, "handle": [{"handler": "vars", "side": "b"}]}
  ],
  "errors": {"routes": [
    {"match": [{"vars": {"side": ["a"]}}], "terminal": true, "handle": [{"handler": "static_response", "status_code": 200, "body": "{http.error.message}, so says {http.vars.side}"}]},
    {"handle": [{"handler": "error", "status_code": 500}]}
  ]}
}`

// TestSides has a request meet the handlers of the first route that matches, in their order, and of no other.
func TestSides(t *testing.T) {
	var ours Handler
	var theirs caddyhttp.Subroute
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	for _, h := range []caddy.Provisioner{&ours, &theirs} {
		if err := json.Unmarshal([]byte(routes), h); err != nil {
			t.Fatal(err)
		}
		if err := h.Provision(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		host, header, want string
	}{
		{"a.example.com", "", `200 "of a" Side=a`},
		{"elsewhere.org", "Side", `200 "of a" Side=a`},
		{"b.example.com", "", `200 "" Side=`},
		{"elsewhere.org", "", `200 "nobody's" Side=`},
		{"a.example.com", "Fail", `200 "it fails, so says a" Side=a`},
	} {
		r := httptest.NewRequest(http.MethodGet, "http://"+tc.host, http.NoBody)
		if tc.header != "" {
			r.Header.Set(tc.header, "a")
		}
		if got := answer(t, &ours, r); got != tc.want {
			t.Errorf("%s with %q is answered with %s, want %s", tc.host, tc.header, got, tc.want)
		}
		if got := answer(t, &theirs, r); got != tc.want {
			t.Errorf("%s with %q is answered by a subroute with %s, want %s", tc.host, tc.header, got, tc.want)
		}
	}
}

// TestErrors has an error be the request's where no route is for it, and where the configuration is none.
func TestErrors(t *testing.T) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	var h Handler
	if err := json.Unmarshal([]byte(`{"routes": [{"handle": [{"handler": "error", "status_code": 502}]}]}`), &h); err != nil {
		t.Fatal(err)
	}
	if err := h.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	if got, want := answer(t, &h, httptest.NewRequest(http.MethodGet, "/", http.NoBody)), "error 502"; got != want {
		t.Errorf("it is answered with %s, want %s", got, want)
	}
	bad := Handler{}
	if err := json.Unmarshal([]byte(`{"routes": [{"handle": [{"handler": "nothing"}]}]}`), &bad); err != nil {
		t.Fatal(err)
	}
	if err := bad.Provision(ctx); err == nil {
		t.Error("a handler that does not exist is taken")
	}
}

// answer says how a handler answers a request, which is nobody's after it.
func answer(t *testing.T, h caddyhttp.MiddlewareHandler, r *http.Request) string {
	t.Helper()
	w := httptest.NewRecorder()
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil)
	err := h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		_, err := w.Write([]byte("nobody's"))
		return err
	}))
	if e, ok := err.(caddyhttp.HandlerError); ok {
		return fmt.Sprint("error ", e.StatusCode)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %q Side=%s", w.Code, w.Body, w.Header().Get("Side"))
}
