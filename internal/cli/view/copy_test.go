package view

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/crossfade-dev/crossfade/internal/objects/backlog"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
)

var (
	someDecisions = []outcome.Decision{
		{Object: "ConfigMap shop/settings", Action: outcome.Create},
		{Object: "apps/Deployment shop/web", Action: outcome.Conflict, Reason: "field .spec.replicas, set by \x1b[31mme"},
		{Object: "Secret shop/keys", Action: outcome.Unchanged},
	}
	someReport = outcome.Report{
		Created: 1, Unchanged: 1, Skipped: map[string]int{"in a system namespace": 12, "excluded": 3},
		Failed: 102, Failures: []outcome.Problem{{Object: "Secret shop/big", Error: "too\nbig"}},
		Conflicted: 1, Conflicts: []outcome.Problem{{Object: "apps/Deployment shop/web", Error: "field .spec.replicas, set by me"}},
		Missing: []string{"ServiceAccount shop/robot, which Deployment shop/web refers to"},
	}
)

const reportText = `1 created, 0 updated, 1 unchanged, 15 not to be copied, 1 in conflict, 102 failed

not to be copied:
      3  excluded
     12  in a system namespace

failed:
  Secret shop/big: too big
  and 101 more

in conflict, left as they are in the other cluster:
  apps/Deployment shop/web: field .spec.replicas, set by me

missing in the other cluster:
  ServiceAccount shop/robot, which Deployment shop/web refers to
`

func copyOutput(format Format) (o *Output, data, talk *bytes.Buffer) {
	data, talk = &bytes.Buffer{}, &bytes.Buffer{}
	return &Output{Format: format, Data: data, Talk: talk, Terminal: noTerminal, Now: func() time.Time { return begin }}, data, talk
}

func TestCopying(t *testing.T) {
	tests := map[string]struct {
		reason string
		dryRun bool
		want   string
	}{
		"DryRun": {
			reason: "people see what would be done to each object", dryRun: true,
			want: "create     ConfigMap shop/settings\nconflict   apps/Deployment shop/web  (field .spec.replicas, set by me)\n" +
				"unchanged  Secret shop/keys\n" + reportText,
		},
		"Real": {reason: "and of a real copy what came of it", want: reportText},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			o, data, talk := copyOutput(AsTable)
			v := o.Copying(tc.dryRun)
			v.Progress("copied %d secrets", 1)
			for _, d := range someDecisions {
				v.Decision(d)
			}
			if err := v.Report(someReport); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{tc.want, "copied 1 secrets\n"}, []string{data.String(), talk.String()}); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestCopyingAsData: what is written bit by bit is one document, also when nothing was decided.
func TestCopyingAsData(t *testing.T) {
	parsers := map[Format]func([]byte, any) error{
		AsJSON: json.Unmarshal,
		AsYAML: func(raw []byte, into any) error { return yaml.UnmarshalStrict(raw, into) },
	}
	for format, parse := range parsers {
		for name, decisions := range map[string][]outcome.Decision{"some": someDecisions, "one": someDecisions[:1], "none": {}} {
			t.Run(string(format)+"/"+name, func(t *testing.T) {
				o, data, _ := copyOutput(format)
				v := o.Copying(false)
				for _, d := range decisions {
					v.Decision(d)
				}
				if err := v.Report(someReport); err != nil {
					t.Fatal(err)
				}
				type document struct {
					Decisions []outcome.Decision `json:"decisions"`
					Report    outcome.Report     `json:"report"`
				}
				var got document
				if err := parse(data.Bytes(), &got); err != nil {
					t.Fatalf("%v in:\n%s", err, data)
				}
				if diff := cmp.Diff(document{decisions, someReport}, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

// closed is a reader's end that has gone, as that of head.
type closed struct{}

func (closed) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestCopyingToNobody(t *testing.T) {
	v := (&Output{Format: AsJSON, Data: closed{}, Talk: io.Discard, Terminal: noTerminal}).Copying(false)
	v.Decision(someDecisions[0])
	if err := v.Report(someReport); err == nil {
		t.Error("nothing was written, and nothing is said of it")
	}
}

func TestFollowing(t *testing.T) {
	tests := map[Format]string{
		AsTable: reportText + "following; an interrupt (Ctrl-C) ends it\n15:04:05  create     ConfigMap shop/settings\n" +
			"15:04:05  3 changes carried over, half of them within 1ms, 99 % within 312ms\n" +
			"15:04:05  0 changes carried over; 2 wait, the oldest for 1m30s\n",
		AsJSON: `{"decision":{"object":"Secret shop/keys","action":"unchanged"}}` + "\n" + `{"report":{"created":0,"updated":0,"deleted":0,"unchanged":1,"skipped":{},"failed":0,"conflicted":0}}` + "\n" +
			`{"decision":{"object":"ConfigMap shop/settings","action":"create"}}` + "\n" +
			`{"lag":{"changes":3,"p50":1000,"p99":312400000,"max":312400000,"waiting":0,"oldest":0}}` + "\n" +
			`{"lag":{"changes":0,"p50":0,"p99":0,"max":0,"waiting":2,"oldest":90000000000}}` + "\n" +
			`{"lag":{"changes":0,"p50":0,"p99":0,"max":0,"waiting":0,"oldest":0}}` + "\n",
	}
	for format, want := range tests {
		t.Run(string(format), func(t *testing.T) {
			o, data, _ := copyOutput(format)
			v := o.Following()
			v.Decision(someDecisions[2])
			report := outcome.Report{Unchanged: 1, Skipped: map[string]int{}}
			if format == AsTable {
				report = someReport
			}
			v.Synced(report)
			v.Decision(someDecisions[0])
			v.Lag(backlog.Lag{Changes: 3, P50: time.Microsecond, P99: 312400 * time.Microsecond, Max: 312400 * time.Microsecond})
			v.Lag(backlog.Lag{Waiting: 2, Oldest: 90 * time.Second})
			v.Lag(backlog.Lag{})
			v.Close()
			if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(data.String(), "\n")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestCounter draws the count of objects on a terminal: lines that are said appear above it, and nothing of it is left.
func TestCounter(t *testing.T) {
	s := newScreen(t, 60, 5)
	c := &counter{out: s, stop: func() {}}
	c.count(someDecisions[0])
	c.count(someDecisions[2])
	c.draw()
	if diff := cmp.Diff("2 objects looked at, 1 written", strings.TrimSpace(s.text())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	c.say("copied %d secrets", 1)
	c.draw()
	c.close()
	if diff := cmp.Diff("copied 1 secrets", strings.TrimSpace(s.text())); diff != "" {
		t.Errorf("after its end (-want +got):\n%s", diff)
	}
}
