package source

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/google/go-cmp/cmp"
)

// repository is a working tree with one commit of config/platform.yaml and manifests/web.yaml, whose hash is returned.
func repository(t *testing.T, origin string) (dir, hash string) {
	t.Helper()
	dir = t.TempDir()
	r, err := git.PlainInit(dir, false)
	ok(t, err)
	if origin != "" {
		_, err := r.CreateRemote(&config.RemoteConfig{Name: "origin", URLs: []string{origin}})
		ok(t, err)
	}
	write(t, dir, "config/platform.yaml", "one")
	write(t, dir, "manifests/web.yaml", "one")
	write(t, dir, ".gitignore", "*.log\n")
	tree, err := r.Worktree()
	ok(t, err)
	ok(t, tree.AddGlob("."))
	at := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	commit, err := tree.Commit("first", &git.CommitOptions{Author: &object.Signature{Name: "anna", Email: "anna@example.com", When: at}})
	ok(t, err)
	return dir, commit.String()
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	ok(t, os.MkdirAll(filepath.Dir(path), 0o700))
	ok(t, os.WriteFile(path, []byte(text), 0o600))
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestDirty: only what was read makes a commit dirty.
func TestDirty(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, write, text string
		want                bool
	}{
		"Clean":    {"nothing was changed", "manifests/web.yaml", "one", false},
		"Changed":  {"a file that is read", "config/platform.yaml", "two", true},
		"Added":    {"or may be read: every file of a directory", "config/more.yaml", "one", true},
		"Ignored":  {"but for those that git leaves alone", "config/some.log", "one", false},
		"Else":     {"another directory was not read", "manifests/web.yaml", "two", false},
		"Likewise": {"nor one whose name begins so", "config-of-others/x.yaml", "one", false},
	} {
		t.Run(name, func(t *testing.T) {
			dir, hash := repository(t, "")
			write(t, dir, tc.write, tc.text)
			want := []Commit{{Repository: dir, Hash: hash, Dirty: tc.want}}
			if diff := cmp.Diff(want, Of(filepath.Join(dir, "config"))); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestRemoved: what is missing was changed as well.
func TestRemoved(t *testing.T) {
	dir, hash := repository(t, "")
	ok(t, os.Remove(filepath.Join(dir, "manifests/web.yaml")))
	if diff := cmp.Diff([]Commit{{Repository: dir, Hash: hash, Dirty: true}}, Of(dir)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestRepositories: configuration and manifests may be in repositories of their own; credentials are no part of an address.
func TestRepositories(t *testing.T) {
	one, first := repository(t, "https://anna:secret@example.com/shop.git?token=secret")
	write(t, one, "config/platform.yaml", "two")
	two, second := repository(t, "git@example.com:web.git")
	bare := t.TempDir()
	empty := t.TempDir()
	_, err := git.PlainInit(empty, false)
	ok(t, err)
	want := []Commit{
		{Repository: empty, Dirty: true},
		{Repository: "git@example.com:web.git", Hash: second},
		{Repository: "https://example.com/shop.git", Hash: first, Dirty: true},
	}
	got := Of(filepath.Join(one, "config"), filepath.Join(one, "manifests"), filepath.Join(two, "manifests/web.yaml"), bare, empty, "/nowhere")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestTrouble: a repository that cannot be read is said to be so, and keeps nobody from anything.
func TestTrouble(t *testing.T) {
	dir, _ := repository(t, "")
	ok(t, os.WriteFile(filepath.Join(dir, ".git", "HEAD"), []byte("ref: refs/heads/\x00"), 0o600))
	got := Of(dir)
	if len(got) != 1 || got[0].Repository != dir || got[0].Trouble == nil && got[0].Hash != "" {
		t.Errorf("got %+v", got)
	}
	worktree := t.TempDir()
	ok(t, os.WriteFile(filepath.Join(worktree, ".git"), []byte("gitdir: /nowhere\n"), 0o600))
	if got := Of(worktree); len(got) != 1 || got[0].Trouble == nil {
		t.Errorf("a working tree without its repository: %+v", got)
	}
}
