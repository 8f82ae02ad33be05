package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"time"

	"k8s.io/client-go/dynamic"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/tools/bench/lag"
	"github.com/crossfade-dev/crossfade/internal/tools/bench/part"
)

// changes is what a following has to keep up with.
var changes = lag.Load{PerSecond: 50, For: time.Minute}

// following measures how far the second cluster is behind the first while that changes, and whether what the product tells of it is true.
func (l *lab) following(ctx context.Context, _ string) ([]number, error) {
	if _, err := l.copyFresh(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd, err := part.Command(ctx, part.Task{Do: "follow", From: l.from.Access, To: l.to.Access})
	if err != nil {
		return nil, err
	}
	f, err := startFollowing(cmd)
	if err != nil {
		return nil, err
	}
	times, err := l.change(ctx)
	if err != nil {
		return nil, err
	}
	told, err := f.stop()
	if err != nil {
		return nil, err
	}
	p99, most := lag.Quantile(times, 0.99), lag.Quantile(times, 1)
	say("%d changes took %s (median), %s (p99), %s (most); told: %s (most)", len(times), show(lag.Quantile(times, 0.5)), show(p99), show(most), show(told))
	ratio := float64(told) / float64(most)
	return []number{
		{
			What: "change in A to change in B, p99", Ours: show(p99), Theirs: fmt.Sprintf("%d changes/s for %s", changes.PerSecond, changes.For),
			Ratio: p99.Seconds(), Hold: "<= 1s", Holds: p99 <= time.Second,
		},
		{
			What: "the longest, as Crossfade tells it", Ours: show(told), Theirs: "measured: " + show(most),
			Ratio: ratio, Hold: "0.5 to 2", Holds: ratio >= 0.5 && ratio <= 2,
		},
	}, nil
}

// change makes the changes and watches for them.
func (l *lab) change(ctx context.Context) ([]time.Duration, error) {
	var clients [2]dynamic.Interface
	for i, access := range []cluster.Access{l.from.Access, l.to.Access} {
		config, err := part.Config(access)
		if err != nil {
			return nil, err
		}
		if clients[i], err = dynamic.NewForConfig(config); err != nil {
			return nil, err
		}
	}
	return lag.Measure(ctx, clients[0], clients[1], changes)
}

// follower is a process that follows.
type follower struct {
	cmd  *exec.Cmd
	end  func() error
	told chan part.Told // closed at its end
}

// startFollowing starts a process that follows and waits until it has copied everything.
func startFollowing(cmd *exec.Cmd) (*follower, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	f := &follower{cmd: cmd, end: in.Close, told: make(chan part.Told, 1000)} // a second each
	go func() {
		defer close(f.told)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var told part.Told
			if json.Unmarshal(lines.Bytes(), &told) == nil {
				f.told <- told
			}
		}
	}()
	if first := <-f.told; !first.Synced {
		return nil, fmt.Errorf("cannot follow: %w", cmd.Wait())
	}
	return f, nil
}

// stop ends the following and returns the longest lag that it has told of.
func (f *follower) stop() (longest time.Duration, err error) {
	if err := f.end(); err != nil {
		return 0, err
	}
	for told := range f.told {
		if told.Lag != nil {
			longest = max(longest, told.Lag.Max)
		}
	}
	return longest, f.cmd.Wait()
}
