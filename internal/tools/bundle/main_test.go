package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	finder "github.com/crossfade-dev/crossfade/internal/bundle"
)

// fakeGo stands in for the Go command: it writes a line a call to $CALLS, says that it compiles, and makes the programs.
const fakeGo = `#!/bin/sh
echo "$PWD $CGO_ENABLED $*" >>"$CALLS"
test -z "$FAIL" || { echo "net/http"; echo "# net/http"; echo "x.go:1:1: it is broken"; exit 1; } >&2
printf 'net/http\ngo: downloading x v1\nk8s.io/api/core/v1\n' >&2
while test "$1" != -o; do shift; done
out=$2; shift 2
for package; do
	case $package in
	.) name=$(basename "$PWD");;
	*/v[0-9]) name=$(basename "$(dirname "$package")");;
	*) name=$(basename "$package");;
	esac
	echo "program $package" >"$out$name"
done
`

// world is a checkout with one bundle of two modules, an empty cache, and a Go command that makes believe.
type world struct {
	*testing.T
	builder
	one   bundle
	calls string
	talk  bytes.Buffer
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{T: t, calls: filepath.Join(dir, "calls")}
	t.Setenv("CALLS", w.calls)
	w.write(dir, "go", fakeGo)
	w.write(dir, "checkout/go.mod", "module "+finder.Module+"\n")
	w.write(dir, "checkout/bundle/x/go.mod", "module x\n\nrequire example.com/thing/v3 v3.1.2\n")
	w.write(dir, "checkout/bundle/x/more/main.go", "package main\n")
	w.builder = builder{root: filepath.Join(dir, "checkout"), cache: filepath.Join(dir, "cache"), talk: &w.talk, goCommand: filepath.Join(dir, "go")}
	w.one = bundle{
		name: "x", what: "things", takes: "about a second", linkDir: "x",
		modules: []module{
			{dir: "bundle/x", tags: "a b", programs: map[string]string{"thing": "example.com/thing/v3", "other": "example.com/cmd/other"}},
			{dir: "bundle/x/more", programs: map[string]string{"more-of-it": "."}},
		},
		version: &version{module: "example.com/thing/v3", file: "thing-version"},
	}
	return w
}

func (w *world) write(dir, name, content string) {
	w.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		w.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o755); err != nil {
		w.Fatal(err)
	}
}

func (w *world) provide() {
	w.Helper()
	if err := w.builder.provide(w.Context(), w.one); err != nil {
		w.Fatal(err)
	}
}

// bin reads what is in bin, through the links.
func (w *world) bin() map[string]string {
	w.Helper()
	found := map[string]string{}
	dir := filepath.Join(w.root, "bin")
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		found[rel] = strings.TrimSpace(string(raw))
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
	return found
}

func (w *world) countCalls() int {
	w.Helper()
	raw, err := os.ReadFile(w.calls)
	if err != nil {
		w.Fatal(err)
	}
	return bytes.Count(raw, []byte("\n"))
}

func TestProvide(t *testing.T) {
	w := newWorld(t)
	w.provide()
	want := map[string]string{
		"x/thing": "program example.com/thing/v3", "x/other": "program example.com/cmd/other", "x/more-of-it": "program .", "x/thing-version": "v3.1.2",
	}
	if diff := cmp.Diff(want, w.bin()); diff != "" {
		t.Error(diff)
	}
	raw, err := os.ReadFile(w.calls)
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(raw), "\n")
	if !strings.HasPrefix(first, filepath.Join(w.root, "bundle/x")+" 0 build -v -buildvcs=false -tags a b -ldflags -s -w -o ") {
		t.Errorf("the Go command was called as %s", first)
	}
	for _, part := range []string{"building the x bundle: things; about a second, once", "built the x bundle in "} {
		if !strings.Contains(w.talk.String(), part) {
			t.Errorf("it did not say %q, but %q", part, w.talk.String())
		}
	}
	w.talk.Reset()
	w.provide()
	if w.countCalls() != 2 || w.talk.Len() > 0 {
		t.Errorf("with all built: %d calls of the Go command instead of 2, and said %q", w.countCalls(), w.talk.String())
	}
}

func TestChangesBuildAgain(t *testing.T) {
	cases := map[string]struct {
		file  string
		again bool
	}{
		"a source":                   {"bundle/x/more/main.go", true},
		"a new source":               {"bundle/x/more/new.go", true},
		"versions":                   {"bundle/x/go.sum", true},
		"a test":                     {"bundle/x/more/main_test.go", false},
		"words":                      {"bundle/x/README.md", false},
		"what is not in the bundle":  {"internal/x.go", false},
		"a module in one of its own": {"bundle/x/more/go.mod", true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.provide()
			w.write(w.root, tc.file, "package main // changed\n")
			w.provide()
			if again := w.countCalls() == 4; again != tc.again {
				t.Errorf("after %d calls of the Go command, want it built again: %v", w.countCalls(), tc.again)
			}
		})
	}
}

