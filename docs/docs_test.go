// Package docs holds the documentation to what the program reads: its examples are loaded, its links followed.
package docs

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/crossfade-dev/crossfade/internal/spec"
)

// pages returns the text of every page below this directory, and of the pages at the root that people edit, by path.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	add := func(name string) error {
		raw, err := os.ReadFile(name)
		all[name] = string(raw)
		return err
	}
	err := filepath.WalkDir(".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(name) != ".md" {
			return err
		}
		return add(name)
	})
	for _, name := range []string{"../CONTRIBUTING.md", "../CHANGELOG.md"} {
		if err == nil {
			err = add(name)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// document is one of another kind than Environment.
type document[S any] struct {
	Kind     string        `json:"kind"`
	Metadata spec.Metadata `json:"metadata"`
	Spec     S             `json:"spec"`
}

var example = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")

// TestExamples reads each example as strictly as a configuration: a part of an environment's spec, a list of checks, or a document.
// Whole documents are loaded by the tests of package spec.
func TestExamples(t *testing.T) {
	found := 0
	for name, text := range pages(t) {
		for _, m := range example.FindAllStringSubmatch(text, -1) {
			if strings.HasPrefix(m[1], "apiVersion:") {
				continue
			}
			found++
			var into any = &spec.EnvironmentSpec{}
			switch {
			case strings.HasPrefix(m[1], "- "):
				into = &[]spec.Check{}
			case strings.HasPrefix(m[1], "kind: Service"):
				into = &document[spec.ServiceSpec]{}
			case strings.HasPrefix(m[1], "kind: Stack"):
				into = &document[spec.StackSpec]{}
			case strings.HasPrefix(m[1], "kind: Platform"):
				into = &document[spec.PlatformSpec]{}
			}
			if err := yaml.UnmarshalStrict([]byte(m[1]), into); err != nil {
				t.Errorf("%s: %v\n%s", name, err, m[1])
			}
		}
	}
	if found < 4 {
		t.Errorf("found %d examples, want at least 4: are they still marked as yaml?", found)
	}
}

var link = regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)]*)?\)`)

// TestLinks follows every link to a file.
func TestLinks(t *testing.T) {
	found := 0
	for name, text := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			found++
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), m[1])); err != nil {
				t.Errorf("%s: a link leads nowhere: %v", name, err)
			}
		}
	}
	if found < 10 {
		t.Errorf("found %d links to files, want at least 10", found)
	}
}

// TestOutput holds what the page about differences shows to what the program writes in its own tests.
func TestOutput(t *testing.T) {
	page, err := os.ReadFile("concepts/diff.md")
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("../internal/cli/testdata/clusters/causes.txtar")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```text\n(.*?)^```$").FindAllSubmatch(page, -1)
	for _, m := range blocks {
		if !bytes.Contains(script, m[1]) {
			t.Errorf("the program does not write this:\n%s", m[1])
		}
	}
	if len(blocks) < 7 {
		t.Errorf("found %d outputs, want at least 7: are they still marked as text?", len(blocks))
	}
}

// TestEveryPageIsInTheIndex keeps pages from being lost.
func TestEveryPageIsInTheIndex(t *testing.T) {
	all := pages(t)
	for name := range all {
		if !strings.HasPrefix(name, "..") && name != "README.md" && !strings.Contains(all["README.md"], "("+filepath.ToSlash(name)+")") {
			t.Errorf("%s is not in the index", name)
		}
	}
}
