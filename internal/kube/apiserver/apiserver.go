// Package apiserver runs real Kubernetes API servers: etcd and kube-apiserver from the lab bundle on loopback, without nodes and
// controllers. That is enough for everything that reads and writes objects. It is for tests, which use it by package kubetest, and for
// measurements; the product does not import it.
package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/bundle"
	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/kube"
)

// startTimeout is how long an API server may take until it is ready on a busy machine.
const startTimeout = 90 * time.Second

// Server is a running API server with its etcd.
type Server struct {
	Access    cluster.Access // as a member of system:masters
	dir       string
	arguments []string // of kube-apiserver

	etcd, api, controllers *exec.Cmd
}

// Start starts an API server that keeps everything in a directory, with a kubeconfig there whose one context has the given name. It
// returns when the server answers. The caller stops it; it also ends with the calling process.
func Start(ctx context.Context, dir, name string) (*Server, error) {
	s := &Server{dir: dir, Access: cluster.Access{Kubeconfig: filepath.Join(dir, "kubeconfig"), Context: name}}
	if err := s.begin(ctx, name); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

func (s *Server) begin(ctx context.Context, name string) error {
	addresses, err := freeAddresses(3)
	if err != nil {
		return err
	}
	api, store := addresses[0], "http://"+addresses[1]
	token, err := s.secrets()
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(api)
	if err != nil {
		return err
	}
	key := s.file(keyFile)
	s.arguments = []string{
		"--etcd-servers", store, "--bind-address", "127.0.0.1", "--secure-port", port, "--cert-dir", s.file("certs"),
		"--token-auth-file", s.file(tokenFile), "--authorization-mode", "RBAC", "--service-cluster-ip-range", "10.96.0.0/16",
		"--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", key,
		"--service-account-signing-key-file", key,
	}
	if err := os.WriteFile(s.Access.Kubeconfig, fmt.Appendf(nil, kubeconfig, name, api, token), 0o600); err != nil {
		return err
	}
	s.etcd, err = s.run("etcd", "--name", name, "--data-dir", s.file("etcd"), "--unsafe-no-fsync",
		"--listen-client-urls", store, "--advertise-client-urls", store, "--listen-peer-urls", "http://"+addresses[2])
	if err != nil {
		return err
	}
	return s.serve(ctx)
}

const kubeconfig = `apiVersion: v1
kind: Config
current-context: %[1]s
contexts: [{name: %[1]s, context: {cluster: %[1]s, user: %[1]s}}]
clusters: [{name: %[1]s, cluster: {server: "https://%[2]s", insecure-skip-tls-verify: true}}]
users: [{name: %[1]s, user: {token: %[3]s}}]
`

// serve starts the API server and waits until it answers and has made its own objects.
func (s *Server) serve(ctx context.Context) error {
	var err error
	if s.api, err = s.run("kube-apiserver", s.arguments...); err != nil {
		return err
	}
	return s.await(ctx, "kube-apiserver", func(ctx context.Context, c *kube.Cluster) error { return c.Healthy(ctx) })
}

// Manage starts the controllers of Kubernetes beside the API server: the kube-controller-manager as it is. It returns when they make
// what every namespace gets. There are still no nodes, so that no pod ever runs.
func (s *Server) Manage(ctx context.Context) error {
	const name = "kube-controller-manager"
	var err error
	if s.controllers, err = s.run(name, "--kubeconfig", s.Access.Kubeconfig, "--leader-elect=false", "--secure-port=0",
		"--service-account-private-key-file", s.file(keyFile), "--root-ca-file", filepath.Join(s.file("certs"), "apiserver.crt"),
		"--kube-api-qps=200", "--kube-api-burst=400"); err != nil {
		return err
	}
	return s.await(ctx, name, func(ctx context.Context, c *kube.Cluster) error {
		account, err := c.Find(ctx, schema.GroupKind{Kind: "ServiceAccount"}, "default", "default")
		if err == nil && account == nil {
			err = errors.New("there is no default ServiceAccount")
		}
		return err
	})
}

// await waits until a program does its work.
func (s *Server) await(ctx context.Context, program string, works func(context.Context, *kube.Cluster) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	c, err := kube.Connect(s.Access)
	if err != nil {
		return err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := works(ctx, c)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			log, _ := os.ReadFile(s.file(program + ".log"))
			return fmt.Errorf("%s is not ready after %s: %w\n%s", program, startTimeout, err, log[max(0, len(log)-4000):])
		case <-tick.C:
		}
	}
}

// Restart kills the API server and starts it again on what is in etcd. It returns when the server answers.
func (s *Server) Restart(ctx context.Context) error {
	end(s.api)
	return s.serve(ctx)
}

// Signal sends a signal to the API server: stopped by SIGSTOP it accepts connections and answers nothing.
func (s *Server) Signal(signal os.Signal) error { return s.api.Process.Signal(signal) }

// CPU is the processor time that the API server and its etcd have used so far.
func (s *Server) CPU() time.Duration {
	var all time.Duration
	for _, cmd := range []*exec.Cmd{s.api, s.etcd} {
		all += used(cmd.Process.Pid)
	}
	return all
}

// used reads the processor time of a process (proc_pid_stat(5), fields 14 and 15, in hundredths of a second); 0 when it is gone.
func used(pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, fields, _ := strings.Cut(string(stat), ") ") // the name before may have spaces
	var user, system int64
	list := strings.Fields(fields)
	if len(list) < 13 {
		return 0
	}
	_, _ = fmt.Sscan(list[11], &user)
	_, _ = fmt.Sscan(list[12], &system)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// Stop ends all programs. It may be called again.
func (s *Server) Stop() {
	end(s.controllers)
	end(s.api)
	end(s.etcd)
}

// run starts a program in the background, which is killed when this one is.
func (s *Server) run(name string, args ...string) (*exec.Cmd, error) {
	program, err := bundle.Program(name)
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(s.file(name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the program has it open
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return cmd, nil
}

// end kills a program, also one that is stopped, and waits until it is gone.
func end(cmd *exec.Cmd) {
	if cmd != nil && cmd.ProcessState == nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}
}

func (s *Server) file(name string) string { return filepath.Join(s.dir, name) }
