package kubeconfig

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

func entry(name string) Entry {
	return Entry{Name: name, Server: "https://198.18.0.2:6443", Authority: []byte("ca of " + name), Certificate: []byte("crt"), Key: []byte("key")}
}

// existing is a kubeconfig as a person may have it.
const existing = `apiVersion: v1
kind: Config
current-context: work
clusters: [{name: work, cluster: {server: "https://work.example.com"}}]
users: [{name: me, user: {token: abc}}]
contexts: [{name: work, context: {cluster: work, user: me, namespace: mine}}]
`

// summary says what is in a kubeconfig: the current context, and each context with what it leads to.
func summary(t *testing.T, file string) []string {
	t.Helper()
	config, err := clientcmd.LoadFromFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all := []string{"current " + config.CurrentContext}
	for _, name := range slices.Sorted(maps.Keys(config.Contexts)) {
		c := config.Contexts[name]
		line := fmt.Sprintf("%s %s %q", name, config.Clusters[c.Cluster].Server, config.Clusters[c.Cluster].CertificateAuthorityData)
		if config.AuthInfos[c.AuthInfo] == nil {
			line += " without user"
		}
		all = append(all, line)
	}
	if len(config.Clusters) != len(config.Contexts) || len(config.AuthInfos) != len(config.Contexts) {
		all = append(all, "and something without a context")
	}
	return all
}

func TestMergeAndRemove(t *testing.T) {
	const work = `work https://work.example.com ""`
	line := func(name string) string { return fmt.Sprintf(`%s https://198.18.0.2:6443 "ca of %s"`, name, name) }
	other := entry("blue")
	other.Authority = []byte("ca of another blue")
	cases := map[string]struct {
		before string
		merge  []Entry
		remove []Entry
		want   []string
	}{
		"into no file":              {"", []Entry{entry("blue")}, nil, []string{"current blue", line("blue")}},
		"beside what is there":      {existing, []Entry{entry("blue"), entry("green")}, nil, []string{"current work", line("blue"), line("green"), work}},
		"in place of an old one":    {existing, []Entry{other, entry("blue")}, nil, []string{"current work", line("blue"), work}},
		"and out again":             {existing, []Entry{entry("blue"), entry("green")}, []Entry{entry("blue")}, []string{"current work", line("green"), work}},
		"out, and it was current":   {"", []Entry{entry("blue"), entry("green")}, []Entry{entry("blue")}, []string{"current ", line("green")}},
		"out, and it is another's":  {existing, []Entry{entry("blue")}, []Entry{other}, []string{"current work", line("blue"), work}},
		"out, and it was not there": {existing, nil, []Entry{entry("blue")}, []string{"current work", work}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "dir", "config")
			if tc.before != "" {
				if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(tc.before), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 { // the second time changes nothing
				if err := Merge(t.Context(), file, tc.merge...); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				if err := Remove(t.Context(), file, tc.remove...); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(tc.want, summary(t, file)); diff != "" {
				t.Error(diff)
			}
			entries, err := os.ReadDir(filepath.Dir(file))
			if err != nil || len(entries) != 1 {
				t.Errorf("beside the file are %v, %v", entries, err)
			}
			if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("its mode is %v, %v", info.Mode(), err)
			}
		})
	}
}

func TestRemoveFromNoFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "none")
	if err := Remove(t.Context(), file, entry("blue")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("removing made a file")
	}
}

func TestMergeAtTheSameTime(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	var group errgroup.Group
	for i := range 8 {
		group.Go(func() error { return Merge(t.Context(), file, entry(fmt.Sprintf("c%d", i))) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := len(summary(t, file)); got != 1+8 {
		t.Errorf("%d contexts of 8 are there", got-1)
	}
}

func TestMergeThroughLink(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.WriteFile(filepath.Join(dir, "real"), []byte(existing), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", link); err != nil {
		t.Fatal(err)
	}
	if err := Merge(t.Context(), link, entry("blue")); err != nil {
		t.Fatal(err)
	}
	if got := len(summary(t, filepath.Join(dir, "real"))); got != 1+2 {
		t.Errorf("the file behind the link has %d contexts, want 2", got-1)
	}
	if _, err := os.Readlink(link); err != nil {
		t.Errorf("the link is no link any more: %v", err)
	}
}

func TestMergeLeavesWhatItCannotRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte("not: [a kubeconfig"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Merge(t.Context(), file, entry("blue")); fault.CodeOf(err) != fault.Invalid {
		t.Errorf("got %v, want an error of code Invalid", err)
	}
	if raw, err := os.ReadFile(file); err != nil || string(raw) != "not: [a kubeconfig" {
		t.Errorf("the file is now %q, %v", raw, err)
	}
}
