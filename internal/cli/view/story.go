package view

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/record"
)

// story writes a line an event: when, which step, what happened, how long it took.
type story struct {
	out     io.Writer
	paint   paint
	started map[string]time.Time
}

func newStory(out io.Writer, t *Terminal) *story {
	return &story{out: out, paint: paint{t != nil && t.Colour}, started: map[string]time.Time{}}
}

// Event writes the line of an event, and below it what pods say and what can be done.
func (v *story) Event(e record.Event) {
	text, took := plain(e.Message), ""
	switch e.Kind {
	case record.StepStarted:
		v.started[e.Step] = e.At
	case record.StepDone:
		took, text = v.took(e), v.paint.good(text)
	case record.StepFailed:
		took, text = v.took(e), v.paint.bad("failed: "+text)
	case record.Progress:
		text = v.paint.faint("  " + text)
	case record.Note:
		text = v.paint.strong(remark(e))
	}
	step := e.Step
	if step == "" {
		step = "-"
	}
	fmt.Fprintf(v.out, "%s  %-22s %s%s\n", e.At.Local().Format(time.TimeOnly), step, text, took)
	for _, line := range detailLines(e) {
		v.below("| " + line)
	}
	if hint := hint(e); hint != "" {
		v.below("hint: " + hint)
	}
	if stepOf(e.Step) == stepApprove && e.Kind == record.StepStarted {
		for _, choice := range choices(e.Run) {
			v.below(choice)
		}
	}
}

// stepOf is a step without the name of its run, which is before it where several are told of.
func stepOf(step string) string { return step[strings.LastIndex(step, "/")+1:] }

// below writes a line that belongs to the one before it.
func (v *story) below(text string) { fmt.Fprintf(v.out, "%8s  %-22s   %s\n", "", "", text) }

// Close does nothing: every line is written at once.
func (v *story) Close() {}

func (v *story) took(e record.Event) string {
	if start, ok := v.started[e.Step]; ok {
		return v.paint.faint(" (" + duration(e.At.Sub(start)) + ")")
	}
	return ""
}
