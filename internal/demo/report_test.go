package demo

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/load"
	"github.com/crossfade-dev/crossfade/internal/record"
)

// second is a moment of a canned demo.
func second(s float64) time.Time {
	return time.Date(2026, 7, 28, 15, 4, 5, 0, time.UTC).Add(time.Duration(s * float64(time.Second)))
}

// playedBack is the demo after the events of a canned second roll-over: a soak that a switch-back ends, forward again, and a
// soak that a retirement ends. What is listed are the phases of the load after each event.
func playedBack(t *testing.T) (d *demo, marked [][]string) {
	t.Helper()
	d = &demo{}
	d.step("g-1", record.Event{Step: "plan", Kind: record.StepStarted, At: second(-60)})
	d.step("g-1", record.Event{Step: "plan", Kind: record.StepDone, At: second(-59)})
	for _, e := range []record.Event{
		{Step: "deploy/web", Kind: record.StepStarted, At: second(0)},
		{Step: "deploy/orders", Kind: record.StepStarted, At: second(1)},
		{Step: "deploy/web", Kind: record.Progress, At: second(2)},
		{Step: "deploy/web", Kind: record.StepDone, At: second(3)},
		{Step: "deploy/orders", Kind: record.StepDone, At: second(4)},
		{Step: "gate", Kind: record.StepStarted, At: second(4)},
		{Step: "gate", Kind: record.StepDone, At: second(8)},
		{Step: "shift/50", Kind: record.StepStarted, At: second(8)},
		{Step: "shift/50", Kind: record.StepDone, At: second(9)},
		{Step: "soak", Kind: record.StepStarted, At: second(9)},
		{Kind: record.Note, Message: "switch-back was asked for", At: second(10)},
		{Step: "switch-back", Kind: record.StepStarted, At: second(11)},
		{Step: "switch-back", Kind: record.StepDone, At: second(12)},
		{Step: "soak", Kind: record.StepStarted, At: second(13)},
		{Step: "retire/delete", Kind: record.StepStarted, At: second(14)},
		{Step: "retire/delete", Kind: record.StepFailed, At: second(15)},
	} {
		d.step("g-2", e)
		marked = append(marked, d.underWay("g-2"))
	}
	return d, marked
}

func TestSteps(t *testing.T) {
	d, marked := playedBack(t)
	at := func(generation, name string, start, end float64) StepTime {
		return StepTime{Generation: generation, Name: name, Start: second(start), End: second(end)}
	}
	want := []StepTime{
		at("g-1", "plan", -60, -59),
		at("g-2", "deploy/web", 0, 3), at("g-2", "deploy/orders", 1, 4), at("g-2", "gate", 4, 8), at("g-2", "shift/50", 8, 9),
		at("g-2", "soak", 9, 11), at("g-2", "switch-back", 11, 12), at("g-2", "soak", 13, 14), at("g-2", "retire/delete", 14, 15),
	}
	if diff := cmp.Diff(want, d.report.Steps); diff != "" {
		t.Errorf("the steps, soaks ended by what came after them included: (-want +got)\n%s", diff)
	}
	phases := [][]string{
		{"deploy/web"},
		{"deploy/web", "deploy/orders"},
		{"deploy/web", "deploy/orders"},
		{"deploy/orders"},
		nil,
		{"gate", "steady"},
		nil,
		{"shift/50", "shift"},
		nil,
		{"soak", "steady"},
		{"soak", "steady"},
		{"switch-back", "shift"},
		nil,
		{"soak", "steady"},
		{"retire/delete"},
		nil,
	}
	if diff := cmp.Diff(phases, marked); diff != "" {
		t.Errorf("what the load is counted under: (-want +got)\n%s", diff)
	}
	whole, inSteps := d.report.Rollover()
	if whole != 15*time.Second || inSteps != 14*time.Second { // between 12 and 13 there was none
		t.Errorf("Rollover() = %v, %v in steps; want 15s, 14s", whole, inSteps)
	}
	if whole, inSteps := (Report{}).Rollover(); whole != 0 || inSteps != 0 {
		t.Errorf("Rollover() of nothing = %v, %v", whole, inSteps)
	}
}

