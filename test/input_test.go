package test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestBadInput gives the program what people give to programs. Each gets one error that names the input, a hint, and the
// documented exit status; nothing is made.
func TestBadInput(t *testing.T) {
	tests := map[string]struct {
		reason string
		spoil  func(*testing.T, *world)
		status int
		says   []string
	}{
		"UnknownField": {
			reason: "a typing error is named with its place",
			spoil:  func(_ *testing.T, w *world) { w.replace("production.yaml", "gate:", "gaet:") },
			status: 2, says: []string{"production.yaml:", "gaet", "gate"},
		},
		"WrongType": {
			reason: "a number where a duration is wanted",
			spoil:  func(_ *testing.T, w *world) { w.replace("production.yaml", "drain: 10s", "drain: [10]") },
			status: 2, says: []string{"production.yaml:", "spec.shift.drain"},
		},
		"TwoServicesOfOneName": {
			reason: "both places are known",
			spoil:  func(_ *testing.T, w *world) { w.replace("production.yaml", "- name: worker", "- name: web") },
			status: 2, says: []string{"production.yaml:", "web"},
		},
		"Cycle": {
			reason: "the cycle is printed",
			spoil: func(_ *testing.T, w *world) {
				w.replace("services.yaml", "image: registry.crossfade.local/shop/shop\n  helm:", "image: registry.crossfade.local/shop/shop\n  needs: [web]\n  helm:")
			},
			status: 2, says: []string{"orders -> web -> orders"},
		},
		"ManifestDoesNotParse": {
			reason: "the file and the line are named",
			spoil:  func(_ *testing.T, w *world) { w.replace("services/worker/deployment.yaml", "spec:", "spec: [") },
			status: 2, says: []string{"services/worker/deployment.yaml"},
		},
		"KubeconfigDoesNotAnswer": {
			reason: "a cluster that is not there is named with its context",
			spoil: func(t *testing.T, w *world) {
				w.replace("production.yaml", "provider: local\n    local: {nodes: 1}",
					"provider: existing\n    existing: {kubeconfig: ./kubeconfig, contexts: [blue, green]}")
				writeFile(t, filepath.Join(w.config, "kubeconfig"), deadKubeconfig)
			},
			status: 1, says: []string{"blue"},
		},
		"PortInUse": {
			reason: "the address is named",
			spoil: func(t *testing.T, w *world) {
				l, err := net.Listen("tcp", w.listen)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { l.Close() })
			},
			status: 2, says: []string{"in use"},
		},
		"FullDisk": {
			reason: "the disk is named, and nothing is begun",
			spoil:  fillDisk,
			status: 1, says: []string{"no space left on device"},
		},
		"NoSuchEnvironment": {
			reason: "the ones that there are are listed",
			spoil: func(_ *testing.T, w *world) {
				w.replace("production.yaml", "metadata: {name: production}", "metadata: {name: staging}")
			},
			status: 2, says: []string{"production", "staging"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tc.spoil(t, w)
			begin := time.Now()
			o := w.run("rollover", environment)
			if o.status != tc.status {
				t.Errorf("%s: exit %d, want %d\n%s%s", tc.reason, o.status, tc.status, o.stdout, o.stderr)
			}
			for _, want := range append(tc.says, "hint:") {
				if !strings.Contains(o.stderr, want) {
					t.Errorf("%s: the error does not say %q:\n%s", tc.reason, want, o.stderr)
				}
			}
			if took := time.Since(begin); took > 40*time.Second {
				t.Errorf("%s: it took %s to say so", tc.reason, took)
			}
			if strings.Contains(o.stderr, "goroutine ") {
				t.Errorf("%s: it crashed:\n%s", tc.reason, o.stderr)
			}
		})
	}
}

// fillDisk puts the world's state directory on a disk of its own that has no room left.
func fillDisk(t *testing.T, w *world) {
	t.Helper()
	disk := filepath.Join(filepath.Dir(w.state), "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	f, err := os.Create(filepath.Join(disk, "full"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for {
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			break
		}
	}
	w.stateFlag = disk
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

const deadKubeconfig = `apiVersion: v1
kind: Config
clusters:
- {name: dead, cluster: {server: "https://127.0.0.1:1"}}
users:
- {name: nobody, user: {}}
contexts:
- {name: blue, context: {cluster: dead, user: nobody}}
- {name: green, context: {cluster: dead, user: nobody}}
`
