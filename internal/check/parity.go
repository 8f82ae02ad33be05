package check

import (
	"context"
	"slices"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/objects/diff"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// parityProbe prepares a comparison with the generation before. A first generation is compared with nothing.
func parityProbe(p spec.ParityCheck, t Target) (func(context.Context) (string, error), error) {
	if t.Original == nil {
		return func(context.Context) (string, error) { return "there is no generation before", nil }, nil
	}
	to, err := kube.Connect(t.Access)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (string, error) {
		from, rules, err := t.Original(ctx)
		if err != nil {
			return "", err
		}
		rules.Exclude = slices.Concat(rules.Exclude, p.Exclude)
		report, err := diff.Compare(ctx, from, to, rules)
		if err != nil {
			return "", err
		}
		if err := report.Err(); err != nil {
			return "", fault.New(fault.Refused, "%w", err).
				WithHint("crossfade diff --from %s --to %s --env %s shows everything", named(from.Access()), named(t.Access), t.Environment)
		}
		return report.Summary(), nil
	}, nil
}

// named is a cluster as the command line names it.
func named(a cluster.Access) string { return a.Kubeconfig + ":" + a.Context }
