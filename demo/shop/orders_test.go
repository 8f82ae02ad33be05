package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const testKey = "a-key"

func testSettings() settings { return settings{node: "gen-1", apiKey: testKey} }

func testServer(cfg settings) *server { return newServer(cfg, slog.New(slog.DiscardHandler)) }

func newOrders(t *testing.T, limit int) (*httptest.Server, *store) {
	t.Helper()
	st, s := newStore(limit), testServer(testSettings())
	srv := httptest.NewServer(s.wrap(ordersHandler(s, st, testKey)))
	t.Cleanup(srv.Close)
	return srv, st
}

func TestOrdersAPI(t *testing.T) {
	const good = `{"product":"espresso","quantity":2}`
	cases := map[string]struct {
		reason             string
		method, path, body string
		key                string
		status             int
		contains           string
	}{
		"Place":           {"An order gets an id.", "POST", "/orders", good, testKey, 201, `"id":"o-`},
		"NoKey":           {"The key is asked for.", "POST", "/orders", good, "", 401, "missing or wrong"},
		"WrongKey":        {"The right one.", "POST", "/orders", good, testKey + "x", 401, "missing or wrong"},
		"CountNoKey":      {"Also to read.", "GET", "/orders/count", "", "", 401, "missing or wrong"},
		"Count":           {"Nothing has been ordered yet.", "GET", "/orders/count", "", testKey, 200, `{"received":0,"packed":0,"kept":0}`},
		"NotJSON":         {"Not an order.", "POST", "/orders", "espresso", testKey, 400, "cannot read the order"},
		"Empty":           {"Not an order either.", "POST", "/orders", "", testKey, 400, "cannot read the order"},
		"UnknownField":    {"A typo is not ignored.", "POST", "/orders", `{"product":"a","quantity":1,"colour":"red"}`, testKey, 400, "colour"},
		"Trailing":        {"One order a request.", "POST", "/orders", good + good, testKey, 400, "something follows"},
		"BadProduct":      {"Products are named as objects are.", "POST", "/orders", `{"product":"../x","quantity":1}`, testKey, 400, "not a product's name"},
		"NoQuantity":      {"Nothing is no order.", "POST", "/orders", `{"product":"a"}`, testKey, 400, "quantity of 0"},
		"TooMany":         {"Bounded.", "POST", "/orders", `{"product":"a","quantity":101}`, testKey, 400, "quantity of 101"},
		"TooLong":         {"Bodies are bounded.", "POST", "/orders", `{"product":"` + strings.Repeat("a", maxOrder) + `"}`, testKey, 400, "too large"},
		"PackNone":        {"Nothing waits.", "POST", "/orders/pack?limit=10", "", testKey, 200, `{"packed":[]}`},
		"PackNoLimit":     {"A limit is needed.", "POST", "/orders/pack", "", testKey, 400, "limit must be"},
		"PackHugeLimit":   {"And bounded.", "POST", "/orders/pack?limit=1000", "", testKey, 400, "limit must be"},
		"Livez":           {"Probes have no key.", "GET", "/livez", "", "", 200, "alive"},
		"Readyz":          {"Probes have no key.", "GET", "/readyz", "", "", 200, "ready"},
		"Healthz":         {"Probes have no key.", "GET", "/healthz", "", "", 200, "alive"},
		"MethodIsMatched": {"Orders are not read back.", "GET", "/orders", "", testKey, 405, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			srv, _ := newOrders(t, 10)
			req, err := http.NewRequestWithContext(t.Context(), tc.method, srv.URL+tc.path, strings.NewReader(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			if tc.key != "" {
				req.Header.Set("Authorization", "Bearer "+tc.key)
			}
			status, header, body := do(t, req)
			if status != tc.status || !strings.Contains(body, tc.contains) {
				t.Errorf("%s\n%s %s: %d %q; want %d and %q", tc.reason, tc.method, tc.path, status, body, tc.status, tc.contains)
			}
			if got := header.Get(generationHeader); got != "gen-1" {
				t.Errorf("%s = %q, want gen-1", generationHeader, got)
			}
		})
	}
}

func TestOrderID(t *testing.T) {
	if a, b := orderID("k"), orderID("k"); a != b {
		t.Errorf("one key gave the ids %s and %s", a, b)
	}
	if a, b := orderID("k"), orderID("l"); a == b {
		t.Errorf("two keys gave one id %s", a)
	}
	if a, b := orderID(""), orderID(""); a == b {
		t.Errorf("two orders without a key gave one id %s", a)
	}
}

func TestStore(t *testing.T) {
	place := func(n ...int) func(*store) []string {
		return func(s *store) []string {
			for _, i := range n {
				s.place(fmt.Sprint("o-", i))
			}
			return nil
		}
	}
	pack := func(n int) func(*store) []string { return func(s *store) []string { return s.pack(n) } }
	cases := map[string]struct {
		reason string
		do     []func(*store) []string
		last   []string // what the last step packed
		want   counts
	}{
		"OldestFirst":   {"Orders are packed as they came.", []func(*store) []string{place(1, 2, 3), pack(2)}, []string{"o-1", "o-2"}, counts{3, 2, 3}},
		"OnlyOnce":      {"What is packed is not packed again.", []func(*store) []string{place(1, 2), pack(5), pack(5)}, []string{}, counts{2, 2, 2}},
		"PlacedAgain":   {"One key is one order.", []func(*store) []string{place(1, 1, 1), pack(5)}, []string{"o-1"}, counts{1, 1, 1}},
		"Bounded":       {"The oldest are forgotten, packed or not.", []func(*store) []string{place(1, 2, 3, 4, 5, 6), pack(9)}, []string{"o-3", "o-4", "o-5", "o-6"}, counts{6, 4, 4}},
		"BoundedPacked": {"Forgetting packed ones loses no waiting one.", []func(*store) []string{place(1, 2, 3, 4), pack(3), place(5, 6), pack(9)}, []string{"o-4", "o-5", "o-6"}, counts{6, 6, 4}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := newStore(4)
			var last []string
			for _, step := range tc.do {
				last = step(s)
			}
			if diff := cmp.Diff(tc.last, last); diff != "" {
				t.Errorf("%s\npacked (-want +got):\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.want, s.counts()); diff != "" {
				t.Errorf("%s\ncounts (-want +got):\n%s", tc.reason, diff)
			}
			if len(s.known) != len(s.kept) {
				t.Errorf("known %d ids but kept %d: memory is not bounded", len(s.known), len(s.kept))
			}
		})
	}
}

func FuzzReadOrder(f *testing.F) {
	f.Add(`{"product":"espresso","quantity":2}`)
	f.Add(`{"product":"-","quantity":1e9}`)
	f.Add(`[`)
	f.Fuzz(func(t *testing.T, text string) {
		if err := readOrder(strings.NewReader(text)); err != nil && strings.ContainsAny(err.Error(), "\n\r") {
			t.Errorf("the problem of %q has several lines: %q", text, err)
		}
	})
}
