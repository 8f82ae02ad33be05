package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRunBadUsage(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   []string
		env    map[string]string
		status int
		stderr string
	}{
		"NoCommand":      {"What to run must be said.", nil, nil, 2, usage},
		"TooMany":        {"Arguments are not options of the shop.", []string{"web", "now"}, nil, 2, usage},
		"Unknown":        {"A typo must not look like success.", []string{"sell"}, nil, 2, `unknown command "sell"`},
		"OrdersNoKey":    {"Without a key everybody would be let in.", []string{"orders"}, nil, 1, "API_KEY is not set"},
		"WebNoKey":       {"It would fail at the first order only.", []string{"web"}, nil, 1, "API_KEY is not set"},
		"WorkerNoKey":    {"It would never pack anything.", []string{"worker"}, nil, 1, "API_KEY is not set"},
		"CannotListen":   {"The address is named.", []string{"orders"}, map[string]string{"API_KEY": "k", "LISTEN": "nowhere:x"}, 1, "LISTEN=nowhere:x"},
		"OutsideCluster": {"Products need a service account.", []string{"web"}, map[string]string{"API_KEY": "k", "CATALOG_NAMESPACE": "n"}, 1, "cannot read the products in n"},
		"SmokeNoOrders":  {"A smoke test that cannot reach its peer fails.", []string{"smoke"}, map[string]string{"ORDERS_URL": "http://127.0.0.1:1"}, 1, "cannot reach the orders API"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			got := Run(t.Context(), &stdout, &stderr, tc.args, func(k string) string { return tc.env[k] })
			if got != tc.status || !strings.Contains(stderr.String(), tc.stderr) {
				t.Errorf("%s\nRun(%q) = %d, stderr %q; want %d and %q", tc.reason, tc.args, got, stderr.String(), tc.status, tc.stderr)
			}
			if stdout.Len() > 0 {
				t.Errorf("a failure wrote to stdout: %q", stdout.String())
			}
		})
	}
}

func TestTick(t *testing.T) {
	var out bytes.Buffer
	if err := tick(&out, settings{node: "shop2611210130-1"}, time.Date(2026, 11, 21, 1, 30, 0, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	want := "tick on node shop2611210130-1 at 2026-11-21T01:30:00Z\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("tick (-want +got):\n%s", diff)
	}
}

func TestReadSettings(t *testing.T) {
	env := map[string]string{"NODE_NAME": "n1", "API_KEY": "k", "ORDERS_URL": "http://o"}
	got := readSettings(func(k string) string { return env[k] })
	want := settings{
		listen: ":8080", node: "n1", ordersURL: "http://o", apiKey: "k", linger: 5 * time.Second, bound: 35 * time.Second,
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(settings{})); diff != "" {
		t.Errorf("readSettings (-want +got):\n%s", diff)
	}
}
