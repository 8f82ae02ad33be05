package view

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/runbook/step"
)

// begin is when canned runs begin.
var begin = time.Date(2026, 7, 28, 15, 4, 5, 0, time.UTC)

// moment is one line of a canned run: after so much time either an event or something that is done to the view.
type moment struct {
	after time.Duration
	do    string // "event", "look", "close", or "size" with the new one
	args  string
	event record.Event
}

// canned reads the events of a run, a line each:
//
//	SECONDS KIND STEP MESSAGE [{detail}]     STEP is - outside of steps; "by NAME" at the end of a note is who asked for it
//	SECONDS look                             what is on the screen now
//	SECONDS size COLUMNS ROWS                the window was changed
//	SECONDS close
func canned(t *testing.T, text string) []moment {
	t.Helper()
	var all []moment
	for i, l := range strings.Split(strings.TrimSpace(text), "\n") {
		seconds, rest, _ := strings.Cut(l, " ")
		at, err := strconv.ParseFloat(seconds, 64)
		if err != nil {
			t.Fatalf("line %d: %v", i+1, err)
		}
		m := moment{after: time.Duration(at * float64(time.Second))}
		m.do, m.args, _ = strings.Cut(rest, " ")
		switch m.do {
		case "look", "size", "close":
		default:
			m.event = cannedEvent(t, int64(i+1), m)
			m.do = "event"
		}
		all = append(all, m)
	}
	return all
}

func cannedEvent(t *testing.T, number int64, m moment) record.Event {
	t.Helper()
	name, message, _ := strings.Cut(m.args, " ")
	e := record.Event{
		Seq: number, Run: "production-rollover-20260728T150405.000Z", Key: strconv.FormatInt(number, 10), Kind: record.EventKind(m.do),
		At: begin.Add(m.after),
	}
	if name != "-" {
		e.Step = name
	}
	if i := strings.IndexAny(message, "{["); i > 0 && json.Valid([]byte(message[i:])) {
		message, e.Detail = strings.TrimSpace(message[:i]), json.RawMessage(message[i:])
	}
	if text, by, ok := strings.Cut(message, " by "); ok && e.Kind == record.Note {
		message, e.By = text, by
	}
	for _, state := range []record.RunState{record.Done, record.RunFailed, record.RunRefused, record.SwitchedBack, record.Aborted} {
		if e.Kind == record.Note && strings.HasPrefix(message, string(state)) {
			e.Key = step.EndKey
		}
	}
	e.Message = strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\e`, "\x1b").Replace(message)
	return e
}
