// Package nginxctl steers the nginx of machines, whatever its files are for: it has nginx test its configuration and read it, and tells
// what of it runs. The machines are Linux, with bash and util-linux.
package nginxctl

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/host"
)

// Node is one machine with an nginx.
type Node struct {
	Host    host.Host
	Command []string // nginx, with what goes before its own options; for example sudo nginx
	PIDFile string   // of its master process
	Dir     string   // a directory of which its configuration includes *.conf in http
}

// Config has the nginx test its configuration, and returns all files of it, as -T prints them.
func (n Node) Config(ctx context.Context) ([]byte, error) {
	r, err := n.Host.Run(ctx, n.Command[0], append(slices.Clone(n.Command[1:]), "-T")...)
	if err != nil {
		return nil, err
	}
	if r.Status != 0 {
		return nil, fault.New(fault.Failed, "nginx on %s finds its configuration wrong: %s", n.Host.Name(), host.Result{Stderr: r.Stderr}.Says()).
			WithHint("mend it; %s -t on %s says whether it is right", strings.Join(n.Command, " "), n.Host.Name())
	}
	return r.Stdout, nil
}

// Test has the nginx test its configuration, which must include a file.
func (n Node) Test(ctx context.Context, file string) error {
	config, err := n.Config(ctx)
	if err != nil {
		return err
	}
	if !bytes.Contains(config, []byte("# configuration file "+file+":\n")) {
		return fault.New(fault.Failed, "nginx on %s does not read %s", n.Host.Name(), file).WithHint("have http in its configuration include %s/*.conf", n.Dir)
	}
	return nil
}

// reloadScript follows stateScript.
//
//go:embed reload.sh
var reloadScript string

// How reloadScript and flock end.
const (
	locked    = 75 // another reload went on all the time
	unchanged = 76 // the workers are the same as before
)

// errUnchanged is final: nginx has tried for a while by then, and the longer users are led to both versions, the worse.
var errUnchanged = errors.New("goes on with its former configuration")

// patience is how long an nginx that was told to reload may take, at most.
const patience = 10 * time.Second

// Reload has the nginx read its files, and returns when only workers that have done so accept connections; within a limit. Nobody else of us does
// that at the same time there: workers that come then might have read what was there before.
func (n Node) Reload(ctx context.Context, limit time.Duration) error {
	return n.ReloadAfter(ctx, limit, "")
}

// ReloadAfter is Reload after the commands of a shell, which find the variables of an environment, each NAME=VALUE. They may take half of the limit.
func (n Node) ReloadAfter(ctx context.Context, limit time.Duration, script string, env ...string) error {
	seconds := func(d time.Duration) string { return strconv.Itoa(max(1, int(d.Seconds()))) }
	args := append([]string{"-w", seconds(limit / 2), "-E", strconv.Itoa(locked), n.Dir, "env"}, env...)
	args = append(args, "sh", "-c", stateScript+script+reloadScript, "sh", n.PIDFile, seconds(min(limit/3, patience)))
	r, err := n.Host.Run(ctx, "flock", append(args, n.Command...)...)
	name := n.Host.Name()
	switch {
	case err != nil:
		return err
	case r.Status == 0:
		return nil
	case r.Status == locked:
		return fault.New(fault.Unavailable, "nginx on %s is told to reload by somebody else all the time", name).WithHint("see what else of crossfade runs, and whether it hangs")
	case r.Status == unchanged:
		return fault.New(fault.Failed, "nginx on %s was told to reload and %w: %s", name, errUnchanged, cmp.Or(n.complaint(ctx), "it does not say why")).
			WithHint("see the error log of nginx on %s", name)
	default:
		return fault.New(fault.Failed, "nginx on %s cannot be told to reload: %s", name, r.Says()).WithHint("see whether %s -s reload works there", strings.Join(n.Command, " "))
	}
}

var errorLog = regexp.MustCompile(`(?m)^\s*error_log\s+(/[^\s;]+)`)

// complaint is the last thing that an nginx wrote into its error log as a reason not to go on; "" when there is none.
func (n Node) complaint(ctx context.Context) string {
	config, err := n.Config(ctx)
	found := errorLog.FindSubmatch(config)
	if err != nil || found == nil {
		return ""
	}
	log, err := host.Do(ctx, n.Host, "tail", "-n", "50", string(found[1]))
	if err != nil {
		return ""
	}
	last := ""
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, "[emerg]") {
			last = strings.TrimSpace(line)
		}
	}
	return last
}

const (
	together = 20 // nodes at a time
	tries    = 3  // of anything on a node
)

// Crew works on several nodes.
type Crew struct {
	Progress func(format string, args ...any) // told what is tried again, for people
	Bound    time.Duration                    // on one try of anything on one node
	Pause    time.Duration                    // before the second try
}

// Each does something on every one of so many nodes, several at a time, and tries again what fails there. It returns what has failed on each.
func (c Crew) Each(ctx context.Context, nodes int, do func(ctx context.Context, i int) error) error {
	failed := make([]error, nodes)
	var group errgroup.Group
	group.SetLimit(together)
	for i := range nodes {
		group.Go(func() error {
			failed[i] = c.insist(ctx, func(ctx context.Context) error { return do(ctx, i) })
			return nil
		})
	}
	_ = group.Wait() // it has none
	return errors.Join(failed...)
}

// insist tries something several times, each time within a bound.
func (c Crew) insist(ctx context.Context, do func(context.Context) error) error {
	pause := c.Pause
	for try := 1; ; try++ {
		bounded, cancel := context.WithTimeout(ctx, c.Bound)
		err := do(bounded)
		waited := bounded.Err() != nil && !fault.Retryable(err) // all the time for something to come about
		cancel()
		if err == nil || ctx.Err() != nil || try == tries || waited || fault.CodeOf(err) == fault.Refused || errors.Is(err, errUnchanged) {
			return err
		}
		c.Progress("trying again: %v", err)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
			pause *= 2
		}
	}
}
