package caddy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/load"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// generation is a backend that says who it is.
func generation(t *testing.T, name string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Generation", name)
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s%s", name, body)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// TestReloadsLoseNothing changes the weights 200 times under users who keep their connections.
func TestReloadsLoseNothing(t *testing.T) {
	router, _ := startEdge(t)
	route := traffic.Route{Host: host, Sides: []traffic.Side{
		{Generation: "g1", Endpoints: []string{generation(t, "g1")}, Weight: 100},
		{Generation: "g2", Endpoints: []string{generation(t, "g2")}},
	}}
	if err := router.Apply(t.Context(), route); err != nil {
		t.Fatal(err)
	}
	users, err := load.New(load.Options{
		Entry: router.Entry(), Host: host, Rate: 400, Kinds: []load.Kind{
			{Name: "get", Path: "/", Share: 45},
			{Name: "order", Method: "POST", Path: "/", Body: `{"item":1}`, Share: 45},
			{Name: "new", Path: "/", Share: 10, NewConnection: true},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan load.Report)
	go func() { done <- users.Run(t.Context()) }()
	var slowest time.Duration
	for i := range 200 {
		route.Sides[0].Weight, route.Sides[1].Weight = 100-i%101, i%101
		start := time.Now()
		if err := router.Apply(t.Context(), route); err != nil {
			t.Log(i, time.Since(start), err)
		}
		slowest = max(slowest, time.Since(start))
	}
	users.Stop()
	report := <-done
	t.Logf("%d requests (%d over used connections) during 200 changes, slowest change %v, %d failed, latency %+v, %v",
		report.Requests.Sent, report.Requests.Reused, slowest, report.Requests.Failed, report.Latency["all"], report.Requests.ByGeneration)
	if report.Requests.Failed != 0 {
		for _, f := range report.Failures {
			t.Logf("%s: %s", f.Kind, f.Cause)
		}
		t.Errorf("%d requests failed", report.Requests.Failed)
	}
}
