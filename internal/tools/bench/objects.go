package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/crossfade-dev/crossfade/internal/bundle"
	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/kube/apiserver"
	"github.com/crossfade-dev/crossfade/internal/tools/bench/crowd"
	"github.com/crossfade-dev/crossfade/internal/tools/bench/part"
)

// lab is two clusters without nodes: one that is full and stays, and one that is made anew for every measurement.
type lab struct {
	dir  string
	size int
	from *apiserver.Server
	to   *apiserver.Server
	made int
}

// newLab starts the first cluster and fills it with a crowd of a size.
func newLab(ctx context.Context, size int, objects crowd.Crowd) (*lab, error) {
	dir, err := os.MkdirTemp("", "crossfade-bench-")
	if err != nil {
		return nil, err
	}
	l := &lab{dir: dir, size: size}
	if l.from, err = l.server(ctx, "from"); err == nil {
		say("creating %d objects", size)
		err = part.Seed(ctx, l.from.Access, objects)
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *lab) server(ctx context.Context, name string) (*apiserver.Server, error) {
	dir := filepath.Join(l.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	return apiserver.Start(ctx, dir, name)
}

// fresh makes the second cluster anew.
func (l *lab) fresh(ctx context.Context) (cluster.Access, error) {
	if l.to != nil {
		l.to.Stop()
		if err := os.RemoveAll(filepath.Join(l.dir, l.to.Access.Context)); err != nil {
			return cluster.Access{}, err
		}
	}
	l.made++
	var err error
	if l.to, err = l.server(ctx, fmt.Sprintf("to-%d", l.made)); err != nil {
		return cluster.Access{}, err
	}
	return l.to.Access, nil
}

func (l *lab) close() {
	for _, s := range []*apiserver.Server{l.from, l.to} {
		if s != nil {
			s.Stop()
		}
	}
	_ = os.RemoveAll(l.dir)
}

// run does a task, and says what processor time it took whom: on a machine that others use, too, it tells more than the clock.
func (l *lab) run(ctx context.Context, t part.Task) (r part.Result, spent string, err error) {
	from, to := l.from.CPU(), l.to.CPU()
	r, err = part.Run(ctx, t)
	return r, fmt.Sprintf("processor time %s, of the servers %s and %s", show(r.CPU), show(l.from.CPU()-from), show(l.to.CPU()-to)), err
}

// copy copies the first cluster into the second in a process of its own.
func (l *lab) copy(ctx context.Context) (part.Result, error) {
	r, spent, err := l.run(ctx, part.Task{Do: "copy", From: l.from.Access, To: l.to.Access})
	say("copied %d, %d were there: %s; %s; %d MiB", r.Written, r.There, show(r.Took), spent, r.PeakRSS>>20)
	return r, err
}

// copyFresh copies into an empty cluster. Whatever is not copied is an error: nothing else may make it fast.
func (l *lab) copyFresh(ctx context.Context) (part.Result, error) {
	if _, err := l.fresh(ctx); err != nil {
		return part.Result{}, err
	}
	r, err := l.copy(ctx)
	if err == nil && r.Written != l.size {
		err = fmt.Errorf("%d of %d objects were copied", r.Written, l.size)
	}
	return r, err
}

// write writes the objects of a dump into an empty cluster.
func (l *lab) write(ctx context.Context, dump string, width int) (part.Result, error) {
	to, err := l.fresh(ctx)
	if err != nil {
		return part.Result{}, err
	}
	r, spent, err := l.run(ctx, part.Task{Do: "write", To: to, Dump: dump, Width: width})
	say("wrote %d straight, %d at once: %s; %s", r.Written, width, show(r.Took), spent)
	return r, err
}

// dump keeps the objects that the copy has made.
func (l *lab) dump(ctx context.Context) (string, error) {
	dir := filepath.Join(l.dir, "dump")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	count, err := part.Dump(ctx, l.to.Access, dir)
	if err == nil && count != l.size {
		err = fmt.Errorf("%d of %d objects are in the other cluster after the copy", count, l.size)
	}
	return dir, err
}

// kubectl applies a dump to an empty cluster.
func (l *lab) kubectl(ctx context.Context, dump string) (time.Duration, error) {
	program, err := bundle.Program("kubectl")
	if err != nil {
		return 0, err
	}
	to, err := l.fresh(ctx)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	for _, name := range part.Files {
		cmd := exec.CommandContext(ctx, program, "--kubeconfig", to.Kubeconfig, "--context", to.Context,
			"apply", "--server-side", "-f", filepath.Join(dump, name))
		if out, err := cmd.CombinedOutput(); err != nil {
			return 0, fmt.Errorf("kubectl apply: %w: %s", err, out[max(0, len(out)-500):])
		}
	}
	took := time.Since(start)
	say("kubectl applied them: %s", show(took))
	return took, nil
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "  "+format+"\n", args...) }
