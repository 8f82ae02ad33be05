// Package host works on one machine: it runs programs there, and reads and writes files. Its providers are sub-packages: this machine,
// and machines that are reached over SSH.
package host

import (
	"bytes"
	"context"
	"errors"
	"path"
	"strings"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// Host is one machine. Its methods may be called by any number of goroutines, and again after an error: a connection that was lost is
// made again. Every one is bounded by its context alone; when that ends, so does what was begun.
//
// Errors name the machine. Their code is fault.Unavailable when it did not answer, and trying again can help; fault.Interrupted when the
// context was cancelled; and fault.Failed when it did answer, and said no.
type Host interface {
	// Name is what people call the machine.
	Name() string
	// Run runs a program with its arguments, without a shell, and returns how it ended. It is looked for in the PATH of the machine and in
	// the directories of administrators' programs. Its standard input is empty. That it ended with another status than 0 is no error; when
	// the context ends, it is killed with all that it has started.
	Run(ctx context.Context, program string, args ...string) (Result, error)
	// Read returns the content of a file; the error is fs.ErrNotExist when there is none.
	Read(ctx context.Context, path string) ([]byte, error)
	// Write gives a file its content, in one go: who reads it, and what is left when the machine crashes, is the whole of the one before or
	// of this one. Its mode stays; a new file can be read by everybody. The directory must exist. Two at once must not write one file.
	Write(ctx context.Context, path string, content []byte) error
	// Close lets go of the connection. It is made again when it is needed.
	Close() error
}

// Result is how a program ended.
type Result struct {
	Status int // its exit status; 127 when there is no such program; more than 128 when it was killed
	Stdout []byte
	Stderr []byte
}

// Says is what the program had to say at the end, for people: the last lines of its standard error, or of its output, as one line.
func (r Result) Says() string {
	text := bytes.TrimSpace(r.Stderr)
	if len(text) == 0 {
		text = bytes.TrimSpace(r.Stdout)
	}
	lines := strings.Split(string(text), "\n")
	lines = lines[max(0, len(lines)-maxLines):]
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "; ")
}

// maxLines bounds what is repeated of what a program had to say.
const maxLines = 5

// Do runs a program that must end with status 0, and returns its standard output.
func Do(ctx context.Context, h Host, program string, args ...string) ([]byte, error) {
	r, err := h.Run(ctx, program, args...)
	if err != nil {
		return nil, err
	}
	if r.Status != 0 {
		return nil, fault.New(fault.Failed, "cannot run %s on %s: exit status %d: %s", program, h.Name(), r.Status, r.Says())
	}
	return r.Stdout, nil
}

// Stopped is the error of something that did not come to its end on a machine as its context ended.
func Stopped(ctx context.Context, what, name string) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fault.New(fault.Interrupted, "stopped while it was to %s on %s: %w", what, name, ctx.Err())
	}
	return fault.New(fault.Unavailable, "cannot %s on %s: no answer in time: %w", what, name, ctx.Err()).
		WithHint("see whether %s is up, and whether it is very busy", name)
}

// Path has a shell find the programs of administrators, too: the PATH of those who log in often lacks them.
const Path = `PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"; export PATH; `

// NewMode is the mode of a new file.
const NewMode = 0o644

// Beside is where the next content of a file is prepared: in its directory, by a name that patterns such as *.conf do not match.
func Beside(name string) string { return path.Join(path.Dir(name), "."+path.Base(name)+".crossfade") }
