package view

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/crossfade-dev/crossfade/internal/objects/backlog"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
)

// counted is the time between two counts of objects on a terminal.
const counted = time.Second

// Copying shows a copy of objects: what it says, what was decided about each object where that was asked for, and the report. It may be
// used by many goroutines; Report ends it.
type Copying struct {
	out       *Output
	decisions bool // all of them are shown
	counter   *counter

	lock  sync.Mutex
	first bool // no decision was written yet
	err   error
}

// Copying is how a command shows a copy. As data it is one document with every decision and the report; people see the decisions
// of a dry run.
func (o *Output) Copying(dryRun bool) *Copying {
	v := &Copying{out: o, decisions: dryRun || o.Format != AsTable, first: true, counter: o.counter(!dryRun)}
	switch o.Format {
	case AsJSON:
		v.write("{\n  \"decisions\": [")
	case AsYAML:
		v.write("decisions:")
	}
	return v
}

// Progress says something to a person.
func (v *Copying) Progress(format string, args ...any) { v.counter.say(format, args...) }

// Decision shows what was decided about an object.
func (v *Copying) Decision(d outcome.Decision) {
	v.counter.count(d)
	if !v.decisions {
		return
	}
	v.lock.Lock()
	defer v.lock.Unlock()
	switch v.out.Format {
	case AsJSON:
		separator := ",\n    "
		if v.first {
			separator = "\n    "
		}
		v.write(separator + compact(d))
	case AsYAML:
		v.write("\n- " + compact(d)) // JSON is YAML
	default:
		v.write(decided(d) + "\n")
	}
	v.first = false
}

// Report shows what came of the copy, and returns the first error of writing anything.
func (v *Copying) Report(r outcome.Report) error {
	v.counter.close()
	v.lock.Lock()
	defer v.lock.Unlock()
	switch v.out.Format {
	case AsJSON:
		raw, err := json.MarshalIndent(r, "  ", "  ")
		if err != nil {
			return err
		}
		v.write("\n  ],\n  \"report\": " + string(raw) + "\n}\n")
	case AsYAML:
		raw, err := yaml.Marshal(map[string]any{"report": r})
		if err != nil {
			return err
		}
		if v.first {
			v.write(" []")
		}
		v.write("\n" + string(raw))
	default:
		report(v.out.Data, r)
	}
	return v.err
}

func (v *Copying) write(text string) {
	if _, err := io.WriteString(v.out.Data, text); err != nil && v.err == nil {
		v.err = err
	}
}

// Following shows a copy that goes on. As data it is a stream of decisions, the report, and lags. It may be used by many goroutines.
type Following struct {
	out     *Output
	counter *counter

	lock   sync.Mutex
	synced bool
}

// Following is how a command shows a following.
func (o *Output) Following() *Following { return &Following{out: o, counter: o.counter(true)} }

// Progress says something to a person.
func (v *Following) Progress(format string, args ...any) { v.counter.say(format, args...) }

// Decision shows what was decided about an object; to people only those of after the report.
func (v *Following) Decision(d outcome.Decision) {
	v.counter.count(d)
	v.data("decision", d, func(w io.Writer) {
		if v.synced && d.Action != outcome.Unchanged {
			fmt.Fprintf(w, "%s  %s\n", v.time(), decided(d))
		}
	})
}

// Synced shows the report of what was copied before the following began.
func (v *Following) Synced(r outcome.Report) {
	v.counter.close()
	v.data("report", r, func(w io.Writer) {
		v.synced = true
		report(w, r)
		fmt.Fprintln(w, "following; an interrupt (Ctrl-C) ends it")
	})
}

// Lag shows how far the other cluster is behind; to people only when there is something to tell.
func (v *Following) Lag(l backlog.Lag) {
	v.data("lag", l, func(w io.Writer) {
		if l.Changes == 0 && l.Waiting == 0 {
			return
		}
		fmt.Fprintf(w, "%s  %d changes carried over", v.time(), l.Changes)
		if l.Changes > 0 {
			fmt.Fprintf(w, ", half of them within %v, 99 %% within %v", fine(l.P50), fine(l.P99))
		}
		if l.Waiting > 0 {
			fmt.Fprintf(w, "; %d wait, the oldest for %s", l.Waiting, duration(l.Oldest))
		}
		fmt.Fprintln(w)
	})
}

// Close ends what is drawn.
func (v *Following) Close() { v.counter.close() }

func (v *Following) time() string { return v.out.Now().Format(time.TimeOnly) }

// data writes a value as data under a name, or as people see it.
func (v *Following) data(name string, value any, draw func(io.Writer)) {
	v.lock.Lock()
	defer v.lock.Unlock()
	switch v.out.Format {
	case AsJSON:
		_ = json.NewEncoder(v.out.Data).Encode(map[string]any{name: value})
	case AsYAML:
		_ = v.out.document(map[string]any{name: value})
	default:
		draw(v.out.Data)
	}
}

// decided is a decision in a line.
func decided(d outcome.Decision) string {
	line := fmt.Sprintf("%-9s  %s", d.Action, plain(d.Object))
	if d.Reason != "" {
		line += "  (" + plain(d.Reason) + ")"
	}
	return line
}

func compact(d outcome.Decision) string {
	raw, err := json.Marshal(d)
	if err != nil { // it is made of strings
		return "{}"
	}
	return string(raw)
}

// report draws a report for people: the sums, then what they have to look at.
func report(w io.Writer, r outcome.Report) {
	fmt.Fprintln(w, r.Summary())
	if len(r.Skipped) > 0 {
		fmt.Fprintln(w, "\nnot to be copied:")
		for _, reason := range slices.Sorted(maps.Keys(r.Skipped)) {
			fmt.Fprintf(w, "%7d  %s\n", r.Skipped[reason], reason)
		}
	}
	problems := func(title string, all []outcome.Problem, count int) {
		if count == 0 {
			return
		}
		fmt.Fprintf(w, "\n%s:\n", title)
		for _, p := range all {
			fmt.Fprintf(w, "  %s: %s\n", plain(p.Object), plain(p.Error))
		}
		if more := count - len(all); more > 0 {
			fmt.Fprintf(w, "  and %d more\n", more)
		}
	}
	problems("failed", r.Failures, r.Failed)
	problems("in conflict, left as they are in the other cluster", r.Conflicts, r.Conflicted)
	for _, list := range []struct {
		title string
		lines []string
	}{{"not served by the other cluster", r.NotServed}, {"missing in the other cluster", r.Missing}, {"notes", r.Notes}} {
		if len(list.lines) > 0 {
			fmt.Fprintf(w, "\n%s:\n", list.title)
		}
		for _, line := range list.lines {
			fmt.Fprintf(w, "  %s\n", plain(line))
		}
	}
}

// fine rounds a short length of time to what a person reads.
func fine(d time.Duration) time.Duration {
	return max(time.Millisecond, d.Round(max(time.Millisecond, d.Round(time.Second)/100)))
}
