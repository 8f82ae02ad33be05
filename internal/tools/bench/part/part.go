// Package part is what the benches run in processes of their own, so that their memory and processor time can be told apart: the
// program calls itself with a task, and the process prints its result.
package part

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/objects"
)

// Argument is the first argument of a process that does a part; the second is its Task in JSON.
const Argument = "part"

// Task is what a process does.
type Task struct {
	Do      string         `json:"do"` // copy, write, follow
	From    cluster.Access `json:"from,omitzero"`
	To      cluster.Access `json:"to"`
	Dump    string         `json:"dump,omitempty"`    // directory of the objects to write
	Width   int            `json:"width,omitempty"`   // writes at once
	Profile string         `json:"profile,omitempty"` // file for a profile of the processor
}

// Result is what a process has done.
type Result struct {
	Written int           `json:"written"`
	There   int           `json:"there"` // already
	Took    time.Duration `json:"took"`  // without the start of the process
	CPU     time.Duration `json:"cpu"`
	PeakRSS int64         `json:"peakRSS"` // in bytes
}

// Run does a task in a process of its own and returns what came of it.
func Run(ctx context.Context, t Task) (Result, error) {
	var r Result
	cmd, err := Command(ctx, t)
	if err != nil {
		return r, err
	}
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		return r, fmt.Errorf("cannot %s: %w", t.Do, err)
	}
	return r, json.Unmarshal(out.Bytes(), &r)
}

// Command prepares a process that does a task.
func Command(ctx context.Context, t Task) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, Argument, string(raw))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd, nil
}

// Main does the task that a process was started for and prints its result.
func Main(ctx context.Context, text string, stdin io.Reader, stdout io.Writer) error {
	var t Task
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return err
	}
	if t.Profile != "" {
		file, err := os.Create(t.Profile)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	var r Result
	var err error
	switch t.Do {
	case "copy":
		r, err = copyAll(ctx, t)
	case "write":
		r, err = write(ctx, t)
	case "follow":
		return follow(ctx, t, stdin, stdout)
	default:
		err = fmt.Errorf("there is no part %q", t.Do)
	}
	if err != nil {
		return err
	}
	if r.CPU, r.PeakRSS, err = usage(); err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(r)
}

// copyAll copies everything, as crossfade copy does.
func copyAll(ctx context.Context, t Task) (Result, error) {
	from, err := kube.Connect(t.From)
	if err != nil {
		return Result{}, err
	}
	to, err := kube.Connect(t.To)
	if err != nil {
		return Result{}, err
	}
	start := time.Now()
	report, err := objects.Copy(ctx, from, to, options())
	if err == nil {
		err = report.Err()
	}
	return Result{Written: report.Copied(), There: report.Unchanged, Took: time.Since(start)}, err
}

func options() objects.Options {
	return objects.Options{Patience: time.Minute, Progress: func(string, ...any) {}}
}

// usage is the processor time that this process has used, and the most memory that it has had. The system's own count of the latter
// begins before the program does, with what its parent had.
func usage() (cpu time.Duration, peak int64, err error) {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0, 0, err
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0, err
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	if _, err := fmt.Sscan(after, &peak); err != nil {
		return 0, 0, err
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()), peak << 10, nil
}
