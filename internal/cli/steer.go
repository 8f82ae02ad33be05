package cli

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/runbook"
	"github.com/crossfade-dev/crossfade/internal/runbook/step"
)

func (a *app) approve() *cobra.Command {
	return &cobra.Command{
		Use:   "approve RUN",
		Short: "Let a run that waits for an approval go on",
		Long: "Approves what a run waits for: the first shift, where the gate wants an approval,\n" +
			"another one after a switch-back, a version at its preview, a promotion. Who approved is\n" +
			"recorded. A promotion may want somebody other than its authors.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.steer(cmd.Context(), args[0], runbook.Command{Name: runbook.Approve}, func(e record.Event) bool {
				return e.Step == "approve" && e.Kind == record.StepDone
			})
		},
	}
}

func (a *app) abort() *cobra.Command {
	var clean bool
	cmd := &cobra.Command{
		Use:   "abort RUN",
		Short: "End a run; the users stay, or go back, where they were",
		Long: "Ends a run that is under way. During the shift the users are moved back first. The\n" +
			"new generation is left for debugging; --clean deletes it, with everything in it.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.steer(cmd.Context(), args[0], runbook.Command{Name: runbook.Abort, Clean: clean}, isEnd)
		},
	}
	cmd.Flags().BoolVar(&clean, "clean", false, "remove the new generation instead of leaving it for debugging")
	return cmd
}

// errEffect stops the following of a run when a command's effect is there.
var errEffect = errors.New("the effect is there")

func isEnd(e record.Event) bool { return e.Key == step.EndKey }

// steer sends a command to a run that must be under way, and shows the run until the command's effect is there.
func (a *app) steer(ctx context.Context, id string, c runbook.Command, effect func(record.Event) bool) error {
	s, err := a.known(ctx, id)
	if err != nil {
		return err
	}
	defer s.close()
	run, err := s.records.Run(ctx, id)
	if err != nil {
		return err
	}
	if run.Ended != nil {
		return fault.New(fault.Invalid, "run %s has ended: %s", id, run.State).WithHint("crossfade runs shows which are under way")
	}
	if err := a.connect(ctx, s); err != nil {
		return err
	}
	return a.send(ctx, s, &run, c, effect)
}

// send sends a command, works for the run, and shows it until the effect is there.
func (a *app) send(ctx context.Context, s *session, run *record.Run, c runbook.Command, effect func(record.Event) bool) error {
	last, err := s.records.Events(ctx, run.ID, 0)
	if err != nil {
		return err
	}
	after := int64(0)
	if len(last) > 0 {
		after = last[len(last)-1].Seq
	}
	c.By = runbook.Person()
	if err := s.control.Send(ctx, run, c); err != nil {
		return err
	}
	s.work()
	shown := a.output.Run()
	defer shown.Close()
	err = s.records.Follow(ctx, run.ID, after, func(e record.Event) error {
		shown.Event(e)
		switch {
		case refused(e, c.Name) && whyRefused(e) != "":
			return fault.New(fault.Invalid, "cannot %s run %s: %s", c.Name, run.ID, whyRefused(e)).WithHint("ask somebody else; CROSSFADE_USER says who you are where an account is shared")
		case refused(e, c.Name):
			return fault.New(fault.Failed, "run %s cannot %s now", run.ID, c.Name).WithHint("see where it is: crossfade status %s", run.Environment)
		case effect(e):
			return errEffect
		case isEnd(e):
			return fault.New(fault.Failed, "run %s ended before: %s", run.ID, e.Message)
		}
		return nil
	})
	if errors.Is(err, errEffect) {
		return nil
	}
	return err
}

// refused reports whether an event says that a command was not possible.
func refused(e record.Event, command string) bool {
	var d step.CommandDetail
	return e.Kind == record.Note && len(e.Detail) > 0 && json.Unmarshal(e.Detail, &d) == nil && d.Command == command && !d.Accepted
}

// whyRefused is why a command was not possible, where it says so.
func whyRefused(e record.Event) string {
	var d step.CommandDetail
	_ = json.Unmarshal(e.Detail, &d) // refused has read it
	return d.Why
}

func (a *app) switchBack() *cobra.Command {
	return &cobra.Command{
		Use:   "switch-back ENV",
		Short: "Move the users back to the other standing generation",
		Long: "Moves all users to the generation that was live before, during the shift and the soak\n" +
			"of a run or after it has ended. A run under way then waits: crossfade approve moves\n" +
			"them over again, crossfade abort ends it.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.inOrBeside(cmd.Context(), args[0], movement{
				command: runbook.Command{Name: runbook.SwitchBack},
				effect:  func(e record.Event) bool { return e.Step == "switch-back/settle" && e.Kind == record.StepDone },
				choose:  otherGeneration,
			})
		},
	}
}

