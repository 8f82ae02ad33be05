package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const productList = `{"kind":"ProductList","items":[
 {"metadata":{"name":"ristretto"},"spec":{"title":"Ristretto","priceCents":905}},
 {"metadata":{"name":"espresso"},"spec":{"title":"Espresso","priceCents":1250}}]}`

func TestCatalogRefresh(t *testing.T) {
	both := []product{{"espresso", "Espresso", "12.50 EUR"}, {"ristretto", "Ristretto", "9.05 EUR"}}
	old := []product{{"tea", "Tea", "1.00 EUR"}}
	cases := map[string]struct {
		reason string
		status int
		body   string
		want   []product
		err    string
	}{
		"Sorted":      {"The API server's order is not ours.", 200, productList, both, ""},
		"Empty":       {"Sold out is an answer.", 200, `{"items":[]}`, []product{}, ""},
		"Forbidden":   {"The last list stands.", 403, `{}`, old, "403 Forbidden"},
		"NoSuchKind":  {"So it does before the kind is there.", 404, `{}`, old, "404 Not Found"},
		"NotAList":    {"And when the answer is none.", 200, `<html>`, old, "cannot read the list of products"},
		"CutByBounds": {"And when it is too long to be read.", 200, strings.Repeat(" ", maxCatalog) + productList, old, "cannot read the list of products"},
	}
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("t0ken\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "Bearer t0ken" {
					t.Errorf("Authorization = %q", r.Header.Get("Authorization"))
				}
				w.WriteHeader(tc.status)
				_, _ = w.Write([]byte(tc.body))
			}))
			defer srv.Close()
			c := &catalog{url: srv.URL, token: token, client: srv.Client()}
			c.items.Store(&old)
			err := c.refresh(t.Context())
			if (err == nil) != (tc.err == "") || (err != nil && !strings.Contains(err.Error(), tc.err)) {
				t.Errorf("%s\nrefresh = %v, want %q", tc.reason, err, tc.err)
			}
			if diff := cmp.Diff(tc.want, c.list()); diff != "" {
				t.Errorf("%s\nlist (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestCatalogWithoutTokenOrNamespace(t *testing.T) {
	c := &catalog{url: "http://127.0.0.1:1", token: filepath.Join(t.TempDir(), "none")}
	if err := c.refresh(t.Context()); err == nil {
		t.Error("products were read without a token")
	}
	nothing, err := newCatalog(settings{})
	if err != nil {
		t.Fatal(err)
	}
	if err := nothing.refresh(t.Context()); err != nil {
		t.Errorf("a shop that sells nothing: %v", err)
	}
	if diff := cmp.Diff([]product{}, nothing.list()); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
}
