package diff

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

func TestReport(t *testing.T) {
	missing := Difference{Object: "ConfigMap shop/a", Cause: Missing}
	changed := Difference{Object: "ConfigMap shop/b", Cause: Changed, Fields: []Field{{Path: "data.colour"}}}
	tests := map[string]struct {
		reason        string
		report        Report
		summary, text string
		code          fault.Code
		hint          string
	}{
		"same": {reason: "nothing is wrong", report: Report{Compared: 1}, summary: "blue and green are the same: 1 object compared"},
		"exceptions": {
			reason: "what is meant is no difference", report: Report{Compared: 5, Exceptions: []Exception{{}, {}}},
			summary: "blue and green are the same: 5 objects compared, 2 of them declared to differ",
		},
		"different": {
			reason: "the first is named, with its first field", code: fault.Failed,
			report:  Report{Compared: 5, Different: map[Cause]int{Missing: 2, Changed: 1}, Differences: []Difference{changed, missing}},
			summary: "blue and green differ in 3 of 5 objects: 2 missing, 1 changed",
			text:    "blue and green differ in 3 of 5 objects: 2 missing, 1 changed; the first is ConfigMap shop/b: changed, data.colour",
		},
		"trouble": {
			reason: "what is not known comes before what is", code: fault.Trouble,
			report:  Report{Compared: 5, Different: map[Cause]int{Missing: 1}, Differences: []Difference{missing}, Trouble: []Trouble{{Kind: "secrets", Error: "forbidden"}}},
			summary: "blue and green differ in 1 of 5 objects: 1 missing",
			text:    "cannot compare everything in blue and green: secrets: forbidden", hint: "1 kind was not compared; the rest was: the report has it",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.report.From, test.report.To = "blue", "green"
			err, text := test.report.Err(), ""
			if err != nil {
				text = err.Error()
			}
			got := []string{test.report.Summary(), text, string(fault.CodeOf(err)), fault.HintOf(err)}
			if diff := cmp.Diff([]string{test.summary, test.text, string(test.code), test.hint}, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

// TestCollector: every difference is counted, and no more than so many are kept, in order.
func TestCollector(t *testing.T) {
	all := newCollector("blue", "green")
	for part := range 3 {
		kind := newCollector("", "")
		for i := range maxDifferences / 2 {
			kind.with(func(r *Report) {
				r.Compared++
				r.add(Difference{Object: fmt.Sprintf("%d/%05d", part, maxDifferences-i), Cause: Causes[(i+part)%2]})
			})
		}
		all.with(func(r *Report) { r.merge(kind.result()) })
	}
	r := all.result()
	if r.Count() != 3*maxDifferences/2 || r.Compared != r.Count() || len(r.Differences) != maxDifferences || r.More != maxDifferences/2 {
		t.Errorf("counted %d of %d, kept %d, left out %d", r.Count(), r.Compared, len(r.Differences), r.More)
	}
	for i, d := range r.Differences[1:] {
		if before := r.Differences[i]; before.Cause == d.Cause && before.Object >= d.Object || before.Cause == Unserved && d.Cause == Missing {
			t.Fatalf("%v comes before %v", before, d)
		}
	}
}
