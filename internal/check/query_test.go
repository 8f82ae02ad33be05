package check_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/check"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// prometheus runs a Prometheus that watches itself, and returns its URL.
func prometheus(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	config := fmt.Sprintf("scrape_configs: [{job_name: self, scrape_interval: 200ms, scrape_timeout: 200ms, static_configs: [{targets: [%q]}]}]\n", address)
	file := filepath.Join(dir, "prometheus.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("prometheus", "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v; make test installs it", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	deadline := time.Now().Add(30 * time.Second)
	for tick := time.NewTicker(50 * time.Millisecond); ; <-tick.C {
		if res, err := http.Get("http://" + address + "/-/ready"); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return "http://" + address
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("Prometheus is not ready:\n%s", log.String())
		}
	}
}

// TestQuery asks a real Prometheus.
func TestQuery(t *testing.T) {
	url := prometheus(t)
	for name, tc := range map[string]struct {
		query, holds string
		code         fault.Code
		says         string // in the detail, or in the error
	}{
		"Holds":      {`up{job="{{.Environment}}"}`, "value == 1.0", "", `up{instance=`},
		"Scalar":     {"scalar(vector(0.005))", "value < 0.01", "", "0.005"},
		"Several":    {`label_replace(vector(1), "a", "b", "", "") or vector(2)`, "value > 0.5", "", "2 values hold"},
		"Does not":   {`vector(0.02)`, "value < 0.01", fault.Refused, "value < 0.01 does not hold: 0.02"},
		"One of two": {`label_replace(vector(1), "a", "b", "", "") or vector(2)`, "value < 1.5", fault.Refused, "value < 1.5 does not hold: 2"},
		"Nothing":    {"nothing_is_called_so", "value < 0.01", fault.Refused, "the query has no value for an answer"},
		"No number":  {"vector(0) / vector(0)", "value < 0.01", fault.Refused, "value < 0.01 does not hold: NaN"},
		"Matrix":     {"up[1m]", "value > 0.0", fault.Invalid, "a matrix for an answer"},
		"Wrong":      {"up{", "value > 0.0", fault.Invalid, "check query up{: "},
		"Condition":  {"up", "value >", fault.Invalid, "cannot read the rule"},
	} {
		c := spec.Check{Query: &spec.QueryCheck{URL: url, Query: tc.query, Holds: tc.holds}, Timeout: spec.Duration(10 * time.Second)}
		if tc.code != "" {
			c = short(c)
		}
		results, err := check.Hold(t.Context(), []spec.Check{c}, check.Target{Environment: "self"}, silent)
		said := fmt.Sprint(err)
		if err == nil {
			said = results[0].Detail
		}
		if fault.CodeOf(err) != tc.code || !strings.Contains(said, tc.says) || strings.Contains(said, "\n") {
			t.Errorf("%s: %v, %q; want code %q and %q", name, err, said, tc.code, tc.says)
		}
	}
	away := short(spec.Check{Query: &spec.QueryCheck{URL: "http://127.0.0.1:1", Query: "up", Holds: "value > 0.0"}})
	if _, err := check.Hold(t.Context(), []spec.Check{away}, check.Target{}, silent); fault.CodeOf(err) != fault.Refused || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("a Prometheus that is not there: %v", err)
	}
}
