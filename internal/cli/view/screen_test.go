package view

import (
	"strconv"
	"strings"
	"testing"
)

// screen is a terminal that understands what the live view writes, and complains about anything else. What scrolls off its top
// is kept and out of the cursor's reach, as in real ones.
type screen struct {
	t             *testing.T
	columns, rows int
	lines         [][]rune
	x, y          int
	colours       int // changes of colour
	raw           strings.Builder
}

func newScreen(t *testing.T, columns, rows int) *screen {
	return &screen{t: t, columns: columns, rows: rows, lines: [][]rune{nil}}
}

func (s *screen) Write(p []byte) (int, error) {
	s.raw.Write(p)
	text := []rune(string(p))
	for i := 0; i < len(text); i++ {
		switch r := text[i]; {
		case r == '\x1b':
			end := i + 2
			for end < len(text) && (text[end] < '@' || text[end] > '~') {
				end++
			}
			s.control(string(text[i+1 : end+1]))
			i = end
		case r == '\r':
			s.x = 0
		case r == '\n': // a terminal's driver makes it a carriage return too
			s.x = 0
			s.down()
		case r < ' ':
			s.t.Errorf("the control character %q was written", r)
		default:
			s.put(r)
		}
	}
	return len(p), nil
}

func (s *screen) put(r rune) {
	if s.x == s.columns {
		s.t.Errorf("the line %q wraps", string(s.lines[s.y]))
		s.x = 0
		s.down()
	}
	for len(s.lines[s.y]) <= s.x {
		s.lines[s.y] = append(s.lines[s.y], ' ')
	}
	s.lines[s.y][s.x] = r
	s.x++
}

func (s *screen) down() {
	s.y++
	if s.y == len(s.lines) {
		s.lines = append(s.lines, nil)
	}
}

func (s *screen) control(sequence string) {
	if !strings.HasPrefix(sequence, "[") {
		s.t.Fatalf("the screen does not know %q", sequence)
	}
	body, action := sequence[1:len(sequence)-1], sequence[len(sequence)-1]
	n, err := strconv.Atoi(body)
	if body == "" {
		n, err = 1, nil
	}
	if err != nil {
		s.t.Fatalf("the screen does not know %q", sequence)
	}
	switch action {
	case 'A':
		s.y -= n
		if top := max(0, len(s.lines)-s.rows); s.y < top {
			s.t.Errorf("the cursor went over the top of the screen")
			s.y = top
		}
	case 'K':
		s.lines[s.y] = s.lines[s.y][:min(s.x, len(s.lines[s.y]))]
	case 'J':
		s.lines[s.y] = s.lines[s.y][:min(s.x, len(s.lines[s.y]))]
		for i := s.y + 1; i < len(s.lines); i++ {
			s.lines[i] = nil
		}
	case 'm':
		s.colours++
	default:
		s.t.Fatalf("the screen does not know %q", sequence)
	}
}

// text is everything that is on the screen and above it.
func (s *screen) text() string {
	var b strings.Builder
	for _, l := range s.lines {
		b.WriteString(strings.TrimRight(string(l), " ") + "\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// resize makes the window narrower, and breaks the lines that are too long for it.
func (s *screen) resize(columns, rows int) {
	s.columns, s.rows = columns, rows
	var lines [][]rune
	for i, l := range s.lines {
		if i == s.y {
			s.y = len(lines)
		}
		for len(l) > columns {
			lines, l = append(lines, l[:columns:columns]), l[columns:]
		}
		lines = append(lines, l)
	}
	s.lines = lines
}
