package bundle

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "checkout/go.mod"), "// ours\nmodule "+Module+"\n")
	write(t, filepath.Join(dir, "checkout/bin/crossfade-engine"), "")
	write(t, filepath.Join(dir, "checkout/bin/lab/kubelet"), "")
	write(t, filepath.Join(dir, "checkout/bundle/lab/go.mod"), "module "+Module+"/bundle/lab\n")
	write(t, filepath.Join(dir, "installed/kubelet"), "")
	write(t, filepath.Join(dir, "installed/crossfade"), "")
	write(t, filepath.Join(dir, "override/crossfade-edge"), "")
	if err := os.Symlink(filepath.Join(dir, "installed/crossfade"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		program, override, executable, workdir string
		want                                   string
	}{
		"in the override":                          {"crossfade-edge", "override", "installed/crossfade", "checkout", "override/crossfade-edge"},
		"the override is the only place":           {"kubelet", "override", "installed/crossfade", "checkout", ""},
		"beside the executable first":              {"kubelet", "", "installed/crossfade", "checkout", "installed/kubelet"},
		"beside what a link to the executable is":  {"kubelet", "", "link", "", "installed/kubelet"},
		"in the checkout, for tests":               {"crossfade-engine", "", "tmp/x.test", "checkout/bundle/lab", "checkout/bin/crossfade-engine"},
		"in the lab directory of the checkout":     {"kubelet", "", "tmp/x.test", "checkout", "checkout/bin/lab/kubelet"},
		"a directory is not a program":             {"lab", "", "tmp/x.test", "checkout", ""},
		"nowhere":                                  {"kubelet", "", "tmp/x.test", "installed", ""},
		"executable and working directory unknown": {"kubelet", "", "", "", ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			at := func(rel string) func() (string, error) {
				return func() (string, error) {
					if rel == "" {
						return "", errors.New("unknown")
					}
					return filepath.Join(dir, rel), nil
				}
			}
			override := tc.override
			if override != "" {
				override = filepath.Join(dir, override)
			}
			got, err := find(tc.program, places(override, at(tc.executable), at(tc.workdir)))
			want := tc.want
			if want != "" {
				want = filepath.Join(dir, want)
			}
			if got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if want == "" && (fault.CodeOf(err) != fault.Invalid || fault.HintOf(err) == "") {
				t.Errorf("error %v: want one of code Invalid, with a hint", err)
			}
		})
	}
}

func TestMissingProgramNamesItsBundle(t *testing.T) {
	got := map[string]string{}
	for _, program := range []string{"kubelet", "crossfade-engine", "crossfade-edge"} {
		_, err := find(program, nil)
		got[program] = err.Error()
	}
	want := map[string]string{
		"kubelet":          "cannot find kubelet of the lab bundle",
		"crossfade-engine": "cannot find crossfade-engine of the engine bundle",
		"crossfade-edge":   "cannot find crossfade-edge of the edge bundle",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
