package view

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/record"
)

func noTerminal(io.Writer) *Terminal { return nil }

func TestStreams(t *testing.T) {
	events := []record.Event{
		{Seq: 1, Run: "r", Key: "plan#1/started", Step: "plan", Kind: record.StepStarted, Message: "comparing", At: begin},
		{
			Seq: 2, Run: "r", Key: "plan#1/failed", Step: "plan", Kind: record.StepFailed, Message: "it: does\nnot fit", At: begin.Add(time.Second),
			Detail: json.RawMessage(`{"hint":"make a new one"}`),
		},
	}
	for name, c := range map[string]struct {
		reason string
		format Format
		want   string
	}{
		"JSON": {
			"an event a line, for jq and read loops", AsJSON,
			`{"seq":1,"run":"r","key":"plan#1/started","step":"plan","kind":"started","message":"comparing","at":"2026-07-28T15:04:05Z"}
{"seq":2,"run":"r","key":"plan#1/failed","step":"plan","kind":"failed","message":"it: does\nnot fit","at":"2026-07-28T15:04:06Z","detail":{"hint":"make a new one"}}
{
  "failed": 0
}
`,
		},
		"YAML": {
			"an event a document, and what is printed after them is one too", AsYAML,
			`at: "2026-07-28T15:04:05Z"
key: plan#1/started
kind: started
message: comparing
run: r
seq: 1
step: plan
---
at: "2026-07-28T15:04:06Z"
detail:
  hint: make a new one
key: plan#1/failed
kind: failed
message: |-
  it: does
  not fit
run: r
seq: 2
step: plan
---
failed: 0
`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			for view, open := range map[string]func(*Output) View{"run": (*Output).Run, "story": (*Output).Story} {
				var data, talk bytes.Buffer
				o := &Output{Format: c.format, Data: &data, Talk: &talk, Terminal: noTerminal}
				v := open(o)
				for _, e := range events {
					v.Event(e)
				}
				v.Close()
				if err := o.Print(map[string]int{"failed": 0}, nil); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c.want, data.String()); diff != "" {
					t.Errorf("%s: %s (-want +got)\n%s", view, c.reason, diff)
				}
				if talk.Len() > 0 {
					t.Errorf("%s: data was asked for, and a person is told %q", view, talk.String())
				}
			}
		})
	}
}

func TestPrint(t *testing.T) {
	draw := func() Table {
		return Table{Header: []string{"NAME", "WHY"}, Rows: [][]string{{"a", "two\nlines"}, {"longer", "\x1b[31mred\x1b]\a"}}}
	}
	for name, c := range map[string]struct {
		reason string
		format Format
		want   string
	}{
		"Table": {"columns line up, and no cell breaks its row or the terminal", AsTable, "NAME    WHY\na       two lines\nlonger  red\uFFFD]\uFFFD\n"},
		"JSON":  {"for people, too", AsJSON, "[\n  \"a\"\n]\n"},
		"YAML":  {"one document needs no separator", AsYAML, "- a\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var data bytes.Buffer
			o := &Output{Format: c.format, Data: &data}
			if err := o.Print([]string{"a"}, draw); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, data.String()); diff != "" {
				t.Errorf("%s (-want +got)\n%s", c.reason, diff)
			}
			if err := o.Print(func() {}, draw); err == nil && c.format != AsTable {
				t.Error("what cannot be written was, without an error")
			}
		})
	}
}

// TestTerminalOf holds that files, pipes and buffers are no terminals. Real ones are looked at by people.
func TestTerminalOf(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for name, out := range map[string]io.Writer{"pipe": w, "/dev/null": null, "buffer": &bytes.Buffer{}} {
		if TerminalOf(out, os.Getenv) != nil {
			t.Errorf("a %s is taken for a terminal", name)
		}
	}
}

func TestLists(t *testing.T) {
	ended := begin.Add(4*time.Minute + 9*time.Second)
	first := record.Run{ID: "r-1", State: record.Done, Generation: "g-1", By: "anna@laptop", Started: begin, Ended: &ended}
	second := record.Run{
		ID: "r-2", State: record.Waiting, Generation: "g-2", Previous: "g-1", By: "anna@laptop", Started: begin,
		Reason: "the shift to g-2 waits for an approval, " + strings.Repeat("which is long in coming ", 5),
	}
	live := Generation{record.Generation{Name: "g-1", Phase: record.Live, Verified: true, Created: begin}, 95}
	next := Generation{record.Generation{Name: "g-2", Phase: record.Standby, Created: begin}, 5}
	gone := Generation{record.Generation{Name: "g-0", Phase: record.Retired, Created: begin}, 0}
	for name, c := range map[string]struct {
		reason string
		table  Table
		want   [][]string
	}{
		"Runs": {
			"a run under way has taken no time yet, long reasons are cut",
			Runs([]record.Run{second, first}),
			[][]string{
				{"r-2", "waiting", "g-2", "g-1", "anna@laptop", "2026-07-28 15:04:05", "-", "the shift to g-2 waits for an approval, which is long in coming which is long i…"},
				{"r-1", "done", "g-1", "-", "anna@laptop", "2026-07-28 15:04:05", "4m9s", ""},
			},
		},
		"Two": {
			"the run is shown with the generation that it builds; what is gone is left out",
			Environments([]Environment{{Environment: "production", Run: &second, Generations: []Generation{next, live, gone}}}),
			[][]string{
				{"production", "g-2", "standby", "5 %", "no", "2026-07-28 15:04:05", "r-2: the shift to g-2 waits for an approval, which is long in co…"},
				{"production", "g-1", "live", "95 %", "yes", "2026-07-28 15:04:05", ""},
			},
		},
		"Left": {
			"when only the previous one is left, the run is shown with it",
			Environments([]Environment{{Environment: "production", Run: &second, Generations: []Generation{live}}}),
			[][]string{{"production", "g-1", "live", "95 %", "yes", "2026-07-28 15:04:05", "r-2: the shift to g-2 waits for an approval, which is long in co…"}},
		},
		"NoRouter": {
			"shares that nobody told are not shown as none",
			Environments([]Environment{{Environment: "production", Run: &first, Generations: []Generation{live}, Routers: "the edge does not answer"}}),
			[][]string{
				{"production", "g-1", "live", "?", "yes", "2026-07-28 15:04:05", "r-1: done"},
				{"production", "", "", "the edge does not answer"},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, c.table.Rows); diff != "" {
				t.Errorf("%s (-want +got)\n%s", c.reason, diff)
			}
		})
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0.0s", 40 * time.Millisecond: "0.0s", 3 * time.Second: "3.0s", 9940 * time.Millisecond: "9.9s",
		9960 * time.Millisecond: "10s", 59700 * time.Millisecond: "1m0s", time.Hour + time.Second: "1h0m1s",
	} {
		if got := duration(d); got != want {
			t.Errorf("duration(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestWrap(t *testing.T) {
	for name, c := range map[string]struct {
		reason, text string
		want         []string
	}{
		"Empty": {"a row has a first line, whatever it says", "", []string{""}},
		"Short": {"it fits", "one two", []string{"one two"}},
		"Words": {"the first line has less room", "one two three four five", []string{"one two", "three four", "five"}},
		"Long":  {"what people copy stays whole", "see https://example.com/a", []string{"see", "https://example.com/a"}},
		"First": {"a word that only fits below is put there", "somewhat", []string{"", "somewhat"}},
	} {
		if diff := cmp.Diff(c.want, wrap(c.text, 7, 10)); diff != "" {
			t.Errorf("%s: %s (-want +got)\n%s", name, c.reason, diff)
		}
	}
}
