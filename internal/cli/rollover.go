package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/runbook"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

func (a *app) rollover() *cobra.Command {
	var planFile string
	cmd := &cobra.Command{
		Use:   "rollover ENV",
		Short: "Replace the live generation of an environment by a new one",
		Long: "Builds the next generation beside the live one, copies and deploys into it,\n" +
			"verifies it, moves the users over in steps, keeps the way back open, and retires\n" +
			"the old generation. Started again after a crash or Ctrl-C, it goes on where it\n" +
			"stopped. Where it waits for a person, crossfade approve lets it go on.",
		Example: "  crossfade rollover production\n  crossfade rollover production --plan plan.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runRollover(cmd.Context(), args[0], planFile)
		},
	}
	cmd.Flags().StringVar(&planFile, "plan", "", "carry out the plan in this `file` (from crossfade plan -o json), not a new one")
	return cmd
}

func (a *app) runRollover(ctx context.Context, environment, planFile string) error {
	at := runbook.Place{Environment: environment}
	s, p, err := a.prepared(ctx, environment, planFile)
	if err != nil {
		return err
	}
	defer s.close()
	if err := a.connect(ctx, s); err != nil {
		return err
	}
	if err := s.attend(at); err != nil {
		return err
	}
	open, err := s.control.Open(ctx, at)
	if err != nil {
		return err
	}
	id := ""
	switch {
	case open != nil && open.Operation != runbook.OperationRollover:
		a.talk("a %s of %s is under way; it is brought to its end first", open.Operation, environment)
		id = open.ID
	case open != nil:
		a.talk("resuming run %s", open.ID)
		id = open.ID
	case p == nil:
		return fault.New(fault.Failed, "the run of %s that was under way has ended meanwhile", environment).WithHint("start the same command again for a new one")
	default:
		if planFile == "" {
			if p, err = a.afterDeploys(ctx, s, p); err != nil {
				return err
			}
		}
		if id, err = s.control.Start(ctx, runbook.OperationRollover, p); err != nil {
			return err
		}
	}
	s.work()
	return a.watch(ctx, s, at, id)
}

// afterDeploys waits until no service is being deployed into the environment of a plan, and makes the plan anew if one was: it is to have what is
// good then.
func (a *app) afterDeploys(ctx context.Context, s *session, p *plan.Plan) (*plan.Plan, error) {
	busy, err := s.tools.Deploying(ctx, p.Environment)
	if err != nil || busy == "" {
		return p, err
	}
	s.work()
	for last := ""; busy != ""; {
		if busy != last {
			a.talk("waiting for %s: the next generation gets what is good then", busy)
			last = busy
		}
		select {
		case <-ctx.Done():
			return nil, fault.New(fault.Interrupted, "interrupted before the roll-over of %s has begun", p.Environment).WithHint("start the same command again")
		case <-time.After(200 * time.Millisecond):
		}
		if busy, err = s.tools.Deploying(ctx, p.Environment); err != nil {
			return nil, err
		}
	}
	cfg, err := spec.Load(a.config)
	if err != nil {
		return nil, err
	}
	return s.tools.Prepare(ctx, cfg, p.Environment)
}

// prepared opens the state directory and makes the plan, unless the record has a run under way, which needs none. Bad
// configuration ends here, before anything is made or started.
func (a *app) prepared(ctx context.Context, environment, planFile string) (*session, *plan.Plan, error) {
	s, known, err := a.read(ctx)
	if err != nil {
		return nil, nil, err
	}
	if known {
		runs, err := s.records.Runs(ctx, environment, recentRuns)
		if err != nil {
			s.close()
			return nil, nil, err
		}
		if slices.ContainsFunc(runs, func(r record.Run) bool { return r.Service == "" && r.Ended == nil }) {
			return s, nil, nil
		}
		s.close()
	}
	if planFile != "" {
		p, err := readPlan(planFile, environment)
		if err != nil {
			return nil, nil, err
		}
		s, err := a.records(ctx)
		return s, p, err
	}
	return a.plan(ctx, environment)
}