// TestMarks holds that the load is counted under the phases of the steps, by the load's own count.
func TestMarks(t *testing.T) {
	g, err := load.New(load.Options{Entry: "http://127.0.0.1:1", Kinds: Mix()})
	if err != nil {
		t.Fatal(err)
	}
	d := &demo{load: g}
	d.step("g-2", record.Event{Step: "gate", Kind: record.StepStarted, At: second(0)})
	d.step("g-2", record.Event{Step: "gate", Kind: record.StepDone, At: second(1)})
	d.step("g-2", record.Event{Step: "shift/5", Kind: record.StepStarted, At: second(1)})
	var names []string
	for _, p := range g.Report().Phases {
		names = append(names, p.Name)
	}
	if diff := cmp.Diff([]string{"gate", "steady", "shift/5", "shift"}, names); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// measured is a canned report in which so many requests failed.
func measured(t *testing.T, failed int64) Report {
	t.Helper()
	d, _ := playedBack(t)
	requests := func(sent, failed int64) load.Requests {
		return load.Requests{Sent: sent, Failed: failed, ByStatus: map[string]int64{"200": sent - failed}, ByGeneration: map[string]int64{"g-1": sent - failed}}
	}
	r := d.report
	r.Report = load.Report{
		Requests: requests(leastRequests, failed),
		Latency: map[string]load.Latency{
			"all": {P50: 1, P99: 4, P999: 8}, "steady": {P50: 1, P99: 2.5, P999: 6, Count: 4000}, "shift": {P50: 1, P99: 3, P999: 7, Count: 2000},
		},
		Phases: []load.Phase{
			{Name: "steady", Start: second(4), Requests: requests(4000, 0)},
			{Name: "shift", Start: second(8), Requests: requests(2000, failed)},
			{Name: "nothing", Start: second(9)},
		},
		Start: second(-1), End: second(99),
	}
	r.Requests.ByStatus["502"], r.Requests.ByGeneration = failed, generations(map[string]int64{"g-1-1": 7, "g-1-2": 3, "g-2-1": 5, "lone": 1})
	if failed > 0 {
		r.Failures = []load.Failure{{Time: second(8), Phase: "shift", Kind: "order", Cause: "status 502"}}
	}
	return r
}

// TestJSON reads the report as programs do that know only its documented fields.
func TestJSON(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.json")
	if err := measured(t, 2).Write(file); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Requests struct {
			Sent         *int64           `json:"sent"`
			Failed       *int64           `json:"failed"`
			ByGeneration map[string]int64 `json:"byGeneration"`
		} `json:"requests"`
		Latency map[string]map[string]float64 `json:"latency_ms"`
		Steps   []map[string]string           `json:"steps"`
	}
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	if got.Requests.Sent == nil || *got.Requests.Sent != leastRequests || got.Requests.Failed == nil || *got.Requests.Failed != 2 {
		t.Errorf("requests.sent and requests.failed: %s", raw)
	}
	if diff := cmp.Diff(map[string]int64{"g-1": 10, "g-2": 5, "lone": 1}, got.Requests.ByGeneration); diff != "" {
		t.Errorf("nodes are counted by their generation: (-want +got)\n%s", diff)
	}
	if got.Latency["steady"]["p99"] != 2.5 || got.Latency["shift"]["p99"] != 3 {
		t.Errorf("latency_ms.steady.p99 and latency_ms.shift.p99: %s", raw)
	}
	first := map[string]string{"generation": "g-1", "name": "plan", "start": "2026-07-28T15:03:05Z", "end": "2026-07-28T15:03:06Z"}
	if len(got.Steps) != 9 || cmp.Diff(first, got.Steps[0]) != "" {
		t.Errorf("steps: %v, the first should be %v", got.Steps, first)
	}
	for _, s := range got.Steps {
		if s["end"] < s["start"] {
			t.Errorf("%s ends at %s, before its start at %s", s["name"], s["end"], s["start"])
		}
	}
	if err := measured(t, 0).Write(filepath.Join(file, "below")); fault.CodeOf(err) != fault.Failed || fault.HintOf(err) == "" {
		t.Errorf("Write() below a file = %v", err)
	}
}

