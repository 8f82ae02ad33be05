package objects_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/apiserver"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/objects"
)

// bulky adds ConfigMaps of 900 KiB each to a namespace.
func bulky(t *testing.T, c *kube.Cluster, namespace string, count int) {
	t.Helper()
	for i := range count {
		text := "{apiVersion: v1, kind: ConfigMap, metadata: {name: bulky-%d, namespace: %s}, data: {text: %s}}"
		if _, err := c.Create(t.Context(), kubetest.Objects(t, fmt.Sprintf(text, i, namespace, strings.Repeat("x", 900<<10)))[0]); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStoreFull: the other cluster's etcd reaches its quota in the middle of a copy. The copy stops and says so, or waits; once there is
// room, either goes on where it was.
func TestStoreFull(t *testing.T) {
	t.Parallel()
	p := startPair(t)
	p.to.Kill(apiserver.Store)
	p.to.Revive(t, apiserver.Store, "--quota-backend-bytes", fmt.Sprint(4<<20))
	fill(t, p.a, "full", 200)
	bulky(t, p.a, "full", 5)

	_, err := objects.Copy(t.Context(), p.a, p.b, options(only("full")))
	if fault.CodeOf(err) != fault.Unavailable || !containsAll(err.Error(), "the cluster b takes no writes", "database space exceeded") ||
		!containsAll(fault.HintOf(err), "its disk is full", "the same command goes on") {
		t.Errorf("want Unavailable and why, got %v (%s)", err, fault.HintOf(err))
	}
	done := goOn(t, p, "full", "waiting: the cluster b takes no writes", "database space exceeded")
	p.to.Kill(apiserver.Store)
	p.to.Revive(t, apiserver.Store)
	p.to.MakeRoom(t)
	done()
	checkCopied(t, p.a, p.b, "full")
}

// TestDeviceFull: the device under the other cluster's etcd is full, of which etcd dies. The copy waits until somebody has made room and
// started etcd again.
func TestDeviceFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "etcd")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", data, "tmpfs", 0, "size=256m"); err != nil {
		t.Skip("needs to mount a small file system:", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(data, 0); err != nil {
			t.Error(err)
		}
	})
	p := &clusters{from: kubetest.Start(t, "a"), to: kubetest.StartIn(t, dir, "b")}
	p.a, p.b = p.from.Connect(t), p.to.Connect(t)
	fill(t, p.a, "full", 100)
	bulky(t, p.a, "full", 5)
	ballast := filepath.Join(data, "ballast")
	fillUp(t, ballast, 64<<10)

	done := goOn(t, p, "full", "waiting for the cluster b: ")
	if log := p.to.Log(apiserver.Store); !strings.Contains(log, "no space left on device") {
		t.Errorf("etcd did not die of a full device: %s", log)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	p.to.Revive(t, apiserver.Store)
	done()
	checkCopied(t, p.a, p.b, "full")
}

// fillUp writes a file that leaves so much room on its device.
func fillUp(t *testing.T, file string, room uint64) {
	t.Helper()
	var device syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(file), &device); err != nil {
		t.Fatal(err)
	}
	size := device.Bavail*uint64(device.Bsize) - room
	if err := os.WriteFile(file, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
}

// goOn copies a namespace with patience. It returns when the copy waits and says all of the words; what it returns waits for the end.
func goOn(t *testing.T, p *clusters, namespace string, words ...string) (done func()) {
	t.Helper()
	o, said := options(only(namespace)), &talk{}
	o.Patience, o.Progress = time.Minute, said.progress
	ended := make(chan error, 1)
	go func() {
		report, err := objects.Copy(t.Context(), p.a, p.b, o)
		if err == nil {
			err = report.Err()
		}
		ended <- err
	}()
	eventually(t, "it waits", func() bool { return said.has(words...) })
	return func() {
		t.Helper()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
