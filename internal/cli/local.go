package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/spf13/cobra"

	"github.com/crossfade-dev/crossfade/internal/cli/view"
	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/cluster/local"
	"github.com/crossfade-dev/crossfade/internal/cluster/local/image"
	"github.com/crossfade-dev/crossfade/internal/fault"
)

// local is the command group about clusters on this machine.
func (a *app) local() *cobra.Command {
	cmd := &cobra.Command{
		Use:         "local",
		Annotations: holdsOthers,
		Short:       "Make, list and delete Kubernetes clusters on this machine",
		Long: "Local clusters are real, unmodified Kubernetes: their nodes are network namespaces of\n" +
			"this machine. They need Linux, root and a few Debian packages, no container engine.\n" +
			"Nothing in them can reach, or be reached from, another machine.",
	}
	cmd.AddCommand(a.localCreate(), a.localList(), a.localDelete(), a.localPush())
	return cmd
}

func (a *app) localCreate() *cobra.Command {
	var options local.Options
	var merge string
	cmd := &cobra.Command{
		Use:   "create NAME...",
		Short: "Make clusters, at the same time, or complete ones that are there",
		Long: "Makes the named clusters and waits until they are ready. What is there already is left\n" +
			"alone; what does not run any more, after a crash or a restart of the machine, is\n" +
			"started again.",
		Example: "  crossfade local create blue green --nodes 2 --kubeconfig ~/.kube/config",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			options.StateDir = a.stateDir
			provider, tell := local.New(options), a.teller()
			err := forAll(names, "create", func(name string) error {
				if err := provider.Create(cmd.Context(), name, tell); err != nil || merge == "" {
					return err
				}
				return provider.Merge(cmd.Context(), name, merge)
			})
			if err != nil {
				return err
			}
			return a.printClusters(cmd.Context(), provider, names)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&options.Nodes, "nodes", 0, "`number` of nodes; the first is the control plane too (default 1)")
	flags.StringVar(&options.Kubernetes, "kubernetes", "", "`version` of Kubernetes, of those that are built (default: the one that is)")
	flags.StringVar(&merge, "kubeconfig", "", "kubeconfig `file` to put contexts into, named as the clusters; delete takes them out")
	return cmd
}

func (a *app) localList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the clusters on this machine", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.printClusters(cmd.Context(), local.New(local.Options{StateDir: a.stateDir}), nil)
		},
	}
}

func (a *app) localDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME...", Short: "Delete clusters with everything in them", Args: cobra.MinimumNArgs(1),
		Long: "Ends every process of the named clusters at once, and removes all that there is of\nthem. Images that were pushed stay.",
		RunE: func(cmd *cobra.Command, names []string) error {
			provider, tell := local.New(local.Options{StateDir: a.stateDir}), a.teller()
			return forAll(names, "delete", func(name string) error { return provider.Delete(cmd.Context(), name, tell) })
		},
	}
}

func (a *app) localPush() *cobra.Command {
	return &cobra.Command{
		Use:   "push REPOSITORY:TAG FILE",
		Short: "Give the clusters an image: an archive of docker save, or just a static program",
		Long: "Puts an image into the registry of the local clusters and prints the reference to use\n" +
			"in manifests. FILE is an archive made by docker save, or a static program for Linux,\n" +
			"which becomes the only thing in the image and is started with no arguments.",
		Example: "  crossfade local push shop/web:v1 ./web",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			content, err := readImage(args[1])
			if err != nil {
				return err
			}
			reference, err := local.New(local.Options{StateDir: a.stateDir}).Push(cmd.Context(), args[0], content)
			if err != nil {
				return err
			}
			return a.output.Print(map[string]string{"image": reference}, func() view.Table {
				return view.Table{Header: []string{"IMAGE"}, Rows: [][]string{{reference}}}
			})
		},
	}
}

// readImage makes an image of a file: the one in it if it is an archive, or one with just the file if that is a program.
func readImage(file string) (v1.Image, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fault.New(fault.Invalid, "cannot read the image: %w", err)
	}
	defer f.Close()
	start := make([]byte, 4)
	if _, err := io.ReadFull(f, start); err == nil && bytes.Equal(start, []byte("\x7fELF")) {
		return image.Build(file, image.Options{})
	}
	content, err := tarball.ImageFromPath(file, nil)
	if err != nil {
		return nil, fault.New(fault.Invalid, "cannot read the image %s: %w", file, err).
			WithHint("give an archive made by docker save, with one image in it, or a static program for Linux")
	}
	return content, nil
}

// forAll does something with each of the names at the same time. It waits for all, also when one fails, and returns one error
// about all that failed.
func forAll(names []string, verb string, do func(name string) error) error {
	failed := make([]error, len(names))
	var group sync.WaitGroup
	for i, name := range names {
		group.Go(func() { failed[i] = do(name) })
	}
	group.Wait()
	var first error
	var messages []string
	for _, err := range failed {
		if err == nil {
			continue
		}
		if first == nil {
			first = err
		}
		messages = append(messages, err.Error())
	}
	if len(messages) < 2 {
		return first
	}
	all := fault.New(fault.CodeOf(first), "cannot %s %d of %d clusters: %s", verb, len(messages), len(names), strings.Join(messages, "; "))
	all.Cause, all.Hint = first, fault.HintOf(first)
	return all
}

// teller returns a function that tells a person what was done, as a line. It may be called by several goroutines.
func (a *app) teller() cluster.Progress {
	var mu sync.Mutex
	return func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(a.Err, format+"\n", args...)
	}
}

// printClusters shows the clusters of the given names, all when there are none.
func (a *app) printClusters(ctx context.Context, provider *local.Provider, names []string) error {
	all, err := provider.Describe(ctx)
	if err != nil {
		return err
	}
	chosen := []local.Cluster{} // and not null, as JSON
	for _, c := range all {
		if len(names) == 0 || slices.Contains(names, c.Name) {
			chosen = append(chosen, c)
		}
	}
	return a.output.Print(chosen, func() view.Table {
		t := view.Table{Header: []string{"NAME", "PHASE", "KUBERNETES", "NODES", "KUBECONFIG"}}
		for _, c := range chosen {
			phase := string(c.Phase)
			if c.Detail != "" {
				phase += " (" + c.Detail + ")"
			}
			t.Rows = append(t.Rows, []string{c.Name, phase, c.Kubernetes, strings.Join(c.Nodes, ","), c.Access.Kubeconfig})
		}
		return t
	})
}
