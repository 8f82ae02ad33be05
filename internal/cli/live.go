package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/crossfade-dev/crossfade/internal/record"
)

// frame is the time between two drawings of a live view.
const frame = 100 * time.Millisecond

// liveView shows a run on a terminal: steps that ended stay as lines, those under way are redrawn below with what they wait
// for and how long they have taken.
type liveView struct {
	out   io.Writer
	width int
	now   func() time.Time
	paint paint

	mu      sync.Mutex
	running []*runningStep
	drawn   int // lines that the next drawing replaces
	tick    int
	stop    chan struct{}
	stopped sync.WaitGroup
}

type runningStep struct {
	id, saying string
	since      time.Time
}

func newLiveView(out io.Writer, width int, now func() time.Time) *liveView {
	v := &liveView{out: out, width: max(width, 40), now: now, paint: newPaint(true), stop: make(chan struct{})}
	v.stopped.Go(v.animate)
	return v
}

func (v *liveView) animate() {
	ticker := time.NewTicker(frame)
	defer ticker.Stop()
	for {
		select {
		case <-v.stop:
			return
		case <-ticker.C:
			v.mu.Lock()
			v.tick++
			v.draw(nil)
			v.mu.Unlock()
		}
	}
}

func (v *liveView) close() {
	close(v.stop)
	v.stopped.Wait()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.draw(nil)
}

func (v *liveView) event(e record.Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch e.Kind {
	case record.StepStarted:
		v.end(e.Step)
		v.running = append(v.running, &runningStep{id: e.Step, saying: e.Message, since: e.At})
		v.draw(nil)
	case record.Progress:
		if s := v.find(e.Step); s != nil {
			s.saying = e.Message
		}
		var lines []string
		for _, l := range detailLines(e) {
			lines = append(lines, v.paint.faint("    | "+l))
		}
		v.draw(lines)
	case record.StepDone:
		v.draw([]string{v.line(v.paint.good("✓"), e, v.end(e.Step))})
	case record.StepFailed:
		v.draw([]string{v.line(v.paint.bad("✗"), e, v.end(e.Step))})
	case record.Note:
		text := e.Message
		if e.By != "" {
			text += " by " + e.By
		}
		v.draw([]string{v.paint.strong("• " + text)})
	}
}

// line is an ended step. It is not cut: the terminal wraps what stays.
func (v *liveView) line(mark string, e record.Event, s *runningStep) string {
	took := ""
	if s != nil {
		took = v.paint.faint("  " + duration(e.At.Sub(s.since)))
	}
	return fmt.Sprintf("%s %-20s %s%s", mark, e.Step, e.Message, took)
}

func (v *liveView) find(id string) *runningStep {
	for _, s := range v.running {
		if s.id == id {
			return s
		}
	}
	return nil
}

// end takes a step out of those under way.
func (v *liveView) end(id string) *runningStep {
	for i, s := range v.running {
		if s.id == id {
			v.running = append(v.running[:i], v.running[i+1:]...)
			return s
		}
	}
	return nil
}

// draw replaces the block at the bottom, with new lines above it that stay.
func (v *liveView) draw(lines []string) {
	var b strings.Builder
	if v.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\r\x1b[J", v.drawn)
	}
	for _, l := range lines {
		b.WriteString(l + "\n")
	}
	for _, s := range v.running {
		spinner := string([]rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")[v.tick%10])
		took := duration(max(0, v.now().Sub(s.since)).Round(100 * time.Millisecond))
		text := shorten(fmt.Sprintf("%s %-20s %s", spinner, s.id, s.saying), v.width-len(took)-3)
		b.WriteString(text + v.paint.faint("  "+took) + "\n")
	}
	v.drawn = len(v.running)
	_, _ = io.WriteString(v.out, b.String())
}
