package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/crossfade-dev/crossfade/internal/record"
)

// view shows the events of a run as they come. It is used by one goroutine.
type view interface {
	event(record.Event)
	close()
}

// newView is how a command that waits for a run shows it: alive on a terminal, as lines elsewhere, as JSON lines on standard
// output where that was asked for.
func (a *app) newView() view {
	if a.output != "table" {
		return &jsonView{json.NewEncoder(a.Out)}
	}
	if f, ok := a.Err.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		width, _, err := term.GetSize(int(f.Fd()))
		if err != nil {
			width = 80
		}
		return newLiveView(a.Err, width, time.Now)
	}
	return newStoryView(a.Err, false)
}

// newStory is how crossfade logs tells a run, on standard output.
func (a *app) newStory() view {
	if a.output != "table" {
		return &jsonView{json.NewEncoder(a.Out)}
	}
	f, ok := a.Out.(*os.File)
	return newStoryView(a.Out, ok && term.IsTerminal(int(f.Fd())))
}

// jsonView writes one event a line.
type jsonView struct{ out *json.Encoder }

func (v *jsonView) event(e record.Event) { _ = v.out.Encode(e) }
func (v *jsonView) close()               {}

// storyView writes a line an event: when, which step, what happened, how long it took.
type storyView struct {
	out     io.Writer
	paint   paint
	started map[string]time.Time
}

func newStoryView(out io.Writer, colour bool) *storyView {
	return &storyView{out: out, paint: newPaint(colour), started: map[string]time.Time{}}
}

func (v *storyView) event(e record.Event) {
	text, took := e.Message, ""
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
		if e.By != "" {
			text += " by " + e.By
		}
		text = v.paint.strong(text)
	}
	step := e.Step
	if step == "" {
		step = "-"
	}
	fmt.Fprintf(v.out, "%s  %-22s %s%s\n", e.At.Local().Format(time.TimeOnly), step, text, took)
	for _, line := range detailLines(e) {
		fmt.Fprintf(v.out, "%s  %-22s   | %s\n", strings.Repeat(" ", 8), "", line)
	}
}

func (v *storyView) close() {}

func (v *storyView) took(e record.Event) string {
	if start, ok := v.started[e.Step]; ok {
		return v.paint.faint(" (" + duration(e.At.Sub(start)) + ")")
	}
	return ""
}

// detailLines are the lines that an event carries for people: what pods say. Other details are for machines.
func detailLines(e record.Event) []string {
	var lines []string
	if e.Kind != record.Progress || json.Unmarshal(e.Detail, &lines) != nil {
		return nil
	}
	return lines
}

// paint puts colour on text, where the terminal has it and NO_COLOR (no-color.org) does not forbid it.
type paint struct{ on bool }

func newPaint(terminal bool) paint { return paint{terminal && os.Getenv("NO_COLOR") == ""} }

func (p paint) wrap(code, text string) string {
	if !p.on {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (p paint) good(text string) string   { return p.wrap("32", text) }
func (p paint) bad(text string) string    { return p.wrap("31", text) }
func (p paint) faint(text string) string  { return p.wrap("2", text) }
func (p paint) strong(text string) string { return p.wrap("1", text) }
