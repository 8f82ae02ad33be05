// Package contexts finds the cluster that a person means, in the way kubectl does: by the name of a context in the kubeconfig that
// is in use, or by a kubeconfig of its own.
package contexts

import (
	"cmp"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
)

// InUse is the kubeconfig to use: the file named, or those that kubectl would use, joined as in $KUBECONFIG.
func InUse(named string) string {
	home, err := os.UserHomeDir()
	fallback := ""
	if err == nil {
		fallback = filepath.Join(home, ".kube", "config")
	}
	return cmp.Or(atHome(named), os.Getenv("KUBECONFIG"), fallback)
}

// atHome is a path whose ~ has been replaced, as a shell does it that sees the ~ at the beginning of a word only.
func atHome(path string) string {
	rest, ok := strings.CutPrefix(path, "~/")
	home, err := os.UserHomeDir()
	if !ok || err != nil {
		return path
	}
	return filepath.Join(home, rest)
}

// Find returns what is needed to reach the cluster that name means: a context of the kubeconfig, which is one as InUse returns it; or
// a file, of which the current context is taken; or FILE:CONTEXT. Names of contexts may hold slashes and colons. Nothing is asked of
// the cluster. An error is of code fault.Invalid.
func Find(name, kubeconfig string) (cluster.Access, error) {
	known, err := load(filepath.SplitList(kubeconfig))
	if err == nil && known.Contexts[name] != nil {
		return cluster.Access{Kubeconfig: absolute(kubeconfig), Context: name}, nil
	}
	file, context, isFile := split(name)
	if !isFile {
		return cluster.Access{}, unknown(name, kubeconfig, known, err)
	}
	found, err := load([]string{file})
	if err != nil {
		return cluster.Access{}, err
	}
	if context = cmp.Or(context, found.CurrentContext); context == "" {
		return cluster.Access{}, fault.New(fault.Invalid, "cannot tell which cluster %s means: it has no current context", name).
			WithHint("name one of its contexts after a colon: %s", list(found, file+":"))
	}
	if found.Contexts[context] == nil {
		return cluster.Access{}, fault.New(fault.Invalid, "cannot use the context %q: it is not in the kubeconfig %s", context, file).
			WithHint("the contexts in it are: %s", list(found, ""))
	}
	return cluster.Access{Kubeconfig: absolute(file), Context: context}, nil
}

// split divides FILE or FILE:CONTEXT at the first colon before which there is a file.
func split(name string) (file, context string, ok bool) {
	for i := range len(name) + 1 {
		if i < len(name) && name[i] != ':' {
			continue
		}
		path := atHome(name[:i])
		if info, err := os.Stat(path); err != nil || info.IsDir() {
			continue
		}
		if i < len(name) {
			context = name[i+1:]
		}
		return path, context, true
	}
	return "", "", false
}

func load(files []string) (*api.Config, error) {
	found, err := (&clientcmd.ClientConfigLoadingRules{Precedence: files}).Load()
	if err != nil {
		return nil, fault.New(fault.Invalid, "cannot read the kubeconfig %s: %s", strings.Join(files, string(filepath.ListSeparator)), strings.Join(strings.Fields(err.Error()), " "))
	}
	return found, nil
}

// unknown says that name is neither a context nor a file. A kubeconfig that cannot be read comes first: it may be why.
func unknown(name, kubeconfig string, known *api.Config, unreadable error) error {
	if unreadable != nil {
		return unreadable
	}
	err := fault.New(fault.Invalid, "cannot find the cluster %q: it is neither a context of %s nor a file", name, cmp.Or(kubeconfig, "a kubeconfig"))
	if len(known.Contexts) == 0 {
		return err.WithHint("name a kubeconfig with --kubeconfig, or with KUBECONFIG, or give a file in place of a context")
	}
	return err.WithHint("the contexts are: %s", list(known, ""))
}

// list names the contexts of a kubeconfig in order, each with a prefix.
func list(config *api.Config, prefix string) string {
	names := slices.Sorted(maps.Keys(config.Contexts))
	for i := range names {
		names[i] = prefix + names[i]
	}
	return strings.Join(names, ", ")
}

// absolute makes the paths of a list absolute, and leaves out files that are not there, as kubectl does.
func absolute(kubeconfig string) string {
	var files []string
	for _, file := range filepath.SplitList(kubeconfig) {
		abs, err := filepath.Abs(file)
		if _, missing := os.Stat(file); err == nil && missing == nil {
			files = append(files, abs)
		}
	}
	return strings.Join(files, string(filepath.ListSeparator))
}
