package view

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/runbook/step"
)

// frame is the time between two drawings of a live view.
const frame = 100 * time.Millisecond

// stepApprove is the step in which a run waits for a person.
const stepApprove = "approve"

// choices are what a person can do about a run that waits for one.
func choices(run string) []string {
	return []string{"to go on: crossfade approve " + run, "to end it: crossfade abort " + run}
}

// live shows a run on a terminal: steps that ended stay as lines, those under way are redrawn below with what they wait for
// and how long they have taken.
type live struct {
	out      io.Writer
	terminal *Terminal
	now      func() time.Time
	paint    paint

	mu      sync.Mutex
	running []*underway
	failure string // what the last failed step said
	drawn   []int  // the widths of the lines that the next drawing replaces
	frames  int    // since the beginning
	closed  bool

	stop    chan struct{}
	stopped sync.WaitGroup
}

// underway is a step that has begun and not ended.
type underway struct {
	id, run, saying string
	since           time.Time
}

func newLive(out io.Writer, t *Terminal, now func() time.Time) *live {
	return &live{out: out, terminal: t, now: now, paint: paint{t.Colour}, stop: make(chan struct{})}
}

// animate draws a frame at every tick until the view is closed.
func (v *live) animate(ticker *time.Ticker) {
	v.stopped.Go(func() {
		defer ticker.Stop()
		for {
			select {
			case <-v.stop:
				return
			case <-ticker.C:
				v.tick()
			}
		}
	})
}

func (v *live) tick() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.frames++
	v.draw()
}

// Close draws a last time. What is still under way then stays as it is.
func (v *live) Close() {
	close(v.stop)
	v.stopped.Wait()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	v.draw()
}

// Event draws what an event changes.
func (v *live) Event(e record.Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.draw(v.take(e)...)
}

// take changes the steps under way and returns the lines that stay.
func (v *live) take(e record.Event) []line {
	switch e.Kind {
	case record.StepStarted:
		lines := v.overtaken(e)
		v.running = append(v.running, &underway{id: e.Step, run: e.Run, saying: plain(e.Message), since: e.At})
		return lines
	case record.Progress:
		return v.progress(e)
	case record.StepDone:
		return v.row(v.paint.good("✓"), e.Step, v.end(e), plain(e.Message), 0)
	case record.StepFailed:
		v.failure = plain(e.Message)
		return append(v.row(v.paint.bad("✗"), e.Step, v.end(e), plain(e.Message), 0), v.below("hint: ", hint(e))...)
	case record.Note:
		var lines []line
		if e.Key == step.EndKey {
			lines = v.interrupted(e.At, func(*underway) bool { return true })
		}
		return append(lines, v.note(v.unrepeated(remark(e)))...)
	}
	return nil
}

// unrepeated is a note without the failure that it gives as its reason, when that was shown above.
func (v *live) unrepeated(note string) string {
	if v.failure == "" {
		return note
	}
	return strings.TrimSuffix(note, ": "+v.failure)
}

// overtaken ends the steps that a new one shows to be over. Only steps of one layer (deploy/web, deploy/orders) go on side by
// side, so whatever else is under way was interrupted, by a person or by the failure of its neighbour. Such steps leave no
// outcome in the record.
func (v *live) overtaken(e record.Event) []line {
	return v.interrupted(e.At, func(s *underway) bool { return s.id == e.Step || layer(s.id) != layer(e.Step) })
}

func layer(step string) string {
	name, _, _ := strings.Cut(step, "/")
	return name
}

func (v *live) interrupted(at time.Time, over func(*underway) bool) []line {
	var lines []line
	var left []*underway
	for _, s := range v.running {
		if !over(s) {
			left = append(left, s)
			continue
		}
		lines = append(lines, v.row(v.paint.asks("○"), s.id, duration(at.Sub(s.since)), "interrupted", 0)...)
	}
	v.running = left
	return lines
}

func (v *live) progress(e record.Event) []line {
	said := detailLines(e)
	if len(said) == 0 {
		for _, s := range v.running {
			if s.id == e.Step {
				s.saying = plain(e.Message)
			}
		}
		return nil
	}
	lines := v.below(e.Step+": ", plain(e.Message))
	for _, l := range said {
		lines = append(lines, line{text: "    | " + l, painted: v.paint.faint("    | " + l)})
	}
	return lines
}

// end takes a step out of those under way and returns how long it took, "" for one whose beginning was not shown.
func (v *live) end(e record.Event) string {
	for i, s := range v.running {
		if s.id == e.Step {
			v.running = append(v.running[:i], v.running[i+1:]...)
			return duration(e.At.Sub(s.since))
		}
	}
	return ""
}

// draw replaces the block at the bottom, with new lines above it that stay. It overwrites line by line, so that nothing
// flickers.
func (v *live) draw(stay ...line) {
	columns, rows := v.terminal.Size()
	block := v.block(max(rows-1, 2))
	if len(stay) == 0 && len(block) == 0 && len(v.drawn) == 0 {
		return
	}
	var b strings.Builder
	if up := height(v.drawn, columns); up > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\r", up)
	}
	v.drawn = v.drawn[:0]
	for _, l := range stay {
		b.WriteString(l.painted + "\x1b[K\n")
	}
	for _, l := range block {
		b.WriteString(l.painted + "\x1b[K\n")
		v.drawn = append(v.drawn, width(l.text))
	}
	b.WriteString("\x1b[J")
	_, _ = io.WriteString(v.out, b.String())
}

// height is how many rows lines of the given widths take: more than one each when the window was made narrower.
func height(widths []int, columns int) int {
	rows := 0
	for _, w := range widths {
		rows += max(1, (w+columns-1)/columns)
	}
	return rows
}

// block is the steps under way, in at most so many lines.
func (v *live) block(limit int) []line {
	for _, each := range []int{2, 1} {
		var lines []line
		for _, s := range v.running {
			lines = append(lines, v.current(s, each)...)
		}
		if len(lines) <= limit {
			return lines
		}
	}
	var lines []line
	for _, s := range v.running[:min(limit-1, len(v.running))] {
		lines = append(lines, v.current(s, 1)[0])
	}
	more := fmt.Sprintf("  and %d more", len(v.running)-len(lines))
	return append(lines, line{text: more, painted: v.paint.faint(more)})
}

// current is a step under way in at most so many lines, and what a person can do when it waits for one.
func (v *live) current(s *underway, limit int) []line {
	mark := string([]rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")[v.frames%10])
	switch {
	case v.closed:
		mark = "·"
	case s.id == stepApprove:
		mark = v.paint.asks("?")
	}
	lines := v.row(mark, s.id, duration(v.now().Sub(s.since)), s.saying, limit)
	if s.id == stepApprove && !v.closed {
		for _, choice := range choices(s.run) {
			lines = append(lines, v.below("", choice)...)
		}
	}
	return lines
}
