package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/cli/view"
	"github.com/crossfade-dev/crossfade/internal/demo"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/load"
)

// TestShowReport holds that a demo in which a request failed fails, and that its report is there all the same.
func TestShowReport(t *testing.T) {
	now := time.Now()
	report := demo.Report{
		Report: load.Report{Requests: load.Requests{Sent: 20_000, Failed: 1}, Latency: map[string]load.Latency{"shift": {P99: 3}}},
		Steps:  []demo.StepTime{{Generation: "g-1", Name: "plan", Start: now, End: now}},
	}
	refused := fault.New(fault.Refused, "1 of 20000 requests failed")
	for name, c := range map[string]struct {
		format view.Format
		want   string
	}{
		"Table": {view.AsTable, "20000 requests sent, 1 failed"},
		"JSON":  {view.AsJSON, `"failed": 1,`},
		"YAML":  {view.AsYAML, "\n  failed: 1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			a := &app{Streams: Streams{Out: &out}, output: view.Output{Format: c.format, Data: &out}}
			file := filepath.Join(t.TempDir(), "report.json")
			if err := a.showReport(report, refused, file); fault.ExitStatus(err) != 3 {
				t.Errorf("showReport() = %v, exit status %d, want 3", err, fault.ExitStatus(err))
			}
			if !strings.Contains(out.String(), c.want) {
				t.Errorf("standard output does not say %q:\n%s", c.want, out.String())
			}
			raw, err := os.ReadFile(file)
			var read demo.Report
			if err != nil || json.Unmarshal(raw, &read) != nil || read.Requests.Failed != 1 {
				t.Errorf("the report in the file: %s, %v", raw, err)
			}
		})
	}
	var out bytes.Buffer
	a := &app{Streams: Streams{Out: &out}, output: view.Output{Format: view.AsTable, Data: &out}}
	if err := a.showReport(demo.Report{}, refused, filepath.Join(t.TempDir(), "report.json")); fault.ExitStatus(err) != 3 || out.Len() > 0 {
		t.Errorf("a demo that did not begin: %v, %q", err, out.String())
	}
}
