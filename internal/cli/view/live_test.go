package view

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"go.uber.org/goleak"

	"github.com/crossfade-dev/crossfade/internal/record"
)

var update = flag.Bool("update", false, "write what the views draw into testdata")

func TestMain(m *testing.M) {
	time.Local = time.UTC // views show local time
	goleak.VerifyTestMain(m)
}

// TestRuns draws each canned run as it is seen on a terminal and where there is none.
func TestRuns(t *testing.T) {
	files, err := filepath.Glob("testdata/runs/*.txtar")
	if err != nil || len(files) < 10 {
		t.Fatalf("found %d canned runs: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil || len(archive.Files) < 2 {
				t.Fatalf("%s has no events and screen: %v", file, err)
			}
			moments := canned(t, string(archive.Files[0].Data))
			var columns, rows int
			if _, err := fmt.Sscanf(archive.Files[1].Name, "screen %dx%d", &columns, &rows); err != nil {
				t.Fatal(err)
			}
			got := []txtar.File{
				archive.Files[0],
				{Name: archive.Files[1].Name, Data: []byte(onScreen(t, newScreen(t, columns, rows), true, moments))},
				{Name: "lines", Data: []byte(asLines(moments))},
			}
			if *update {
				if err := os.WriteFile(file, txtar.Format(&txtar.Archive{Comment: archive.Comment, Files: got}), 0o644); err != nil { //nolint:gosec // test data
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(files2text(archive.Files), files2text(got)); diff != "" {
				t.Errorf("%s\n%s(-want +got)", bytes.TrimSpace(archive.Comment), diff)
			}
		})
	}
}

func files2text(files []txtar.File) string { return string(txtar.Format(&txtar.Archive{Files: files})) }

// onScreen draws a canned run and returns what was on the screen at each look.
func onScreen(t *testing.T, s *screen, colour bool, moments []moment) string {
	t.Helper()
	now := begin
	size := func() (columns, rows int) { return s.columns, s.rows }
	v := newLive(s, &Terminal{Size: size, Colour: colour}, func() time.Time { return now })
	var b strings.Builder
	for _, m := range moments {
		now = begin.Add(m.after)
		switch m.do {
		case "event":
			v.Event(m.event)
		case "close":
			v.Close()
		case "size":
			var columns, rows int
			if _, err := fmt.Sscan(m.args, &columns, &rows); err != nil {
				t.Fatal(err)
			}
			s.resize(columns, rows)
			v.tick()
		case "look":
			if !v.closed {
				v.tick()
			}
			fmt.Fprintf(&b, "== %v\n%s", m.after, s.text())
		}
	}
	return b.String()
}

// asLines is a canned run where there is no terminal.
func asLines(moments []moment) string {
	var b bytes.Buffer
	v := (&Output{Format: AsTable, Talk: &b, Terminal: noTerminal}).Run()
	defer v.Close()
	for _, m := range moments {
		if m.do == "event" {
			v.Event(m.event)
		}
	}
	return b.String()
}

func TestColour(t *testing.T) {
	moments := canned(t, "0 started plan comparing\n1 failed plan no {\"hint\":\"mend it\"}\n1 note - failed: no\n1 look")
	for name, c := range map[string]struct {
		reason string
		colour bool
	}{
		"Colour":  {"marks stand out", true},
		"NoColor": {"NO_COLOR is obeyed: the cursor moves, colours do not change", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScreen(t, 80, 24)
			onScreen(t, s, c.colour, moments)
			if got := s.colours > 0; got != c.colour {
				t.Errorf("%s: %d changes of colour: %q", c.reason, s.colours, s.raw.String())
			}
			if !strings.Contains(s.raw.String(), "\x1b[1A") {
				t.Errorf("%s: nothing was redrawn: %q", c.reason, s.raw.String())
			}
		})
	}
}

// TestNothingErased holds that a redrawing writes over what is there: a screen that is cleared first flickers.
func TestNothingErased(t *testing.T) {
	s := newScreen(t, 80, 24)
	onScreen(t, s, true, canned(t, "0 started plan comparing\n1 look\n2 look"))
	if i := strings.Index(s.raw.String(), "\x1b[J\n"); i >= 0 || strings.Contains(s.raw.String(), "\r\x1b[J") {
		t.Errorf("the screen is cleared before it is drawn: %q", s.raw.String())
	}
}

// TestAnimation lets time pass: a step under way is redrawn, and nothing is drawn once the view is closed.
func TestAnimation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScreen(t, 80, 24)
		terminal := &Terminal{Size: func() (columns, rows int) { return 80, 24 }}
		o := &Output{Format: AsTable, Talk: s, Terminal: func(io.Writer) *Terminal { return terminal }, Now: time.Now}
		v := o.Run()
		v.Event(record.Event{Step: "plan", Kind: record.StepStarted, Message: "comparing", At: time.Now()})
		time.Sleep(1210 * time.Millisecond)
		synctest.Wait()
		if diff := cmp.Diff("⠹ plan                     1.2s  comparing\n", s.text()); diff != "" {
			t.Errorf("after 12 frames: (-want +got)\n%s", diff)
		}
		v.Close()
		drawn := s.raw.Len()
		time.Sleep(time.Second)
		if s.raw.Len() != drawn {
			t.Error("a closed view drew on")
		}
		if diff := cmp.Diff("· plan                     1.2s  comparing\n", s.text()); diff != "" {
			t.Errorf("closed: (-want +got)\n%s", diff)
		}
	})
}