func TestLinksOfOlderBuildsGo(t *testing.T) {
	w := newWorld(t)
	w.provide()
	w.write(w.root, "bin/x/mine", "mine")
	w.write(w.root, "bin/x/thing", "in the way") // through the link, into the cache: as a careless copy would
	delete(w.one.modules[0].programs, "other")
	w.provide()
	want := map[string]string{"x/thing": "program example.com/thing/v3", "x/more-of-it": "program .", "x/thing-version": "v3.1.2", "x/mine": "mine"}
	if diff := cmp.Diff(want, w.bin()); diff != "" {
		t.Error(diff)
	}
}

func TestFailureLeavesNothingHalf(t *testing.T) {
	w := newWorld(t)
	t.Setenv("FAIL", "yes")
	err := w.builder.provide(t.Context(), w.one)
	if err == nil || !strings.Contains(err.Error(), "cannot build the x bundle") || !strings.Contains(err.Error(), "x.go:1:1: it is broken") {
		t.Errorf("got %v, want what the Go command complained of", err)
	}
	w.write(w.cache, "x"+partialMark+"123/thing", "of a build that was killed")
	t.Setenv("FAIL", "")
	w.provide()
	entries, err := os.ReadDir(w.cache)
	if err != nil || len(entries) != 2 { // the bundle and the lock
		t.Errorf("in the cache are %v, %v", entries, err)
	}
}

func TestUnusedBuildsGo(t *testing.T) {
	w := newWorld(t)
	old, recent := filepath.Join(w.cache, "x-old"), filepath.Join(w.cache, "x-recent")
	for dir, age := range map[string]time.Duration{old: keptFor + time.Hour, recent: keptFor - time.Hour} {
		w.write(dir, "thing", "")
		then := time.Now().Add(-age)
		if err := os.Chtimes(dir, then, then); err != nil {
			t.Fatal(err)
		}
	}
	w.provide()
	if exists(old) || !exists(recent) {
		t.Errorf("the unused build exists: %v, the recent one: %v", exists(old), exists(recent))
	}
}

func TestOneBuilds(t *testing.T) {
	w := newWorld(t)
	b := w.builder
	b.talk = &bytes.Buffer{} // who waits says nothing
	var group errgroup.Group
	group.Go(func() error { return w.builder.provide(t.Context(), w.one) })
	group.Go(func() error { return b.provide(t.Context(), w.one) })
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := w.countCalls(); got != 2 {
		t.Errorf("%d calls of the Go command, want 2: one a module", got)
	}
}

func TestChoose(t *testing.T) {
	if all, err := choose(nil); err != nil || len(all) != len(bundles()) {
		t.Errorf("none named: %d, %v", len(all), err)
	}
	if some, err := choose([]string{"lab", "edge"}); err != nil || len(some) != 2 || some[0].name != "lab" {
		t.Errorf("two named: %v, %v", some, err)
	}
	if _, err := choose([]string{"labs"}); err == nil || !strings.Contains(err.Error(), "engine, edge, lab") {
		t.Errorf("an unknown one: %v, want an error that lists them", err)
	}
}

func TestKubernetesVersionFlags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "go.mod")
	cases := map[string]string{
		"module x\n\nrequire k8s.io/kubernetes v1.36.3\n":                       " -X k8s.io/component-base/version.gitVersion=v1.36.3 -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36 -X k8s.io/component-base/version.gitTreeState=clean",
		"require (\n\ta v1.0.0\n\tk8s.io/kubernetes v1.37.0-rc.1 // indirect\n": " -X k8s.io/component-base/version.gitVersion=v1.37.0-rc.1 -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37 -X k8s.io/component-base/version.gitTreeState=clean",
		"module x\n": "",
	}
	for content, want := range cases {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := kubernetesVersion(file)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("of %q: %q, %v", content, got, err)
		}
	}
}

// TestBundlesOfTheCheckout checks that the list fits the modules: every directory is there, and Kubernetes has a version.
func TestBundlesOfTheCheckout(t *testing.T) {
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	root := finder.Root(wd)
	for _, b := range bundles() {
		if _, err := b.key(root); err != nil {
			t.Error(err)
		}
		for _, m := range b.modules {
			if _, err := os.Stat(filepath.Join(root, m.dir, "go.mod")); err != nil {
				t.Error(err)
			}
			for program := range m.programs {
				if got := finder.Of(program); got != b.name {
					t.Errorf("%s of the bundle %s is looked for in %s", program, b.name, got)
				}
			}
		}
	}
}

func TestPackageCounter(t *testing.T) {
	var c packageCounter
	for _, part := range []string{"net/h", "ttp\ngo: downloading x v1\nk8s.io/api/core/v1\n# broken/pkg\n", "./x.go:1:1: undefined: y\n"} {
		if _, err := c.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := c.complaints.String(), "# broken/pkg\n./x.go:1:1: undefined: y\n"; c.count.Load() != 2 || got != want {
		t.Errorf("counted %d, kept %q", c.count.Load(), got)
	}
}
