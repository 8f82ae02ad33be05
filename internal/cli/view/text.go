package view

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/crossfade-dev/crossfade/internal/record"
)

// duration shows a length of time as people say it. One that grows keeps its form: 2.9s, 3.0s, ..., 9.9s, 10s, ..., 1m0s.
func duration(d time.Duration) string {
	if tenths := max(d, 0).Round(100 * time.Millisecond); tenths < 10*time.Second {
		return fmt.Sprintf("%.1fs", tenths.Seconds())
	}
	return d.Round(time.Second).String()
}

// shorten cuts a text to so many characters, at least one.
func shorten(text string, limit int) string {
	r := []rune(text)
	if len(r) <= limit {
		return text
	}
	return string(r[:max(limit, 1)-1]) + "…"
}

// control is a terminal's control sequence, such as a change of colour (ECMA-48 section 5.4).
var control = regexp.MustCompile("\x1b\\[[0-?]*[ -/]*[@-~]")

// plain takes out of a text what would move the cursor or change colours: what pods say is shown, not obeyed.
func plain(text string) string {
	text = control.ReplaceAllString(text, "")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case !unicode.IsPrint(r):
			return '\uFFFD'
		}
		return r
	}, text)
}

// wrap breaks a text between words into lines, the first of at most first characters and the others of at most rest. A word
// that is longer stays whole, so that it can be copied; the first line is empty when the text begins with one.
func wrap(text string, first, rest int) []string {
	var lines []string
	line, limit := "", first
	for _, word := range strings.Fields(text) {
		over := width(line)+1+width(word) > limit
		if line == "" {
			over = lines == nil && width(word) > limit
		}
		if over {
			lines = append(lines, line)
			line, limit = "", rest
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// width is how many columns a text takes.
func width(text string) int { return len([]rune(text)) }

// detailLines are the lines that an event carries for people: what pods say. Other details are for machines.
func detailLines(e record.Event) []string {
	var lines []string
	if e.Kind != record.Progress || json.Unmarshal(e.Detail, &lines) != nil {
		return nil
	}
	for i, l := range lines {
		lines[i] = plain(l)
	}
	return lines
}

// hint is what can be done about a failed step, as the event of the failure says; "" when it says nothing.
func hint(e record.Event) string {
	var detail struct{ Hint string }
	if e.Kind != record.StepFailed || json.Unmarshal(e.Detail, &detail) != nil {
		return ""
	}
	return plain(detail.Hint)
}

// remark is the text of a note, with who asked for it.
func remark(e record.Event) string {
	if e.By == "" {
		return plain(e.Message)
	}
	return plain(e.Message + " by " + e.By)
}
