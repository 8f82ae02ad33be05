package view

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Terminal is what a view has to know of the terminal on which it draws.
type Terminal struct {
	Size   func() (columns, rows int) // asked before each drawing, since windows change
	Colour bool
}

// TerminalOf describes the terminal behind a writer. It returns nil for anything else, and for a terminal that cannot move its
// cursor. The environment says whether colour is wanted (NO_COLOR, see no-color.org).
func TerminalOf(w io.Writer, getenv func(string) string) *Terminal {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || getenv("TERM") == "dumb" {
		return nil
	}
	size := func() (columns, rows int) {
		columns, rows, err := term.GetSize(int(f.Fd()))
		if err != nil || columns <= 0 || rows <= 0 {
			return 80, 24
		}
		return columns, rows
	}
	return &Terminal{Size: size, Colour: getenv("NO_COLOR") == ""}
}

// paint puts colour on text, or not.
type paint struct{ on bool }

func (p paint) wrap(code, text string) string {
	if !p.on || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (p paint) good(text string) string   { return p.wrap("32", text) }
func (p paint) bad(text string) string    { return p.wrap("31", text) }
func (p paint) asks(text string) string   { return p.wrap("33", text) }
func (p paint) faint(text string) string  { return p.wrap("2", text) }
func (p paint) strong(text string) string { return p.wrap("1", text) }
