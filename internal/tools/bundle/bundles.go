package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

// bundle is a set of programs built from the modules under bundle/NAME.
type bundle struct {
	name    string
	what    string // what it is, for people
	takes   string // about how long it takes to build from nothing
	linkDir string // where in bin/ its programs are linked
	modules []module
	// version, when set, says which version of which module is the bundle's, to be written to a file beside the programs.
	version *version
}

// module is one Go module of a bundle. Programs whose dependencies want different versions live in different modules.
type module struct {
	dir      string            // in the checkout
	programs map[string]string // name of the program: its package
	tags     string
	ldflags  func(goMod string) (string, error) // what to link with besides -s -w; may be nil
}

// version names a required module, and the file that its version is written to.
type version struct{ module, file string }

// bundles is the list of all bundles.
func bundles() []bundle {
	return []bundle{
		{
			name: "engine", what: "the Temporal server", takes: "about 4 CPU-minutes",
			modules: []module{{dir: "bundle/engine", programs: map[string]string{"crossfade-engine": "."}}},
		},
		{
			name: "edge", what: "Caddy", takes: "about 3 CPU-minutes",
			modules: []module{{dir: "bundle/edge", programs: map[string]string{"crossfade-edge": "."}}},
		},
		{
			name: "lab", what: "Kubernetes, etcd, containerd, CNI, CoreDNS", takes: "about 16 CPU-minutes", linkDir: "lab",
			modules: []module{kubernetes(), containers(), addons()},
			version: &version{module: "k8s.io/kubernetes", file: "kubernetes-version"},
		},
		{ // what the product is measured against: no part of it, and built by the bench alone
			name: "velero", what: "Velero, for the bench", takes: "about 6 CPU-minutes",
			modules: []module{{dir: "bundle/velero", programs: map[string]string{"crossfade-velero": "."}}},
		},
		{ // what the product is tested with: no part of it either
			name: "traefik", what: "Traefik, for tests of the Gateway API", takes: "about 7 CPU-minutes",
			modules: []module{{dir: "bundle/traefik", programs: map[string]string{"crossfade-traefik": "."}}},
		},
		{
			name: "externaldns", what: "a provider of external-dns, for tests of DNS", takes: "about a CPU-minute",
			modules: []module{{dir: "bundle/externaldns", programs: map[string]string{"crossfade-externaldns": "."}}},
		},
	}
}

func kubernetes() module {
	programs := map[string]string{"etcd": "go.etcd.io/etcd/server/v3"}
	for _, name := range []string{"kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet"} {
		programs[name] = "k8s.io/kubernetes/cmd/" + name
	}
	return module{dir: "bundle/lab", programs: programs, ldflags: kubernetesVersion}
}

func containers() module {
	const containerd, plugins = "github.com/containerd/containerd/v2/cmd/", "github.com/containernetworking/plugins/plugins/"
	return module{
		dir:  "bundle/lab/runtime",
		tags: "no_btrfs no_zfs no_devmapper", // drivers that need C libraries or another file system
		programs: map[string]string{
			"containerd": containerd + "containerd", "containerd-shim-runc-v2": containerd + "containerd-shim-runc-v2",
			"ptp": plugins + "main/ptp", "loopback": plugins + "main/loopback",
			"host-local": plugins + "ipam/host-local", "portmap": plugins + "meta/portmap",
		},
	}
}

func addons() module {
	return module{dir: "bundle/lab/addons", programs: map[string]string{
		"coredns": "./coredns", "pause": "./pause", "registry": "./registry", "provisioner": "./provisioner",
	}}
}

// kubernetesVersion stamps the programs of Kubernetes with the version that their module has, as their own build does.
func kubernetesVersion(goMod string) (string, error) {
	full, err := requiredVersion(goMod, "k8s.io/kubernetes")
	if err != nil {
		return "", err
	}
	parts := strings.SplitN(strings.TrimPrefix(full, "v"), ".", 3)
	if len(parts) != 3 {
		return "", fmt.Errorf("cannot read the version %q of k8s.io/kubernetes", full)
	}
	var flags strings.Builder
	for _, v := range [][2]string{{"gitVersion", full}, {"gitMajor", parts[0]}, {"gitMinor", parts[1]}, {"gitTreeState", "clean"}} {
		fmt.Fprintf(&flags, " -X k8s.io/component-base/version.%s=%s", v[0], v[1])
	}
	return flags.String(), nil
}

// requiredVersion returns the version at which a go.mod requires a module.
func requiredVersion(goMod, module string) (string, error) {
	raw, err := os.ReadFile(goMod)
	if err != nil {
		return "", fmt.Errorf("cannot read the versions of the bundle: %w", err)
	}
	found := regexp.MustCompile(`(?m)^(?:require)?\s*` + regexp.QuoteMeta(module) + `\s+(v\S+)`).FindSubmatch(raw)
	if found == nil {
		return "", fmt.Errorf("cannot find the version of %s in %s", module, goMod)
	}
	return string(found[1]), nil
}

// key returns the first 16 hex digits of a hash over all that decides how the bundle's programs turn out: the Go version, and
// every source, go.mod and go.sum of the bundle.
func (b bundle) key(root string) (string, error) {
	hash := sha256.New()
	fmt.Fprintf(hash, "%s %s %s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	for _, m := range b.modules {
		fmt.Fprintf(hash, "%s %v %s\n", m.dir, m.programs, m.tags) // maps are printed in order of key
	}
	dir := filepath.Join(root, "bundle", b.name)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !counts(path) {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		return hashFile(hash, rel, path)
	})
	if err != nil {
		return "", fmt.Errorf("cannot read the sources of the %s bundle: %w", b.name, err)
	}
	return hex.EncodeToString(hash.Sum(nil))[:16], nil
}

// counts reports whether a file of a bundle has a part in its programs.
func counts(path string) bool {
	return !strings.HasSuffix(path, "_test.go") && !strings.HasSuffix(path, ".md")
}

func hashFile(hash io.Writer, name, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	fmt.Fprintf(hash, "%s %d\n", name, info.Size())
	_, err = io.Copy(hash, f)
	return err
}

// writeVersion writes the bundle's version file, if it has one, beside the programs.
func (b bundle) writeVersion(root, dir string) error {
	if b.version == nil {
		return nil
	}
	full, err := requiredVersion(filepath.Join(root, b.modules[0].dir, "go.mod"), b.version.module)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, b.version.file), []byte(full+"\n"), 0o644); err != nil {
		return fmt.Errorf("cannot write the version of the %s bundle: %w", b.name, err)
	}
	return nil
}
