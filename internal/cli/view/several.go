package view

import (
	"fmt"
	"io"

	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/runbook/step"
)

// several tells the story of several runs at once, by what is done.
type several struct {
	*story
	names map[string]string // of runs
	ended int
}

func newSeveral(out io.Writer, t *Terminal, names map[string]string) *several {
	return &several{story: newStory(out, t), names: names}
}

// Event writes the line of an event, unless it only says that something goes on.
func (v *several) Event(e record.Event) {
	name := v.names[e.Run]
	switch {
	case e.Key == step.EndKey:
		v.ended++
		e.Step = name
		e.Message = fmt.Sprintf("%s (%d of %d)", e.Message, v.ended, len(v.names))
	case e.Kind == record.StepStarted && e.Step != stepApprove:
		v.started[name+"/"+e.Step] = e.At
		return
	case e.Kind == record.Progress && len(detailLines(e)) == 0:
		return
	case e.Step == "":
		e.Step = name
	default:
		e.Step = name + "/" + e.Step
	}
	v.story.Event(e)
}
