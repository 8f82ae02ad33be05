package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/crossfade-dev/crossfade/internal/tools/bench/crowd"
	"github.com/crossfade-dev/crossfade/internal/tools/bench/part"
	"github.com/crossfade-dev/crossfade/internal/tools/bench/velero"
)

// copies is how often a copy is timed that is held against Velero, which is slow enough to be timed once.
const copies = 3

// longestName is the longest name, in bytes, of what Velero can restore: it makes a file of each, with .json after the name, and file
// systems take 255.
const longestName = 250

// How long Velero may take: to start three times, and for each object. A tenth of that is usual.
const (
	startTime = 5 * time.Minute
	eachTime  = 200 * time.Millisecond
)

// rival measures copies of so many objects against Velero's backup and restore of the same.
func rival(size int) func(context.Context) ([]number, error) {
	return func(ctx context.Context) ([]number, error) {
		if err := buildVelero(ctx); err != nil {
			return nil, err
		}
		l, err := newLab(ctx, size, crowd.Of(size).Named(longestName))
		if err != nil {
			return nil, err
		}
		defer l.close()
		var times []float64
		for range copies {
			r, err := l.copyFresh(ctx)
			if err != nil {
				return nil, err
			}
			times = append(times, float64(r.Took))
		}
		theirs, err := l.velero(ctx)
		if err != nil {
			return nil, err
		}
		ours := time.Duration(median(times))
		ratio := float64(theirs) / float64(ours)
		return []number{{
			What: fmt.Sprintf("%d objects copied", size), Ours: show(ours), Theirs: "Velero's backup and restore: " + show(theirs),
			Ratio: ratio, Hold: ">= 10", Holds: ratio >= 10,
		}}, nil
	}
}

// buildVelero builds the bundle, unless that was done before. When ctx ends, so does everything that it runs.
func buildVelero(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "run", "./internal/tools/bundle", "velero")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("cannot build Velero: %w", err)
	}
	return nil
}

// velero has Velero back up the first cluster and restore that into an empty one, and returns the time of both. Whatever is not restored is
// an error: only times of the same objects compare.
func (l *lab) velero(ctx context.Context) (time.Duration, error) {
	const name = "bench"
	ctx, cancel := context.WithTimeout(ctx, startTime+time.Duration(l.size)*eachTime)
	defer cancel()
	dir := func(name string) string { return filepath.Join(l.dir, "velero-"+name) }
	for _, name := range []string{"store", "backup", "restore"} {
		if err := os.Mkdir(dir(name), 0o700); err != nil {
			return 0, err
		}
	}
	say("Velero runs with %s", strings.Join(velero.Settings(), " "))
	backup, err := velero.Run{Access: l.from.Access, Dir: dir("backup"), Store: dir("store")}.Backup(ctx, name, crowd.Labels())
	if err != nil {
		return 0, err
	}
	say("Velero backed them up: %s; processor time %s", show(backup.Took), show(backup.CPU))
	to, err := l.fresh(ctx)
	if err != nil {
		return 0, err
	}
	restore, err := velero.Run{Access: to, Dir: dir("restore"), Store: dir("store")}.Restore(ctx, name)
	if err != nil {
		return 0, err
	}
	count, err := part.Count(ctx, to, crowd.Labels())
	if err == nil && count != l.size {
		err = fmt.Errorf("%d of %d objects were restored by Velero, with %d warnings", count, l.size, restore.Warnings)
	}
	say("Velero restored %d: %s; processor time %s, of the server %s", count, show(restore.Took), show(restore.CPU), show(l.to.CPU()))
	return backup.Took + restore.Took, err
}