func TestVerdict(t *testing.T) {
	for name, c := range map[string]struct {
		reason       string
		sent, failed int64
		want         string
		status       int
	}{
		"Good":    {"nobody noticed anything", leastRequests, 0, "", 0},
		"One":     {"one failed request is one too many", 1_000_000, 1, "1 of 1000000 requests failed", 3},
		"TooFew":  {"few requests prove little", leastRequests - 1, 0, "only 19999 requests were sent, 20000 are wanted", 3},
		"Nothing": {"no users are no proof", 0, 0, "only 0 requests were sent, 20000 are wanted", 3},
	} {
		t.Run(name, func(t *testing.T) {
			r := Report{Report: load.Report{Requests: load.Requests{Sent: c.sent, Failed: c.failed}}}
			err := r.verdict()
			text := ""
			if err != nil {
				text = err.Error()
			}
			if text != c.want || fault.ExitStatus(err) != c.status {
				t.Errorf("%s: verdict() = %v, exit status %d; want %q, %d", c.reason, err, fault.ExitStatus(err), c.want, c.status)
			}
		})
	}
}

func TestPrint(t *testing.T) {
	var good, bad, none bytes.Buffer
	measured(t, 0).Print(&good)
	measured(t, 2).Print(&bad)
	want := `STEP           GENERATION  AT    TOOK
plan           g-1         0s    1s
deploy/web     g-2         1m0s  3s
deploy/orders  g-2         1m1s  3s
gate           g-2         1m4s  4s
shift/50       g-2         1m8s  1s
soak           g-2         1m9s  2s
switch-back    g-2         1m11s 1s
soak           g-2         1m13s 1s
retire/delete  g-2         1m14s 1s

PHASE   REQUESTS  FAILED  P50 ms  P99 ms  P999 ms
steady  4000      0       1.0     2.5     6.0
shift   2000      0       1.0     3.0     7.0

20000 requests sent, 0 failed (status 200: 20000, status 502: 0)
answered by g-1: 10, g-2: 5, lone: 1
p99 while shifting 3.0 ms, 1.20x that of steady state with both generations up
`
	if diff := cmp.Diff(strings.Fields(want), strings.Fields(good.String())); diff != "" {
		t.Errorf("(-want +got)\n%s\n%s", diff, good.String())
	}
	for _, want := range []string{"20000 requests sent, 2 failed", "shift order: status 502"} {
		if !strings.Contains(bad.String(), want) {
			t.Errorf("a report with failures does not say %q:\n%s", want, bad.String())
		}
	}
	Report{Steps: []StepTime{{Generation: "g-1", Name: "plan", Start: second(0)}}}.Print(&none)
	if want := "STEP  GENERATION  AT  TOOK\nplan  g-1         0s  -\n\nno requests were sent\n"; none.String() != want {
		t.Errorf("a demo that broke before the users came: %q, want %q", none.String(), want)
	}
}

// TestMix asks what the mix of the users takes for an answer.
func TestMix(t *testing.T) {
	checks := map[string]func(int, []byte) error{}
	for _, k := range Mix() {
		checks[k.Name] = k.Check
	}
	for name, c := range map[string]struct {
		kind   string
		status int
		body   string
		good   bool
	}{
		"Page":       {"front page", 200, "<h1>The shop</h1>", true},
		"OtherPage":  {"front page", 200, "<h1>Welcome to nginx</h1>", false},
		"NotFound":   {"front page", 404, "The shop has no such page", false},
		"Order":      {"order", 201, `{"id":"o-1"}`, true},
		"NoID":       {"order", 201, `{}`, false},
		"NotJSON":    {"order", 201, "thanks", false},
		"NotCreated": {"order, new connection", 200, `{"id":"o-1"}`, false},
	} {
		if err := checks[c.kind](c.status, []byte(c.body)); (err == nil) != c.good {
			t.Errorf("%s: %s with status %d and %q: %v", name, c.kind, c.status, c.body, err)
		}
	}
}
