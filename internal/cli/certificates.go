package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/crossfade-dev/crossfade/internal/cli/view"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/runbook/step"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

func (a *app) certificates() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "certificates ENV",
		Short: "List the certificates of an environment as its backup has them",
		Long: "Lists the certificates of an environment: their names, the Secret that generations have\n" +
			"them in, when they expire and are renewed, and why one is to be requested now. It asks\n" +
			"no CA and no cluster.",
		Example: "  crossfade certificates production\n  crossfade certificates production -o json | jq '.[] | select(.due)'",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			cfg, err := spec.Load(a.config)
			if err != nil {
				return err
			}
			env, err := cfg.Environment(args[0])
			if err != nil {
				return err
			}
			states, err := (&step.Toolbox{StateDir: a.stateDir, Now: time.Now}).Certificates(env)
			if err != nil {
				return err
			}
			return a.printCertificates(states)
		},
	}
	cmd.AddCommand(a.renewCertificates())
	return cmd
}

func (a *app) renewCertificates() *cobra.Command {
	return &cobra.Command{
		Use:   "renew ENV [CERTIFICATE]",
		Short: "Request the certificates that are due, and put them where they are used",
		Long: "Requests the certificates of an environment that its backup lacks or that are due, all\n" +
			"of them or one, into the backup, and then puts what the backup has into the Secrets of\n" +
			"the live generation. Started by several at once, or again after a crash, it requests\n" +
			"none twice. Let it run every day.",
		Example: "  crossfade certificates renew production\n  crossfade certificates renew production shop",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runRenewal(cmd.Context(), args[0], first(args[1:]))
		},
	}
}

func (a *app) runRenewal(ctx context.Context, environment, only string) error {
	cfg, err := spec.Load(a.config)
	if err != nil {
		return err
	}
	env, err := cfg.Environment(environment)
	if err != nil {
		return err
	}
	if len(env.Spec.Certificates) == 0 {
		return fault.New(fault.Invalid, "environment %s has no certificates", environment).WithHint("add them to its configuration: spec.certificates")
	}
	s, err := a.records(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	states, err := s.tools.Renew(ctx, cfg, env, only, a.talk)
	if err != nil {
		return err
	}
	return a.printCertificates(states)
}

func (a *app) printCertificates(states []step.CertificateState) error {
	return a.output.Print(states, func() view.Table { return view.Certificates(states) })
}
