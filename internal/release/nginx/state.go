package nginx

import (
	"context"
	_ "embed"
	"fmt"
	"strings"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/host"
)

// stateScript prints what runs on a node: see parseState.
//
//go:embed state.sh
var stateScript string

// state is what of an nginx runs. The processes of a machine tell when they were started: what started after a file was written has read it.
// (Not a worker that takes the place of one which has crashed before the nginx was told to read the file; reload knows those.)
type state struct {
	boot    string // of the machine
	now     uint64 // in ticks of that boot
	master  bool
	workers []worker
}

type worker struct {
	start   uint64 // in ticks of the boot
	leaving bool   // it accepts no connections any more, and goes on only with those it has
}

// runs reports whether the nginx serves anybody.
func (s state) runs() bool { return s.master && len(s.workers) > 0 }

// observe finds out what runs on a node.
func observe(ctx context.Context, n Node) (state, error) {
	out, err := host.Do(ctx, n.Host, "sh", "-c", stateScript+"\nstate", "sh", n.PIDFile)
	if err != nil {
		return state{}, err
	}
	s, err := parseState(string(out))
	if err != nil {
		return s, fault.New(fault.Failed, "cannot tell what runs on %s: %w", n.Host.Name(), err).WithHint("it must be Linux, with /proc")
	}
	return s, nil
}

// parseState reads lines "boot ID", "now TICK", "master PID" if there is one, "worker PID TICK" and "leaving PID TICK".
func parseState(text string) (state, error) {
	var s state
	for line := range strings.Lines(text) {
		var pid int
		var w worker
		var err error
		switch what, rest, _ := strings.Cut(strings.TrimSpace(line), " "); what {
		case "boot":
			s.boot = rest
		case "now":
			_, err = fmt.Sscan(rest, &s.now)
		case "master":
			s.master = true
		case "worker", "leaving":
			w.leaving = what == "leaving"
			_, err = fmt.Sscan(rest, &pid, &w.start)
			s.workers = append(s.workers, w)
		}
		if err != nil {
			return s, fmt.Errorf("cannot read %q: %w", line, err)
		}
	}
	if s.boot == "" || s.now == 0 {
		return s, fmt.Errorf("neither its boot nor its clock can be read: %q", text)
	}
	return s, nil
}
