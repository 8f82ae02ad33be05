// Package depcheck holds the directions in which packages may import each other.
package depcheck

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/crossfade-dev/crossfade/"

// layers are the packages from the inside to the outside, by path below internal/; a package may import those of earlier
// layers and its own, which includes its sub-packages. What is in no layer may be imported by nobody but tests and programs.
var layers = [][]string{
	{"fault"},
	{"bundle", "process", "release/image", "source", "host"},
	{"spec", "cluster", "record", "load", "engine", "nginxctl"},
	{"plan", "kube", "edge", "traffic"},
	{"objects/field"},
	{"render", "kube/endpoint", "kube/workload", "kube/gatewayapi", "history", "certs"},
	{"objects", "cluster/existing", "cluster/local", "traffic/caddy", "traffic/dns", "traffic/gateway", "traffic/haproxy", "traffic/nginx", "promotion"},
	{"check", "release"},
	{"runbook/step"},
	{"runbook"},
	{"demo"},
	{"cli"},
}

// only says who alone may import a module of others.
var only = map[string][]string{
	"go.temporal.io/":                            {"engine", "runbook"},
	"helm.sh/helm/":                              {"render"},
	"sigs.k8s.io/kustomize/":                     {"render", "release/colour"},
	"github.com/fluxcd/":                         {"kube"},
	"github.com/go-git/":                         {"source"},
	"modernc.org/sqlite":                         {"record"},
	"github.com/spf13/cobra":                     {"cli"},
	"github.com/miekg/dns":                       {"traffic/dns"},
	"github.com/mholt/acmez/":                    {"certs"},
	"github.com/letsencrypt/":                    {"certs/pebbletest"},
	"filippo.io/age":                             {"certs"},
	"github.com/aws/":                            {"traffic/dns"},
	"github.com/Azure/azure-sdk-for-go/":         {"traffic/dns"},
	"golang.org/x/crypto/ssh":                    {"host"},
	"github.com/pkg/sftp":                        {"host"},
	"github.com/google/go-containerregistry/pkg": {"cluster/local", "cli", "release/image"},
}

type listed struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// layerOf returns the index of a package's layer by its longest match, and -1 for packages in none.
func layerOf(path string) (layer int, name string) {
	layer = -1
	for i, l := range layers {
		for _, p := range l {
			if (path == p || strings.HasPrefix(path, p+"/")) && len(p) > len(name) {
				layer, name = i, p
			}
		}
	}
	return layer, name
}

func TestImportDirections(t *testing.T) {
	checked := 0
	for _, p := range packages(t) {
		from, ok := strings.CutPrefix(p.ImportPath, module+"internal/")
		if !ok {
			continue
		}
		layer, name := layerOf(from)
		for _, i := range p.Imports {
			to, ours := strings.CutPrefix(i, module+"internal/")
			if !ours {
				restricted(t, from, i)
				continue
			}
			if layer < 0 {
				continue
			}
			checked++
			if l, other := layerOf(to); l > layer || l < 0 || l == layer && other != name {
				t.Errorf("internal/%s imports internal/%s: imports point inward, and never sideways", from, to)
			}
		}
	}
	if checked < 50 {
		t.Errorf("only %d imports were looked at", checked)
	}
}

// restricted reports an import that only some packages may have.
func restricted(t *testing.T, from, path string) {
	t.Helper()
	for prefix, users := range only {
		if !strings.HasPrefix(path, prefix) {
			continue
		}
		_, name := layerOf(from)
		ok := false
		for _, u := range users {
			ok = ok || u == name || u == from
		}
		if !ok && name != "" {
			t.Errorf("internal/%s imports %s, which only %v may", from, path, users)
		}
	}
}
