// Package apiserver runs real Kubernetes API servers: etcd and kube-apiserver from the lab bundle on loopback, without nodes, and
// without controllers unless they are asked for. That is enough for everything that reads and writes objects. It is for tests, which use it by package kubetest, and for
// measurements; the product does not import it.
package apiserver

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/crossfade-dev/crossfade/internal/bundle"
	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/kube"
)

// startTimeout is how long an API server may take until it is ready on a busy machine.
const startTimeout = 90 * time.Second

// The programs of a Server.
const (
	API         = "kube-apiserver"
	Store       = "etcd"
	Controllers = "kube-controller-manager" // runs only once it was revived
)

// Server is a running API server with its etcd.
type Server struct {
	Access    cluster.Access // as a member of system:masters
	StoreURL  string         // of etcd
	dir       string
	arguments map[string][]string // of each program
	running   map[string]*exec.Cmd
}

// Start starts an API server that keeps everything in a directory, with a kubeconfig there whose one context has the given name. It
// returns when the server answers. The caller stops it; it also ends with the calling process.
func Start(ctx context.Context, dir, name string) (*Server, error) {
	s := &Server{dir: dir, Access: cluster.Access{Kubeconfig: filepath.Join(dir, "kubeconfig"), Context: name}, running: map[string]*exec.Cmd{}}
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
	api := addresses[0]
	s.StoreURL = "http://" + addresses[1]
	token, err := s.secrets()
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(api)
	if err != nil {
		return err
	}
	key := s.file(keyFile)
	s.arguments = map[string][]string{API: {
		"--etcd-servers", s.StoreURL, "--bind-address", "127.0.0.1", "--secure-port", port, "--cert-dir", s.file("certs"),
		"--token-auth-file", s.file(tokenFile), "--authorization-mode", "RBAC", "--service-cluster-ip-range", "10.96.0.0/16",
		"--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", key,
		"--service-account-signing-key-file", key,
	}, Store: {
		"--name", name, "--data-dir", s.file("etcd"), "--unsafe-no-fsync",
		"--listen-client-urls", s.StoreURL, "--advertise-client-urls", s.StoreURL, "--listen-peer-urls", "http://" + addresses[2],
	}, Controllers: {
		"--kubeconfig", s.Access.Kubeconfig, "--leader-elect=false", "--secure-port=0", "--kube-api-qps=200", "--kube-api-burst=400",
		"--service-account-private-key-file", key, "--root-ca-file", s.file(filepath.Join("certs", "apiserver.crt")),
	}}
	if err := os.WriteFile(s.Access.Kubeconfig, fmt.Appendf(nil, kubeconfig, name, api, token), 0o600); err != nil {
		return err
	}
	if err := s.run(Store); err != nil {
		return err
	}
	if err := s.run(API); err != nil {
		return err
	}
	return s.await(ctx)
}

const kubeconfig = `apiVersion: v1
kind: Config
current-context: %[1]s
contexts: [{name: %[1]s, context: {cluster: %[1]s, user: %[1]s}}]
clusters: [{name: %[1]s, cluster: {server: "https://%[2]s", insecure-skip-tls-verify: true}}]
users: [{name: %[1]s, user: {token: %[3]s}}]
`

// await waits until the API server answers and has made its own objects.
func (s *Server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	c, err := kube.Connect(s.Access)
	if err != nil {
		return err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.storeAnswers(ctx)
		if err == nil {
			err = c.Healthy(ctx)
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the API server is not ready after %s: %w\n%s", startTimeout, err, s.Log(API))
		case <-tick.C:
		}
	}
}

// storeAnswers asks etcd whether it serves: the API server remembers for a while that it did.
func (s *Server) storeAnswers(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.StoreURL+"/health", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// Restart kills the API server and starts it again on what is in etcd. It returns when the server answers.
func (s *Server) Restart(ctx context.Context) error {
	s.Kill(API)
	return s.Revive(ctx, API)
}

// Kill ends a program at once, as a machine that loses power does. Without its etcd the API server stays, and can do nothing.
func (s *Server) Kill(program string) { end(s.running[program]) }

// Revive starts a program again that was killed or has ended, with more arguments. It returns when the server answers.
func (s *Server) Revive(ctx context.Context, program string, arguments ...string) error {
	s.Kill(program)
	if err := s.run(program, arguments...); err != nil {
		return err
	}
	return s.await(ctx)
}

// Log is the end of what a program has logged.
func (s *Server) Log(program string) string {
	log, _ := os.ReadFile(s.file(program + ".log")) // one that never ran has logged nothing
	return string(log[max(0, len(log)-4000):])
}

// Signal sends a signal to the API server: stopped by SIGSTOP it accepts connections and answers nothing.
func (s *Server) Signal(signal os.Signal) error { return s.running[API].Process.Signal(signal) }

// CPU is the processor time that the API server and its etcd have used so far.
func (s *Server) CPU() time.Duration {
	var all time.Duration
	for _, program := range []string{API, Store} {
		if cmd := s.running[program]; cmd != nil {
			all += used(cmd.Process.Pid)
		}
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
	for _, program := range []string{Controllers, API, Store} {
		s.Kill(program)
	}
}

// run starts a program in the background, which is killed when this one is.
func (s *Server) run(name string, more ...string) error {
	program, err := bundle.Program(name)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(s.file(name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the program has it open
	cmd := exec.Command(program, slices.Concat(s.arguments[name], more)...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.running[name] = cmd
	return nil
}

// end kills a program, also one that is stopped, and waits until it is gone.
func end(cmd *exec.Cmd) {
	if cmd != nil && cmd.ProcessState == nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}
}

func (s *Server) file(name string) string { return filepath.Join(s.dir, name) }
