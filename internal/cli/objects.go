package cli

import (
	"context"
	"path"
	"slices"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/contexts"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// between is what the commands about two clusters are told by their flags: which two, and which objects.
type between struct {
	from, to, kubeconfig string
	environment, stack   string

	namespaces, kinds, names                      []string
	labels                                        string
	excludeNamespaces, excludeKinds, excludeNames []string
}

// addBetween gives a command the flags about two clusters.
func addBetween(cmd *cobra.Command) *between {
	b := &between{}
	flags := cmd.Flags()
	flags.StringVar(&b.from, "from", "", "the first `cluster`: a context, a kubeconfig, or FILE:CONTEXT")
	flags.StringVar(&b.to, "to", "", "the second `cluster`, named in the same way")
	flags.StringVar(&b.kubeconfig, "kubeconfig", "", "kubeconfig `file` of the contexts (default $KUBECONFIG, else ~/.kube/config)")
	flags.StringVar(&b.environment, "env", "", "take the rules of copy of this `environment` of the configuration")
	flags.StringVar(&b.stack, "stack", "", "only what belongs to this `stack` of the configuration")
	flags.StringSliceVarP(&b.namespaces, "namespace", "n", nil, "only in these `namespaces`, shell patterns")
	flags.StringVarP(&b.labels, "selector", "l", "", "only with these `labels`: a=b,c=d")
	flags.StringSliceVar(&b.kinds, "kind", nil, "only of these `kinds`: deployments, cm, Certificate.cert-manager.io")
	flags.StringSliceVar(&b.names, "name", nil, "only of these `names`, shell patterns")
	flags.StringSliceVar(&b.excludeNamespaces, "exclude-namespace", nil, "leave these `namespaces` out")
	flags.StringSliceVar(&b.excludeKinds, "exclude-kind", nil, "leave these `kinds` out")
	flags.StringSliceVar(&b.excludeNames, "exclude-name", nil, "leave objects of these `names` out")
	for _, narrowing := range []string{"namespace", "selector", "kind", "name"} {
		cmd.MarkFlagsMutuallyExclusive("stack", narrowing)
	}
	return b
}

// openBetween connects to both clusters, sees that they answer and are two, and returns the rules about what is copied from one to the
// other.
func (a *app) openBetween(ctx context.Context, b *between) (from, to *kube.Cluster, rules decide.Rules, err error) {
	if b.from == "" || b.to == "" {
		return nil, nil, rules, fault.New(fault.Invalid, "cannot tell which clusters are meant: --from and --to name them").
			WithHint("kubectl config get-contexts lists the contexts; a kubeconfig, or FILE:CONTEXT, will do too")
	}
	if rules, err = a.rulesBetween(b); err != nil {
		return nil, nil, rules, err
	}
	if from, err = connectTo(b.from, b.kubeconfig); err != nil {
		return nil, nil, rules, err
	}
	if to, err = connectTo(b.to, b.kubeconfig); err != nil {
		return nil, nil, rules, err
	}
	if err := areTwo(ctx, from, to); err != nil {
		return nil, nil, rules, err
	}
	if len(b.kinds)+len(b.excludeKinds) > 0 {
		err = b.nameKinds(ctx, &rules, from, to)
	}
	return from, to, rules, err
}

func connectTo(name, kubeconfig string) (*kube.Cluster, error) {
	access, err := contexts.Find(name, contexts.InUse(kubeconfig))
	if err != nil {
		return nil, err
	}
	return kube.Connect(access)
}

// areTwo sees that both clusters answer, and are not one by two names.
func areTwo(ctx context.Context, from, to *kube.Cluster) error {
	var uids [2]string
	group, ctx := errgroup.WithContext(ctx)
	for i, c := range []*kube.Cluster{from, to} {
		group.Go(func() error {
			if _, err := c.Ping(ctx); err != nil {
				return err
			}
			system, err := c.Find(ctx, schema.GroupKind{Kind: "Namespace"}, "", "kube-system")
			if err == nil && system != nil { // who may not read it is not told that the clusters are one
				uids[i] = string(system.GetUID())
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if from.Access() == to.Access() || uids[0] != "" && uids[0] == uids[1] {
		return fault.New(fault.Invalid, "%s and %s are one cluster", from.Access().Context, to.Access().Context).
			WithHint("--from and --to must be two")
	}
	return nil
}

// rulesBetween reads the rules of an environment or a stack, where one is named, and narrows them by the flags, kinds aside.
func (a *app) rulesBetween(b *between) (decide.Rules, error) {
	rules := decide.Rules{}
	if b.environment+b.stack != "" {
		cfg, err := spec.Load(a.config)
		if err != nil {
			return rules, err
		}
		if rules, err = rulesOf(cfg, b.environment, b.stack); err != nil {
			return rules, err
		}
	}
	for _, pattern := range slices.Concat(b.namespaces, b.names, b.excludeNamespaces, b.excludeNames) {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return rules, fault.New(fault.Invalid, "cannot use %q as a name: it is no shell pattern", pattern).WithHint("write a name, or one with * and ? in it")
		}
	}
	wanted, err := labels.ConvertSelectorToLabelsMap(b.labels)
	if err != nil {
		return rules, fault.New(fault.Invalid, "cannot use the labels %q: %w", b.labels, err).WithHint("write -l app=web,tier=front: labels and their values")
	}
	if len(b.namespaces)+len(b.names)+len(b.kinds)+len(wanted) > 0 {
		rules.Only = []spec.Selector{{Namespaces: b.namespaces, Names: b.names, Labels: wanted}}
	}
	for _, s := range []spec.Selector{{Namespaces: b.excludeNamespaces}, {Names: b.excludeNames}} {
		if len(s.Namespaces)+len(s.Names) > 0 {
			rules.Exclude = append(rules.Exclude, s)
		}
	}
	return rules, nil
}

// nameKinds completes the rules by the kinds that the flags name, as people name them. One that neither cluster serves is a mistake.
func (b *between) nameKinds(ctx context.Context, rules *decide.Rules, from, to *kube.Cluster) error {
	var served []kube.Resource
	for _, c := range []*kube.Cluster{from, to} {
		resources, _, err := c.Resources(ctx)
		if err != nil {
			return err
		}
		served = append(served, resources...)
	}
	only, err := kindsOf(b.kinds, served)
	if err != nil {
		return err
	}
	if len(only) > 0 {
		rules.Only[0].Kinds = only
	}
	excluded, err := kindsOf(b.excludeKinds, served)
	if len(excluded) > 0 {
		rules.Exclude = append(slices.Clip(rules.Exclude), spec.Selector{Kinds: excluded})
	}
	return err
}

// kindsOf turns names of kinds as kubectl takes them into those of the configuration.
func kindsOf(names []string, served []kube.Resource) ([]string, error) {
	var kinds []string
	for _, name := range names {
		found := false
		for _, r := range served {
			if !r.Named(name) {
				continue
			}
			found = true
			if kind := r.GroupKind().String(); !slices.Contains(kinds, kind) {
				kinds = append(kinds, kind)
			}
		}
		if !found {
			return nil, fault.New(fault.Invalid, "cannot use the kind %q: neither cluster serves it", name).WithHint("kubectl api-resources lists what a cluster serves")
		}
	}
	return kinds, nil
}
