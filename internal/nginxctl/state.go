package nginxctl

import (
	"context"
	_ "embed"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/host"
)

// stateScript prints what runs on a node: see parseState.
//
//go:embed state.sh
var stateScript string

// State is what of an nginx runs. The processes of a machine tell when they were started: what started after a file was written has read it.
// (Not a worker that takes the place of one which has crashed before the nginx was told to read the file; reload knows those.)
type State struct {
	Boot    string // of the machine
	Now     uint64 // in ticks of that boot
	Master  bool
	Workers []Worker
}

// Worker is a process that serves.
type Worker struct {
	Start   uint64 // in ticks of the boot
	Leaving bool   // it accepts no connections any more, and goes on only with those it has
}

// Runs reports whether the nginx serves anybody.
func (s State) Runs() bool { return s.Master && len(s.Workers) > 0 }

// never is a tick after that of all processes: none has read what was written at it.
const never = math.MaxUint64

// Read reports whether the nginx has read a file that was written at a tick of a boot: all workers that accept connections were started after it.
func (s State) Read(boot string, tick uint64) bool {
	return boot != s.Boot || !slices.ContainsFunc(s.Workers, func(w Worker) bool { return !w.Leaving && w.Start <= tick })
}

// Touched reports whether some of the nginx, as it is now, may have read what was written at a tick of a boot.
func (s State) Touched(boot string, tick uint64) bool {
	return boot != s.Boot || slices.ContainsFunc(s.Workers, func(w Worker) bool { return w.Start > tick })
}

// State finds out what runs on a node.
func (n Node) State(ctx context.Context) (State, error) {
	out, err := host.Do(ctx, n.Host, "sh", "-c", stateScript+"\nstate", "sh", n.PIDFile)
	if err != nil {
		return State{}, err
	}
	s, err := parseState(string(out))
	if err != nil {
		return s, fault.New(fault.Failed, "cannot tell what runs on %s: %w", n.Host.Name(), err).WithHint("it must be Linux, with /proc")
	}
	return s, nil
}

// Write writes a file that tells of which boot and tick it is, such that Read holds for no worker from before. now is what runs. It is written twice,
// with a tick that is over only once the file is there: nginx may be reloaded, by others, at any time until then.
func (n Node) Write(ctx context.Context, now State, path string, render func(boot string, tick uint64) []byte) error {
	if err := n.Host.Write(ctx, path, render(now.Boot, never)); err != nil {
		return err
	}
	now, err := n.State(ctx)
	if err != nil {
		return err
	}
	return n.Host.Write(ctx, path, render(now.Boot, now.Now))
}

// parseState reads lines "boot ID", "now TICK", "master PID" if there is one, "worker PID TICK" and "leaving PID TICK".
func parseState(text string) (State, error) {
	var s State
	for line := range strings.Lines(text) {
		var pid int
		var w Worker
		var err error
		switch what, rest, _ := strings.Cut(strings.TrimSpace(line), " "); what {
		case "boot":
			s.Boot = rest
		case "now":
			_, err = fmt.Sscan(rest, &s.Now)
		case "master":
			s.Master = true
		case "worker", "leaving":
			w.Leaving = what == "leaving"
			_, err = fmt.Sscan(rest, &pid, &w.Start)
			s.Workers = append(s.Workers, w)
		}
		if err != nil {
			return s, fmt.Errorf("cannot read %q: %w", line, err)
		}
	}
	if s.Boot == "" || s.Now == 0 {
		return s, fmt.Errorf("neither its boot nor its clock can be read: %q", text)
	}
	return s, nil
}
