package spec

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/spec/strict"
)

var update = flag.Bool("update", false, "write what the golden tests see into their files")

// TestLoadBad loads one broken configuration a file. Each begins with the files of base.txtar, replaces or adds some, and
// ends with the problems that must be reported, all of them.
func TestLoadBad(t *testing.T) {
	for name, archive := range archives(t, "testdata/bad") {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			unpack(t, dir, parseArchive(t, "testdata/base.txtar"))
			unpack(t, dir, archive)
			file, err := filepath.Abs(filepath.Join("testdata/bad", name+".txtar"))
			if err != nil {
				t.Fatal(err)
			}
			t.Chdir(dir)
			_, err = Load(".")
			problems, ok := errors.AsType[Problems](err)
			if !ok || fault.CodeOf(err) != fault.Invalid {
				t.Fatalf("Load returned %v; want problems in an error of code invalid", err)
			}
			golden(t, file, archive, strings.Join(problems.Lines(), "\n")+"\n")
		})
	}
}

// TestLoadGood compares what is loaded, as JSON, in which paths begin with $DIR.
func TestLoadGood(t *testing.T) {
	for name, archive := range archives(t, "testdata/good") {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			unpack(t, dir, archive)
			cfg, err := Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := json.MarshalIndent(cfg, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata/good", name+".txtar"), archive, strings.ReplaceAll(string(raw), dir, "$DIR")+"\n")
		})
	}
}

func TestBaseIsGood(t *testing.T) {
	dir := t.TempDir()
	unpack(t, dir, parseArchive(t, "testdata/base.txtar"))
	if _, err := Load(dir); err != nil {
		t.Fatalf("the base of the bad cases is bad itself: %v", err)
	}
}

func TestLoadPaths(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	platform := "apiVersion: " + APIVersion + "\nkind: Platform\nmetadata: {name: shop}\nspec: {}\n"
	tests := map[string]struct {
		reason, path string
		want         string // part of the error; "" for none
	}{
		"file":      {"one file is a configuration", write("one.yaml", platform), ""},
		"dot":       {"files of editors and sub-directories are left alone", filepath.Dir(write("d/p.yml", platform)), ""},
		"missing":   {"a path at which there is nothing", filepath.Join(dir, "none"), "there is no "},
		"empty":     {"an empty file", write("empty.yaml", ""), "has no documents"},
		"comments":  {"a file of comments", write("comments.yaml", "# nothing\n---\n"), "has no documents"},
		"no files":  {"a directory without configuration", filepath.Dir(write("e/readme.md", "")), "has no .yaml or .yml files"},
		"too large": {"a file that cannot be configuration", write("large.yaml", "# "+strings.Repeat("x", strict.MaxFile)), "larger than 4 MiB"},
		"merge bomb": {
			"a long mapping merged many times", write("bomb.yaml", platform[:len(platform)-3]+"{<<: [&a {"+strings.Repeat("'': 1, ", 10000)+"}"+strings.Repeat(", *a", 10000)+"]}\n"),
			"expand to too much",
		},
		"deep": {"more levels than anybody writes", write("deep.yaml", "a: "+strings.Repeat("[", 20000)), "not YAML"},
	}
	write("d/.#p.yaml", "{")
	write("d/sub/manifest.yaml", "kind: Pod\n")
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Load(tc.path)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%s: Load(%s) = %v, want %q", tc.reason, tc.path, err, tc.want)
			}
			if err != nil && (fault.CodeOf(err) != fault.Invalid || strings.Contains(err.Error(), "\n")) {
				t.Errorf("%s: code %s, text %q; want one line of code invalid", tc.reason, fault.CodeOf(err), err)
			}
		})
	}
}

func TestNamed(t *testing.T) {
	cfg := &Config{Environments: []Environment{{Metadata: Metadata{Name: "production"}}}}
	if e, err := cfg.Environment("production"); err != nil || e != &cfg.Environments[0] {
		t.Errorf("Environment(production) = %v, %v", e, err)
	}
	_, err := cfg.Environment("producton")
	if diff := cmp.Diff("there is no environment producton; did you mean production?", err.Error()); diff != "" {
		t.Error(diff)
	}
	if _, err := cfg.Service("web"); fault.HintOf(err) != "the configuration has no service" {
		t.Errorf("hint %q", fault.HintOf(err))
	}
}

// FuzzLoad feeds one file to everything that Load does with it. It must end, and problems must be lines with a place.
func FuzzLoad(f *testing.F) {
	for _, dir := range []string{"testdata/bad", "testdata/good"} {
		for _, archive := range archives(f, dir) {
			for _, file := range archive.Files {
				f.Add(file.Data)
			}
		}
	}
	for _, seed := range []string{"", "\ufeff", "a: &a [*a]", "? {a: b}\n: c", "<<: *x", "&a : *a", "\t", "%YAML 9", "--- !!binary x", "*a : 1", "- - - -", "a:\x00", "{<<: [{a: 1}, 2]}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		l := loader{dir: "/nowhere", complete: true}
		l.add("f.yaml", raw)
		l.config("f.yaml")
		for _, line := range l.problems.Sorted().Lines() {
			if !strings.HasPrefix(line, "f.yaml") || strings.ContainsAny(line, "\n\r") {
				t.Errorf("a problem is not a line with its place: %q", line)
			}
		}
	})
}

// archives returns the txtar archives of a directory by name.
func archives(t testing.TB, dir string) map[string]*txtar.Archive {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no archives in %s: %v", dir, err)
	}
	result := map[string]*txtar.Archive{}
	for _, file := range files {
		result[strings.TrimSuffix(filepath.Base(file), ".txtar")] = parseArchive(t, file)
	}
	return result
}

func parseArchive(t testing.TB, file string) *txtar.Archive {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return archive
}

// unpack writes the files of an archive, except what is wanted of them.
func unpack(t testing.TB, dir string, archive *txtar.Archive) {
	t.Helper()
	for _, f := range archive.Files {
		if f.Name == "want" {
			continue
		}
		path := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// golden compares what came out with the archive's file "want", or writes it there.
func golden(t *testing.T, file string, archive *txtar.Archive, got string) {
	t.Helper()
	want := ""
	kept := archive.Files[:0:0]
	for _, f := range archive.Files {
		if f.Name == "want" {
			want = string(f.Data)
			continue
		}
		kept = append(kept, f)
	}
	if *update {
		archive.Files = append(kept, txtar.File{Name: "want", Data: []byte(got)})
		if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}
