package contexts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
)

// kubeconfig writes a kubeconfig with the named contexts.
func kubeconfig(t *testing.T, file, current string, names ...string) string {
	t.Helper()
	text := "apiVersion: v1\nkind: Config\ncurrent-context: " + current + "\ncontexts:\n"
	for _, name := range names {
		text += "- {name: \"" + name + "\", context: {cluster: c, user: u}}\n"
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("HOME", dir)
	arn := "arn:aws:eks:eu-west-1:123:cluster/shop"
	main := kubeconfig(t, filepath.Join(dir, "main"), "blue", "blue", arn, "file")
	file := kubeconfig(t, filepath.Join(dir, "file"), "green", "green", arn)
	none := kubeconfig(t, filepath.Join(dir, "none"), `""`, "red")
	if err := os.WriteFile("broken", []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		reason, name, kubeconfig string
		want                     cluster.Access
		err, hint                string
	}{
		"context":       {reason: "as kubectl --context takes it", name: "blue", kubeconfig: main, want: cluster.Access{Kubeconfig: main, Context: "blue"}},
		"colons":        {reason: "clouds name contexts like this", name: arn, kubeconfig: main, want: cluster.Access{Kubeconfig: main, Context: arn}},
		"context first": {reason: "a context is meant, though a file has its name", name: "file", kubeconfig: main, want: cluster.Access{Kubeconfig: main, Context: "file"}},
		"file":          {reason: "its current context", name: "./file", kubeconfig: main, want: cluster.Access{Kubeconfig: file, Context: "green"}},
		"file at home":  {reason: "~ after = is not replaced by shells", name: "~/file", want: cluster.Access{Kubeconfig: file, Context: "green"}},
		"file and more": {reason: "one context of a file", name: file + ":" + arn, kubeconfig: main, want: cluster.Access{Kubeconfig: file, Context: arn}},
		"several files": {
			reason: "as in $KUBECONFIG, of which kubectl lets files be missing too", name: "green", kubeconfig: main + ":gone:" + none + ":file",
			want: cluster.Access{Kubeconfig: main + ":" + none + ":" + file, Context: "green"},
		},
		"nothing": {
			reason: "neither", name: "purple", kubeconfig: none,
			err: `cannot find the cluster "purple": it is neither a context of ` + none + ` nor a file`, hint: "the contexts are: red",
		},
		"no kubeconfig": {
			reason: "a machine without one", name: "purple", kubeconfig: "gone",
			err: `cannot find the cluster "purple": it is neither a context of gone nor a file`, hint: "name a kubeconfig with --kubeconfig, or with KUBECONFIG, or give a file in place of a context",
		},
		"no current": {
			reason: "which one is not said", name: "none", err: "cannot tell which cluster none means: it has no current context",
			hint: "name one of its contexts after a colon: none:red",
		},
		"not in file":    {reason: "a typing error", name: "file:gren", err: `cannot use the context "gren": it is not in the kubeconfig file`, hint: "the contexts in it are: " + arn + ", green"},
		"directory":      {reason: "a directory is no kubeconfig", name: dir, kubeconfig: none, err: "cannot find the cluster", hint: "the contexts are: red"},
		"broken":         {reason: "what the file says", name: "broken", kubeconfig: main, err: "cannot read the kubeconfig broken: "},
		"broken in use":  {reason: "it is why the context is not found", name: "purple", kubeconfig: "broken", err: "cannot read the kubeconfig broken: "},
		"broken, a file": {reason: "what is in use does not matter for a file", name: "file", kubeconfig: "broken", want: cluster.Access{Kubeconfig: file, Context: "green"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Find(test.name, test.kubeconfig)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
			if test.err == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if fault.CodeOf(err) != fault.Invalid || !strings.HasPrefix(err.Error(), test.err) || test.hint != fault.HintOf(err) {
				t.Errorf("%s: got %v (%s), hint %q", test.reason, err, fault.CodeOf(err), fault.HintOf(err))
			}
		})
	}
}

func TestInUse(t *testing.T) {
	t.Setenv("HOME", "/home/anna")
	t.Setenv("KUBECONFIG", "/a:/b")
	if diff := cmp.Diff([]string{"/a:/b", "/home/anna/c", "c"}, []string{InUse(""), InUse("~/c"), InUse("c")}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	t.Setenv("KUBECONFIG", "")
	if got := InUse(""); got != "/home/anna/.kube/config" {
		t.Errorf("without anything: %s", got)
	}
}
