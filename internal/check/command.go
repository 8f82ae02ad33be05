package check

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// The bounds of what is kept of a program's output.
const (
	keptLines = 20
	keptBytes = 8192
)

// commandProbe prepares a program. It runs in a process group of its own, all of which is killed when its time is over.
func commandProbe(c spec.CommandCheck, t Target) (func(context.Context) (string, error), error) {
	if len(c.Args) == 0 {
		return nil, fmt.Errorf("the command is empty")
	}
	args := make([]string, len(c.Args))
	for i, arg := range c.Args {
		expanded, err := expand(arg, t)
		if err != nil {
			return nil, err
		}
		args[i] = expanded
	}
	dir := t.Dir
	if c.Dir != "" {
		if dir = c.Dir; !filepath.IsAbs(dir) {
			dir = filepath.Join(t.Dir, c.Dir)
		}
	}
	return func(ctx context.Context) (string, error) { return runCommand(ctx, args, dir, t) }, nil
}

func runCommand(ctx context.Context, args []string, dir string, t Target) (string, error) {
	environment := append(os.Environ(), "CROSSFADE_ENVIRONMENT="+t.Environment, "CROSSFADE_GENERATION="+t.Generation)
	if t.Access.Kubeconfig != "" {
		file, err := writeKubeconfig(t.Access)
		if err != nil {
			return "", err
		}
		defer os.Remove(file)
		environment = append(environment, "KUBECONFIG="+file)
	}
	output := &tail{}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, environment, output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // a child that left the group may hold the pipe open
	if err := cmd.Start(); err != nil {
		return "", fault.New(fault.Invalid, "cannot run the check's command %s: %w", args[0], err).
			WithHint("install the program, or name it by its path; it runs in %s", dir)
	}
	err := cmd.Wait()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it left behind in its group; nothing when all have ended
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("command %s did not end in time%s", args[0], output.quoted())
	case errors.As(err, &exit):
		return "", fmt.Errorf("command %s ended with %s%s", args[0], exit.ProcessState, output.quoted())
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return "", fmt.Errorf("command %s: %w", args[0], err)
	}
	return fmt.Sprintf("command %s ended with exit status 0", args[0]), nil
}

// writeKubeconfig writes a private file in which the generation's context is the current and only one.
func writeKubeconfig(access cluster.Access) (string, error) {
	rules := &clientcmd.ClientConfigLoadingRules{Precedence: filepath.SplitList(access.Kubeconfig)}
	config, err := rules.Load()
	if err != nil {
		return "", fault.New(fault.Invalid, "cannot read the kubeconfig %s: %w", access.Kubeconfig, err)
	}
	config.CurrentContext = access.Context
	if err := clientcmdapi.MinifyConfig(config); err != nil {
		return "", fault.New(fault.Invalid, "cannot use the context %s: %w", access.Context, err)
	}
	if err := clientcmdapi.FlattenConfig(config); err != nil { // credentials in files become part of it
		return "", fault.New(fault.Invalid, "cannot use the context %s: %w", access.Context, err)
	}
	raw, err := clientcmd.Write(*config)
	if err != nil {
		return "", fmt.Errorf("cannot write a kubeconfig: %w", err)
	}
	file, err := os.CreateTemp("", "crossfade-check-*.kubeconfig") // made with mode 0600
	if err != nil {
		return "", fmt.Errorf("cannot write a kubeconfig: %w", err)
	}
	_, err = file.Write(raw)
	if err := errors.Join(err, file.Close()); err != nil {
		_ = os.Remove(file.Name())
		return "", fmt.Errorf("cannot write a kubeconfig: %w", err)
	}
	return file.Name(), nil
}

// tail keeps the end of what is written to it.
type tail struct {
	lock sync.Mutex
	kept []byte
}

// Write implements io.Writer; it never fails. What came before the last keptBytes bytes is forgotten.
func (t *tail) Write(p []byte) (int, error) {
	t.lock.Lock()
	defer t.lock.Unlock()
	t.kept = append(t.kept, p...)
	if extra := len(t.kept) - keptBytes; extra > 0 {
		t.kept = append(t.kept[:0], t.kept[extra:]...)
	}
	return len(p), nil
}

// quoted is the last lines, in one line, for an error; empty when nothing was written.
func (t *tail) quoted() string {
	t.lock.Lock()
	defer t.lock.Unlock()
	text := strings.TrimSpace(strings.ToValidUTF8(string(t.kept), "?"))
	if text == "" {
		return ""
	}
	lines := strings.Split(text, "\n")
	return ": " + strings.Join(lines[max(0, len(lines)-keptLines):], " | ")
}
