package node

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

var example = Node{
	Name: "blue-1", Address: netip.MustParseAddr("198.18.0.3"), Dir: "/a \"quoted\" place/1", Certificates: "/a \"quoted\" place/pki",
	Pods: PodSubnetOf(1), PodGroup: "crossfade/0123/1/pods", Programs: "/programs", PauseImage: "registry.example/pause:1",
	RegistryName: "registry.example", Registry: netip.MustParseAddrPort("198.18.0.2:5000"),
}

// TestFilesParse checks what the programs would refuse, also with a directory of an unusual name.
func TestFilesParse(t *testing.T) {
	files := example.Files()
	for _, name := range []string{"kubelet.yaml", "kube-proxy.yaml", "cni/10-crossfade.conflist"} {
		var parsed map[string]any
		if err := yaml.UnmarshalStrict([]byte(files[name]), &parsed); err != nil || len(parsed) < 3 {
			t.Errorf("%s: %v in\n%s", name, err, files[name])
		}
	}
	want := map[string]string{
		"kubelet.yaml":                        `cgroupRoot: "/crossfade/0123/1/pods"`,
		"kube-proxy.yaml":                     "mode: nftables",
		"cni/10-crossfade.conflist":           `"subnet": "10.244.1.0/24"`,
		"containerd.toml":                     `config_path = "/a \"quoted\" place/1/certs.d"`,
		"certs.d/registry.example/hosts.toml": `server = "http://198.18.0.2:5000"`,
	}
	for name, part := range want {
		if !strings.Contains(files[name], part) {
			t.Errorf("%s has no %s:\n%s", name, part, files[name])
		}
	}
	for name, content := range files {
		if strings.Contains(content, "%!") {
			t.Errorf("%s was put together wrongly:\n%s", name, content)
		}
	}
}

func TestPodSubnets(t *testing.T) {
	got := []string{PodSubnetOf(1).String(), PodSubnetOf(2).String(), PodSubnetOf(200).String()}
	if diff := cmp.Diff([]string{"10.244.1.0/24", "10.244.2.0/24", "10.244.200.0/24"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestScriptsAreShell(t *testing.T) {
	for _, script := range []string{MountScript, SettingsScript} {
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-n")
		cmd.Stdin = strings.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	}
}