// plan loads the configuration, opens the state directory and makes a plan.
func (a *app) plan(ctx context.Context, environment string) (*session, *plan.Plan, error) {
	cfg, err := spec.Load(a.config)
	if err != nil {
		return nil, nil, err
	}
	if _, err := cfg.Environment(environment); err != nil {
		return nil, nil, err
	}
	s, err := a.records(ctx)
	if err != nil {
		return nil, nil, err
	}
	p, err := s.tools.Prepare(ctx, cfg, environment)
	if err != nil {
		s.close()
		return nil, nil, err
	}
	return s, p, nil
}

// readPlan reads a plan that crossfade plan wrote.
func readPlan(file, environment string) (*plan.Plan, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.New(fault.Invalid, "cannot read the plan: %w", err).WithHint("make one with crossfade plan %s -o json", environment)
	}
	var p plan.Plan
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, fault.New(fault.Invalid, "cannot read the plan %s: %w", file, err).WithHint("make one with crossfade plan %s -o json", environment)
	}
	if err := p.Intact(); err != nil {
		return nil, err
	}
	if p.Environment != environment {
		return nil, fault.New(fault.Invalid, "the plan %s is for environment %s, not %s", file, p.Environment, environment)
	}
	return &p, nil
}

// watch shows a run until it ends and returns how it ended. When this process is stopped, the run waits to be resumed.
func (a *app) watch(ctx context.Context, s *session, at runbook.Place, id string) error {
	id, err := s.identify(ctx, at, id)
	switch {
	case err != nil:
		return a.detached(ctx, at, err)
	case id == "":
		a.talk("the run that was under way has ended; the same command again begins another one")
		return a.detached(ctx, at, s.control.Wait(ctx, at)) // how it ended
	}
	return a.show(ctx, s, at, id, func(ctx context.Context) error { return s.control.Wait(ctx, at) })
}

// waiter returns the error of a run when it has ended.
type waiter func(context.Context) error

// show shows a run until it ends and returns how it ended.
func (a *app) show(ctx context.Context, s *session, at runbook.Place, id string, wait waiter) error {
	if err := s.control.Recorded(ctx, id); err != nil {
		return a.detached(ctx, at, err)
	}
	shown := a.output.Run()
	defer shown.Close()
	ended := make(chan error, 1)
	go func() { ended <- wait(ctx) }()
	err := s.records.Follow(ctx, id, 0, func(e record.Event) error {
		shown.Event(e)
		return nil
	})
	if err != nil {
		return a.detached(ctx, at, err)
	}
	return a.detached(ctx, at, <-ended)
}

// identify returns the id of the run under way, once it is in the record; "" when it has ended. A run whose end is recorded may be open in the
// engine for a moment longer, or until somebody works for it, where its process was killed just then.
func (s *session) identify(ctx context.Context, at runbook.Place, id string) (string, error) {
	for id == "" { // it was started, and nobody has worked for it yet
		open, err := s.control.Open(ctx, at)
		if err != nil {
			return "", err
		}
		if open == nil {
			return "", nil
		}
		if id = open.ID; id != "" {
			break
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return id, s.control.Recorded(ctx, id)
}

// detached says how to go on when this process was stopped before the run ended.
func (a *app) detached(ctx context.Context, at runbook.Place, err error) error {
	if ctx.Err() == nil {
		return err
	}
	if at.Service != "" {
		return fault.New(fault.Interrupted, "interrupted; the deployment of %s is where it was", at).WithHint("the same command goes on with it")
	}
	return fault.New(fault.Interrupted, "interrupted; the roll-over of %s is where it was", at.Environment).
		WithHint("crossfade rollover %s goes on with it", at.Environment)
}

// talk says something to the person, not to the program that reads the output.
func (a *app) talk(format string, args ...any) {
	fmt.Fprintf(a.Err, format+"\n", args...)
}
