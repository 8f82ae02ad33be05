package view

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/runbook/step"
)

// TestSeveral: of several runs only what is done is told, and what a person must know or do, each with the name of its run.
func TestSeveral(t *testing.T) {
	var out bytes.Buffer
	v := newSeveral(&out, nil, map[string]string{"r1": "web", "r2": "orders"})
	at := time.Date(2026, 11, 21, 15, 0, 0, 0, time.Local)
	for _, e := range []record.Event{
		{Run: "r1", Step: "roll", Kind: record.StepStarted, Message: "replacing the pods"},
		{Run: "r2", Step: "roll", Kind: record.StepStarted, Message: "replacing the pods"},
		{Run: "r1", Step: "roll", Kind: record.Progress, Message: "waiting for 1 pod"},
		{Run: "r1", Step: "roll", Kind: record.StepDone, Message: "every pod is of the next version"},
		{Run: "r2", Step: "roll", Kind: record.Progress, Message: "what the pods say", Detail: []byte(`["Pod orders: no image"]`)},
		{Run: "r2", Step: "roll", Kind: record.StepFailed, Message: "no image", Detail: []byte(`{"hint":"push it"}`)},
		{Run: "r1", Step: "approve", Kind: record.StepStarted, Message: "web waits"},
		{Run: "r1", Kind: record.Note, Message: "approve was asked for", By: "me@here"},
		{Run: "r2", Key: step.EndKey, Kind: record.Note, Message: "failed: no image"},
		{Run: "r1", Key: step.EndKey, Kind: record.Note, Message: "done"},
	} {
		e.At = at
		at = at.Add(time.Second)
		v.Event(e)
	}
	want := `
15:00:03  web/roll               every pod is of the next version (3.0s)
15:00:04  orders/roll              what the pods say
                                   | Pod orders: no image
15:00:05  orders/roll            failed: no image (4.0s)
                                   hint: push it
15:00:06  web/approve            web waits
                                   to go on: crossfade approve r1
                                   to end it: crossfade abort r1
15:00:07  web                    approve was asked for by me@here
15:00:08  orders                 failed: no image (1 of 2)
15:00:09  web                    done (2 of 2)
`
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
