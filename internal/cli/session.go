package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/crossfade-dev/crossfade/internal/engine"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/runbook"
	"github.com/crossfade-dev/crossfade/internal/runbook/step"
)

// session is an open state directory: its record, and the engine for the commands that need it.
type session struct {
	records *record.Store
	tools   *step.Toolbox
	control *runbook.Control
	closers []func() error
	working bool
}

// recordFile is where the record of a state directory is.
func (a *app) recordFile() string { return filepath.Join(a.stateDir, "record.db") }

// read opens the record alone. A state directory in which nothing ever happened is not made: known is false then.
func (a *app) read(ctx context.Context) (s *session, known bool, err error) {
	if _, err := os.Stat(a.recordFile()); errors.Is(err, os.ErrNotExist) {
		return nil, false, nil
	}
	s, err = a.records(ctx)
	return s, err == nil, err
}

// records opens the record, making the state directory if need be.
func (a *app) records(ctx context.Context) (*session, error) {
	if err := os.MkdirAll(a.stateDir, 0o700); err != nil {
		return nil, fault.New(fault.Failed, "cannot make the state directory %s: %w", a.stateDir, err).WithHint("name another with --state")
	}
	store, err := record.Open(ctx, a.recordFile())
	if err != nil {
		return nil, err
	}
	return &session{
		records: store, tools: &step.Toolbox{StateDir: a.stateDir, Records: store, Now: time.Now},
		closers: []func() error{store.Close},
	}, nil
}

// connect opens the engine too, starting it if need be.
func (a *app) connect(ctx context.Context, s *session) error {
	e, err := engine.Open(ctx, engine.Options{StateDir: a.stateDir, TemporalAddress: a.temporal})
	if err != nil {
		return err
	}
	s.control = &runbook.Control{Engine: e, Tools: s.tools}
	s.closers = append(s.closers, func() error { e.Close(); return nil })
	return nil
}

// work makes this process work for runs until the session is closed. It may be called again.
func (s *session) work() {
	if s.working {
		return
	}
	s.working = true
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.control.Work(ctx) }()
	s.closers = append(s.closers, func() error {
		cancel()
		return <-ended
	})
}

// attend takes the right to attend a place until the session is closed.
func (s *session) attend(at runbook.Place) error {
	claim, err := s.control.Attend(at)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, claim.Close)
	return nil
}

// close lets go of everything, the newest first.
func (s *session) close() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		_ = s.closers[i]() // all of it is safe to be cut off at any instant
	}
}
