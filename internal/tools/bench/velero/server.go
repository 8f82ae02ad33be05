package velero

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/apierror"
)

// program is Velero, and pluginName what its file is called when it is to be the plugin for stores that are directories (bundle/velero).
const (
	program    = "crossfade-velero"
	pluginName = "crossfade-files"
	provider   = "crossfade.dev/files"
)

// Settings are the arguments that make Velero faster than it is by default: it may ask as much as it wants, backs up two
// objects at once for every processor, looks every second for what goes on in the background, does not look for objects in a cluster that has
// none before it restores them, and does not write lines about each.
func Settings() []string {
	return []string{
		"--client-qps=10000", "--client-burst=10000", fmt.Sprintf("--item-block-worker-count=%d", 2*runtime.NumCPU()),
		"--item-operation-sync-frequency=1s", "--disable-informer-cache", "--log-level=warning",
	}
}

// process is a server of Velero.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has
	log   string
}

// install has Velero install itself, as where it has nodes to run on: some of what it does reads its own Deployment.
func (r Run) install(ctx context.Context, path string) error {
	cmd := exec.CommandContext(ctx, path, append([]string{
		"install", "--provider", provider, "--bucket", bucket, "--backup-location-config", "directory=" + r.Store,
		"--plugins", pluginName, "--no-secret", "--use-volume-snapshots=false",
	}, r.access()...)...)
	cmd.Env = r.environment()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot install Velero: %w: %s", err, end(out))
	}
	if err := os.Mkdir(r.plugins(), 0o700); err != nil {
		return err
	}
	return os.Symlink(path, filepath.Join(r.plugins(), pluginName))
}

// start starts Velero, which ends with this process and with the context, and returns when it has a place for backups.
func (r Run) start(ctx context.Context, c *kube.Cluster, path string) (*process, error) {
	s := &process{log: filepath.Join(r.Dir, "log"), ended: make(chan struct{})}
	log, err := os.Create(s.log)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the process has it open
	args := append([]string{"server", "--plugin-dir", r.plugins(), "--metrics-address=127.0.0.1:0", "--profiler-address="}, r.access()...)
	s.cmd = exec.CommandContext(ctx, path, append(args, Settings()...)...)
	s.cmd.Stdout, s.cmd.Stderr, s.cmd.Dir, s.cmd.Env = log, log, r.Dir, r.environment()
	// In a namespace of processes of its own, in which its plugins end when it does, however it does.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Cloneflags: syscall.CLONE_NEWPID}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(s.ended)
		_ = s.cmd.Wait() // await says so if it was not to end
	}()
	if _, err := s.await(ctx, c, resource("BackupStorageLocation", location, nil), available); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// startWith starts Velero and returns when it knows of a backup, unless that is nil.
func (r Run) startWith(ctx context.Context, c *kube.Cluster, path string, backup *unstructured.Unstructured) (*process, error) {
	s, err := r.start(ctx, c, path)
	if err != nil || backup == nil {
		return s, err
	}
	s.stop() // it looks for backups when it starts, if it knows the place by then, and next after a minute
	if s, err = r.start(ctx, c, path); err != nil {
		return nil, err
	}
	if _, err := s.await(ctx, c, backup, completed); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (r Run) plugins() string { return filepath.Join(r.Dir, "plugins") }

// access are the arguments that say which cluster it is about.
func (r Run) access() []string {
	return []string{"--kubeconfig", r.Access.Kubeconfig, "--kubecontext", r.Access.Context}
}

// environment keeps everything that Velero writes and remembers in the directory of the run.
func (r Run) environment() []string {
	return append(os.Environ(), "HOME="+r.Dir, "TMPDIR="+r.Dir)
}

// stop ends Velero and returns the processor time that it has used. It may be called again.
func (s *process) stop() time.Duration {
	_ = s.cmd.Process.Kill() // it may have ended
	<-s.ended
	return s.cmd.ProcessState.UserTime() + s.cmd.ProcessState.SystemTime()
}

// lookEvery is how often an object is looked at that is waited for: seldom beside what Velero itself asks the API server.
const lookEvery = 100 * time.Millisecond

// await waits until an object is in a phase, and returns it.
func (s *process) await(ctx context.Context, c *kube.Cluster, obj *unstructured.Unstructured, phase string) (*unstructured.Unstructured, error) {
	var last any = "it was not seen"
	fail := func(err error) error {
		log, _ := os.ReadFile(s.log) // without it there is still the error
		return fmt.Errorf("%s of Velero is not %s: %w; %v\n%s", strings.ToLower(obj.GetKind()), phase, err, last, end(log))
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		found, err := c.Get(ctx, obj)
		if err != nil && !apierror.Unreachable(err) {
			return nil, fail(err)
		}
		if found != nil {
			last = found.Object["status"]
		}
		if done, err := verdict(found, phase); err != nil {
			return nil, fail(err)
		} else if done {
			return found, nil
		}
		select {
		case <-s.ended:
			return nil, fail(fmt.Errorf("the server has ended: %s", s.cmd.ProcessState))
		case <-ctx.Done():
			return nil, fail(ctx.Err())
		case <-tick.C:
		}
	}
}

// end is the last of what a program has said.
func end(out []byte) []byte { return out[max(0, len(out)-2000):] }
