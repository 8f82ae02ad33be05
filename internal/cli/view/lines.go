package view

import (
	"fmt"
	"strings"
)

// line is a line of the live view, bare and with its colours.
type line struct{ text, painted string }

// The columns of the live view: what is narrower than narrow has none.
const (
	nameColumn = 22
	tookColumn = 6
	narrow     = 70
)

// columns is how many columns are drawn in: all but the last, since writing there leaves the cursor where terminals disagree.
func (v *live) columns() int {
	columns, _ := v.terminal.Size()
	return max(columns-1, 20)
}

// row is what is shown of a step: mark, name, time taken, and a text that goes on below itself. It takes at most so many lines,
// any number when limit is 0.
func (v *live) row(mark, name, took, text string, limit int) []line {
	head, indent := fmt.Sprintf("%-*s %*s  ", nameColumn, name, tookColumn, took), 2+nameColumn+1+tookColumn+2
	if v.columns() < narrow {
		head, indent = strings.TrimSpace(name+" "+took)+"  ", 4
	}
	first, rest := v.columns()-2-width(head), v.columns()-indent
	texts := wrap(text, first, rest)
	if limit > 0 {
		texts = cut(texts, first, rest, limit)
	}
	lines := []line{{text: "  " + head + texts[0], painted: mark + " " + v.faintly(head, took) + texts[0]}}
	return append(lines, indented(indent, texts[1:])...)
}

// faintly is the head of a row with the time less visible than the name.
func (v *live) faintly(head, took string) string {
	if i := strings.LastIndex(head, took); took != "" && i > 0 {
		return head[:i] + v.paint.faint(took) + head[i+len(took):]
	}
	return head
}

// cut leaves the first lines, none wider than there is room for; an ellipsis stands for what is missing.
func cut(texts []string, first, rest, limit int) []string {
	if len(texts) > limit {
		texts = append(texts[:limit-1:limit-1], strings.Join(texts[limit-1:], " "))
	}
	for i := range texts {
		room := rest
		if i == 0 {
			room = first
		}
		texts[i] = shorten(texts[i], room)
	}
	return texts
}

// below is a text that belongs to the row before it; none when there is no text.
func (v *live) below(what, text string) []line {
	if text == "" {
		return nil
	}
	texts := wrap(what+text, v.columns()-4, v.columns()-4)
	return indented(4, texts)
}

// note is an event outside of steps.
func (v *live) note(text string) []line {
	var lines []line
	for i, t := range wrap(text, v.columns()-2, v.columns()-2) {
		mark := "  "
		if i == 0 {
			mark = "• "
		}
		lines = append(lines, line{text: mark + t, painted: v.paint.strong(mark + t)})
	}
	return lines
}

func indented(by int, texts []string) []line {
	var lines []line
	for _, t := range texts {
		t = strings.Repeat(" ", by) + t
		lines = append(lines, line{text: t, painted: t})
	}
	return lines
}
