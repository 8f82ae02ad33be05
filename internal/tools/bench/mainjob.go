package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/crossfade-dev/crossfade/internal/demo"
)

// mainJob runs the demo and reads its report.
func mainJob(ctx context.Context) ([]number, error) {
	dir, err := os.MkdirTemp("", "crossfade-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "report.json")
	cmd := exec.CommandContext(ctx, program, "demo", "--report", file)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		return nil, err
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("the demo left no report: %w", err)
	}
	var r demo.Report
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, err
	}
	q := r.Requests
	steady, shift := r.Latency["steady"], r.Latency["shift"]
	whole, chain := r.Rollover()
	if q.Sent == 0 || steady.Count == 0 || shift.Count == 0 || chain == 0 {
		return nil, fmt.Errorf("the report has no figures: %d sent, %d steady, %d while shifting", q.Sent, steady.Count, shift.Count)
	}
	ratio := func(a, b float64) float64 { return a / b }
	return []number{
		{
			What: "requests failed", Ours: fmt.Sprint(q.Failed), Theirs: fmt.Sprintf("%d sent", q.Sent), Ratio: ratio(float64(q.Failed), float64(q.Sent)),
			Hold: "0", Holds: q.Failed == 0,
		},
		{
			What: "p99 while shifting", Ours: fmt.Sprintf("%.1f ms", shift.P99), Theirs: fmt.Sprintf("steady, both up: %.1f ms", steady.P99),
			Ratio: ratio(shift.P99, steady.P99), Hold: "<= 1.5", Holds: shift.P99 <= 1.5*steady.P99,
		},
		{
			What: "a whole roll-over", Ours: show(whole), Theirs: "its slowest chain of steps: " + show(chain),
			Ratio: ratio(float64(whole), float64(chain)), Hold: "<= 1.1", Holds: float64(whole) <= 1.1*float64(chain),
		},
	}, nil
}
