package local

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/crossfade-dev/crossfade/internal/bundle"
	"github.com/crossfade-dev/crossfade/internal/cluster/local/netns"
	"github.com/crossfade-dev/crossfade/internal/fault"
)

// tools are the programs of the machine that local clusters need, and the Debian packages that have them.
var tools = []struct{ program, pkg string }{
	{"runc", "runc"},
	{"nft", "nftables"},
	{"ip", "iproute2"},
	{"nsenter", "util-linux"},
	{"unshare", "util-linux"},
	{"mount", "mount"},
}

// checkMachine says in one error why this machine cannot have local clusters, if it cannot.
func (p *Provider) checkMachine() error {
	if runtime.GOOS != "linux" {
		return fault.New(fault.Invalid, "cannot make local clusters on %s: they need Linux", runtime.GOOS).
			WithHint("use the provider existing, with clusters that you have")
	}
	if os.Geteuid() != 0 {
		return fault.New(fault.Invalid, "cannot make local clusters without being root: they need namespaces and control groups").
			WithHint("run it as root, or use the provider existing with clusters that you have")
	}
	if !p.groups.Usable() {
		return fault.New(fault.Invalid, "cannot make local clusters: no control groups are mounted").
			WithHint("mount them at /sys/fs/cgroup")
	}
	return missingTools(func(name string) bool { return filepath.IsAbs(netns.Tool(name)) })
}

func missingTools(there func(string) bool) error {
	var programs, packages []string
	for _, tool := range tools {
		if there(tool.program) {
			continue
		}
		programs = append(programs, tool.program)
		if !strings.Contains(" "+strings.Join(packages, " ")+" ", " "+tool.pkg+" ") {
			packages = append(packages, tool.pkg)
		}
	}
	if len(programs) == 0 {
		return nil
	}
	return fault.New(fault.Invalid, "cannot make local clusters: this machine has no %s", strings.Join(programs, ", ")).
		WithHint("apt-get install %s", strings.Join(packages, " "))
}

// builtVersion returns the version of Kubernetes that is built.
func builtVersion() (string, error) {
	file, err := bundle.Program("kubernetes-version")
	if err != nil {
		return "", err
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", fault.New(fault.Failed, "cannot read the version of Kubernetes that is built: %w", err)
	}
	return strings.TrimSpace(string(raw)), nil
}

// chooseVersion returns the version of Kubernetes to run: what is asked for, if it is built.
func chooseVersion(asked, built string) (string, error) {
	if asked == "" || strings.TrimPrefix(asked, "v") == strings.TrimPrefix(built, "v") {
		return built, nil
	}
	return "", fault.New(fault.Invalid, "cannot run Kubernetes %s: it is not built", asked).WithHint("built is %s", built)
}
