package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

const program = "bin/crossfade"

// versionRuns is how often the start of the program is timed; the median counts.
const versionRuns = 21

// version times crossfade version against the start of a program that does nothing.
func version(ctx context.Context) ([]number, error) {
	ours, err := medianTime(ctx, program, "version")
	if err != nil {
		return nil, err
	}
	theirs, err := medianTime(ctx, "/bin/true")
	if err != nil {
		return nil, err
	}
	return []number{{
		What: "crossfade version", Ours: show(ours), Theirs: "/bin/true: " + show(theirs), Ratio: float64(ours) / float64(theirs),
		Hold: "<= 100ms", Holds: ours <= 100*time.Millisecond,
	}}, nil
}

// medianTime runs a program some times and returns the median of its wall-clock time.
func medianTime(ctx context.Context, args ...string) (time.Duration, error) {
	var times []time.Duration
	for range versionRuns {
		start := time.Now()
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			return 0, fmt.Errorf("%v: %w: %s", args, err, out)
		}
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}

// size looks at the size of the program.
func size(context.Context) ([]number, error) {
	info, err := os.Stat(program)
	if err != nil {
		return nil, err
	}
	const limit = 100 << 20
	return []number{{
		What: "size of the program", Ours: fmt.Sprintf("%.1f MiB", float64(info.Size())/(1<<20)), Theirs: "100 MiB",
		Ratio: float64(info.Size()) / limit, Hold: "< 1", Holds: info.Size() < limit,
	}}, nil
}

// coldBuild builds everything into empty caches and counts the processor time of the build and all its children. Modules are
// not downloaded anew: that is the network's time.
func coldBuild(ctx context.Context) ([]number, error) {
	dir, err := os.MkdirTemp("", "crossfade-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.CommandContext(ctx, "make", "build")
	cmd.Env = append(os.Environ(), "GOCACHE="+filepath.Join(dir, "go"), "XDG_CACHE_HOME="+filepath.Join(dir, "cache"))
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return nil, fmt.Errorf("this system does not count processor time")
	}
	spent := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	const limit = 50 * time.Minute
	// The links in bin/ point into the cache that goes away now: point them back.
	if out, err := exec.CommandContext(ctx, "make", "build").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("cannot build with the usual caches again: %w: %s", err, out)
	}
	return []number{{
		What: "processor time of a cold build", Ours: spent.Round(time.Second).String(), Theirs: limit.String(),
		Ratio: float64(spent) / float64(limit), Hold: "<= 1", Holds: spent <= limit,
	}}, nil
}

func show(d time.Duration) string { return d.Round(100 * time.Microsecond).String() }
