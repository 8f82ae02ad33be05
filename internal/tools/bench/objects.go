package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/crossfade-dev/crossfade/internal/bundle"
	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/kube/apiserver"
	"github.com/crossfade-dev/crossfade/internal/tools/bench/crowd"
	"github.com/crossfade-dev/crossfade/internal/tools/bench/part"
)

// widths are how many writes at once are tried when objects are written straight; the best counts.
var widths = []int{8, 16, 32, 64}

// pairs is how often a copy and straight writes are timed in turn.
const pairs = 3

// lab is two clusters without nodes: one that is full and stays, and one that is made anew for every measurement.
type lab struct {
	dir  string
	size int
	from *apiserver.Server
	to   *apiserver.Server
	made int
}

// newLab starts the first cluster and fills it.
func newLab(ctx context.Context, size int) (*lab, error) {
	dir, err := os.MkdirTemp("", "crossfade-bench-")
	if err != nil {
		return nil, err
	}
	l := &lab{dir: dir, size: size}
	if l.from, err = l.server(ctx, "from"); err == nil {
		say("creating %d objects", size)
		err = part.Seed(ctx, l.from.Access, crowd.Of(size))
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

// copy copies the first cluster into the second in a process of its own.
func (l *lab) copy(ctx context.Context) (part.Result, error) {
	a, b := l.from.CPU(), l.to.CPU()
	defer func() { say("servers: %s, %s", l.from.CPU()-a, l.to.CPU()-b) }()
	r, err := part.Run(ctx, part.Task{Do: "copy", From: l.from.Access, To: l.to.Access, Profile: profile()})
	say("copied %d, %d were there: %s, %s of processor time, %d MiB", r.Written, r.There, show(r.Took), show(r.CPU), r.PeakRSS>>20)
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
	a, b := l.from.CPU(), l.to.CPU()
	defer func() { say("servers: %s, %s", l.from.CPU()-a, l.to.CPU()-b) }()
	r, err := part.Run(ctx, part.Task{Do: "write", To: to, Dump: dump, Width: width})
	say("wrote %d straight, %d at once: %s, %s of processor time", r.Written, width, show(r.Took), show(r.CPU))
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

func profile() string { return os.Getenv("CROSSFADE_BENCH_PROFILE") }

// copying measures what a copy takes.
func copying(ctx context.Context) ([]number, error) {
	size := 10000
	l, err := newLab(ctx, size)
	if err != nil {
		return nil, err
	}
	defer l.close()
	first, err := l.copyFresh(ctx)
	if err != nil {
		return nil, err
	}
	second, err := l.copy(ctx)
	if err != nil {
		return nil, err
	}
	dump, err := l.dump(ctx)
	if err != nil {
		return nil, err
	}
	_, _ = first, second
	best, err := l.best(ctx, dump)
	if err != nil {
		return nil, err
	}
	var ratios []float64
	for range pairs {
		ours, err := l.copyFresh(ctx)
		if err != nil {
			return nil, err
		}
		straight, err := l.write(ctx, dump, best)
		if err != nil {
			return nil, err
		}
		ratios = append(ratios, float64(straight.Took)/float64(ours.Took))
	}
	slices.Sort(ratios)
	say("%v", ratios)
	if false {
}
	if _, err := l.kubectl(ctx, dump); err != nil {
		return nil, err
	}
	return nil, nil
}

// best finds out how many straight writes at once are the fastest.
func (l *lab) best(ctx context.Context, dump string) (int, error) {
	var best int
	var least time.Duration
	for _, width := range widths {
		r, err := l.write(ctx, dump, width)
		if err != nil {
			return 0, err
		}
		if best == 0 || r.Took < least {
			best, least = width, r.Took
		}
	}
	return best, nil
}
