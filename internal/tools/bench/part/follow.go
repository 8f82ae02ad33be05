package part

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/objects"
	"github.com/crossfade-dev/crossfade/internal/objects/backlog"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
)

// Told is what a process that follows prints, one a line: first that everything was copied, then its own figures.
type Told struct {
	Synced bool         `json:"synced,omitempty"`
	Lag    *backlog.Lag `json:"lag,omitempty"`
}

// follow keeps the other cluster in step until its standard input ends.
func follow(ctx context.Context, t Task, stdin io.Reader, stdout io.Writer) error {
	from, err := kube.Connect(t.From)
	if err != nil {
		return err
	}
	to, err := kube.Connect(t.To)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, stdin) // until it ends
		cancel()
	}()
	lines := json.NewEncoder(stdout)
	tell := func(told Told) {
		if lines.Encode(told) != nil {
			cancel() // nobody listens
		}
	}
	return objects.Follow(ctx, from, to, objects.Following{
		Options: options(), Every: time.Second,
		Synced: func(outcome.Report) { tell(Told{Synced: true}) },
		Lag:    func(lag backlog.Lag) { tell(Told{Lag: &lag}) },
	})
}