func (a *app) retire() *cobra.Command {
	return &cobra.Command{
		Use:   "retire ENV GENERATION",
		Short: "Take a generation without users away, now",
		Long: "Deletes a generation with everything in it, and with it the way back. The soak of a\n" +
			"run under way ends. A generation that has users is refused.",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.inOrBeside(cmd.Context(), args[0], movement{
				command: runbook.Command{Name: runbook.RetireNow},
				target:  args[1],
				effect:  isEnd,
				choose: func(environment string, all []record.Generation) (string, string, error) {
					return retirable(environment, args[1], all)
				},
			})
		},
	}
}

// movement is something that is done to a standing generation: through the run under way in its environment, or as a run of
// its own.
type movement struct {
	command runbook.Command
	target  string                  // the generation that the run under way must be about; "" for any
	effect  func(record.Event) bool // what shows that the run under way has done it
	choose  func(environment string, all []record.Generation) (live, other string, err error)
}

func (a *app) inOrBeside(ctx context.Context, environment string, m movement) error {
	s, known, err := a.read(ctx)
	if err != nil {
		return err
	}
	if !known {
		return fault.New(fault.Invalid, "nothing ever happened in the state directory %s", a.stateDir).WithHint("name the right one with --state")
	}
	defer s.close()
	all, err := s.records.Generations(ctx, environment)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return fault.New(fault.Invalid, "environment %s has no generation", environment).WithHint("crossfade status shows what there is")
	}
	if err := a.connect(ctx, s); err != nil {
		return err
	}
	run, err := s.control.Open(ctx, runbook.Place{Environment: environment})
	if err != nil {
		return err
	}
	if run == nil || run.Operation != runbook.OperationRollover {
		return a.beside(ctx, s, environment, run, m, all)
	}
	if m.target != "" && run.Previous != m.target {
		return fault.New(fault.Locked, "run %s is under way in environment %s", run.ID, environment).WithHint("retire %s when it has ended", m.target)
	}
	return a.send(ctx, s, run, m.command, m.effect)
}

// beside does it as a run of its own, or resumes the one that does it.
func (a *app) beside(ctx context.Context, s *session, environment string, run *record.Run, m movement, all []record.Generation) error {
	if run != nil && run.Operation != m.command.Name {
		return fault.New(fault.Locked, "a %s of %s is under way", run.Operation, environment).WithHint("let it end: crossfade status %s", environment)
	}
	if err := s.attend(runbook.Place{Environment: environment}); err != nil {
		return err
	}
	id := ""
	if run == nil {
		live, other, err := m.choose(environment, all)
		if err != nil {
			return err
		}
		p, err := s.tools.Aside(ctx, environment, live, other)
		if err != nil {
			return err
		}
		if id, err = s.control.Start(ctx, m.command.Name, p); err != nil {
			return err
		}
	}
	s.work()
	return a.watch(ctx, s, runbook.Place{Environment: environment}, id)
}

// otherGeneration returns the generation that has the users and the one they can go back to.
func otherGeneration(environment string, all []record.Generation) (live, other string, err error) {
	for _, g := range all {
		switch {
		case g.Phase == record.Live:
			live = g.Name
		case g.Phase == record.Standby && g.Verified && other == "":
			other = g.Name
		}
	}
	if live == "" || other == "" {
		return "", "", fault.New(fault.Failed, "environment %s has no second generation to move the users to", environment).
			WithHint("crossfade status %s shows its generations", environment)
	}
	return live, other, nil
}

// retirable returns the live generation and the one named, which must be known and not be live.
func retirable(environment, generation string, all []record.Generation) (live, other string, err error) {
	for _, g := range all {
		if g.Phase == record.Live {
			live = g.Name
		}
		if g.Name == generation {
			other = g.Name
			if g.Phase == record.Retired {
				return "", "", fault.New(fault.Invalid, "%s was retired on %s", generation, g.Changed.Local().Format(time.DateTime))
			}
		}
	}
	switch other {
	case "":
		return "", "", fault.New(fault.Invalid, "environment %s has no generation %s", environment, generation).WithHint("crossfade status %s lists them", environment)
	case live:
		return "", "", fault.New(fault.Refused, "%s is live", generation).WithHint("move the users first: crossfade switch-back %s, or a roll-over", environment)
	}
	return live, other, nil
}
