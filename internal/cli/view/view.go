// Package view draws what commands show: a run as it goes on, lists, and the same as data for programs. A view knows only the
// values that it is given, its terminal and its clock included, so that each can be drawn from canned ones.
package view

import (
	"io"
	"time"

	"github.com/crossfade-dev/crossfade/internal/record"
)

// View shows the events of a run as they come. It is used by one goroutine, and closed once.
type View interface {
	Event(record.Event)
	Close()
}

// Format is the form of what is shown.
type Format string

// The formats. AsTable is for people, and the form of anything that is not a list, too.
const (
	AsTable Format = "table"
	AsJSON  Format = "json"
	AsYAML  Format = "yaml"
)

// Output is where and how a command shows things. It is used by one goroutine.
type Output struct {
	Format Format
	Data   io.Writer // what was asked for
	Talk   io.Writer // what is said to a person meanwhile
	// Terminal describes the terminal behind a writer; nil for a writer that is none.
	Terminal func(io.Writer) *Terminal
	Now      func() time.Time

	documents int // written to Data as YAML
}

// Run is how a command that waits for a run shows it: alive on a terminal, as lines elsewhere, as a stream of events where data
// was asked for.
func (o *Output) Run() View {
	if o.Format != AsTable {
		return &stream{o}
	}
	t := o.Terminal(o.Talk)
	if t == nil {
		return newStory(o.Talk, nil)
	}
	v := newLive(o.Talk, t, o.Now)
	v.animate(time.NewTicker(frame))
	return v
}

// Runs is how a command that waits for several runs shows them, whose names are given by their ids: a line for each step that has ended, and what a
// person must know or do.
func (o *Output) Runs(names map[string]string) View {
	if o.Format != AsTable {
		return &stream{o}
	}
	return newSeveral(o.Talk, o.Terminal(o.Talk), names)
}

// Story is how a run is told by its events, a line each.
func (o *Output) Story() View {
	if o.Format != AsTable {
		return &stream{o}
	}
	return newStory(o.Data, o.Terminal(o.Data))
}
