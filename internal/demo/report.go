package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/load"
	"github.com/crossfade-dev/crossfade/internal/record"
)

// The phases under which the load's figures are kept, besides one a step.
const (
	phaseSteady = "steady" // both generations up, no share moving
	phaseShift  = "shift"  // from the first share of a shift to the last, forward and back
)

// stepSoak is the step that a person's command ends.
const stepSoak = "soak"

// Report is what a demo measured: what became of the requests, and when each step was.
type Report struct {
	load.Report
	Steps []StepTime `json:"steps"`
}

// StepTime is when a step of a run took place.
type StepTime struct {
	Generation string    `json:"generation"` // the one that the run builds
	Name       string    `json:"name"`
	Start      time.Time `json:"start"`
	End        time.Time `json:"end"`
}

// step keeps the time of a step, and counts the load that goes on during it under its name.
func (d *demo) step(generation string, e record.Event) {
	switch e.Kind {
	case record.StepStarted:
		d.report.endSoak(generation, e.At)
		d.report.Steps = append(d.report.Steps, StepTime{Generation: generation, Name: e.Step, Start: e.At})
	case record.StepDone, record.StepFailed:
		for i := len(d.report.Steps) - 1; i >= 0; i-- {
			if s := &d.report.Steps[i]; s.Generation == generation && s.Name == e.Step && s.End.IsZero() {
				s.End = e.At
				break
			}
		}
	default:
		return
	}
	if d.load != nil {
		d.load.Mark(d.underWay(generation)...)
	}
}

// endSoak ends a soak when another step begins: a person's command ended it, which leaves no outcome in the record, and nothing
// else goes on beside it.
func (r *Report) endSoak(generation string, at time.Time) {
	for i := range r.Steps {
		if s := &r.Steps[i]; s.Generation == generation && s.Name == stepSoak && s.End.IsZero() {
			s.End = at
		}
	}
}

// underWay are the phases of the steps of a run that have begun and not ended, each once.
func (d *demo) underWay(generation string) []string {
	var names []string
	for _, s := range d.report.Steps {
		if s.Generation != generation || !s.End.IsZero() {
			continue
		}
		for _, name := range phasesOf(s.Name) {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// Write writes the report as JSON.
func (r Report) Write(file string) error {
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, append(raw, '\n'), 0o644); err != nil { //nolint:gosec // a report is for everybody
		return fault.New(fault.Failed, "cannot write the report: %w", err).WithHint("name another file with --report")
	}
	return nil
}

// Rollover returns how long the roll-over to the last generation took, and how much of that was spent in steps: the time in
// which at least one was under way, which is its slowest chain, since a step starts when the last one it needs has ended.
func (r Report) Rollover() (whole, inSteps time.Duration) {
	if len(r.Steps) == 0 {
		return 0, 0
	}
	last := r.Steps[len(r.Steps)-1].Generation
	var from, until time.Time
	for _, s := range r.Steps { // in order of their start
		if s.Generation != last {
			continue
		}
		if from.IsZero() {
			from, until = s.Start, s.Start
		}
		if s.End.After(until) {
			inSteps += s.End.Sub(maxTime(s.Start, until))
			until = s.End
		}
	}
	return until.Sub(from), inSteps
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// generations counts the answers by generation: the shop answers with its node, which is called by its generation and a number.
func generations(byNode map[string]int64) map[string]int64 {
	all := map[string]int64{}
	for node, n := range byNode {
		name := node
		if i := strings.LastIndex(node, "-"); i > 0 {
			name = node[:i]
		}
		all[name] += n
	}
	return all
}

// verdict is an error unless no user noticed anything.
func (r Report) verdict() error {
	q := r.Requests
	if q.Failed > 0 {
		return fault.New(fault.Refused, "%d of %d requests failed", q.Failed, q.Sent).WithHint("the report lists them")
	}
	if q.Sent < leastRequests {
		return fault.New(fault.Refused, "only %d requests were sent, %d are wanted", q.Sent, leastRequests)
	}
	return nil
}

// Print writes the report for people.
func (r Report) Print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "STEP\tGENERATION\tAT\tTOOK")
	for _, s := range r.Steps {
		took := "-"
		if !s.End.IsZero() {
			took = s.End.Sub(s.Start).Round(10 * time.Millisecond).String()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", s.Name, s.Generation, s.Start.Sub(r.Steps[0].Start).Round(100*time.Millisecond), took)
	}
	_ = w.Flush()
	r.printLoad(out)
}

func (r Report) printLoad(out io.Writer) {
	q := r.Requests
	if q.Sent == 0 {
		fmt.Fprintln(out, "\nno requests were sent")
		return
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nPHASE\tREQUESTS\tFAILED\tP50 ms\tP99 ms\tP999 ms")
	for _, p := range r.Phases {
		if p.Requests.Sent == 0 {
			continue
		}
		l := r.Latency[p.Name]
		fmt.Fprintf(w, "%s\t%d\t%d\t%.1f\t%.1f\t%.1f\n", p.Name, p.Requests.Sent, p.Requests.Failed, l.P50, l.P99, l.P999)
	}
	_ = w.Flush()
	fmt.Fprintf(out, "\n%d requests sent, %d failed (%s)\nanswered by %s\n", q.Sent, q.Failed, counts("status ", q.ByStatus), counts("", q.ByGeneration))
	steady, shift := r.Latency[phaseSteady], r.Latency[phaseShift]
	if steady.P99 > 0 {
		fmt.Fprintf(out, "p99 while shifting %.1f ms, %.2fx that of steady state with both generations up\n", shift.P99, shift.P99/steady.P99)
	}
	for _, f := range r.Failures {
		fmt.Fprintf(out, "  %s %s %s: %s\n", f.Time.Local().Format(time.TimeOnly), f.Phase, f.Kind, f.Cause)
	}
}

// counts lists numbers by name, in order of name.
func counts(what string, m map[string]int64) string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	sort.Strings(names)
	text := ""
	for i, n := range names {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%s%s: %d", what, n, m[n])
	}
	return text
}
