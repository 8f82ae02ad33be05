package nginx

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"errors"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/host"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
)

const (
	together = 20 // nodes at a time
	tries    = 3  // of anything on a node
)

// sight is what was seen of a node.
type sight struct {
	content []byte // of the file; nil when there is none
	file    file
	state   state
	written uint64 // the tick at which we have written the file since; 0 while we have not
	told    bool   // we have told the nginx to read it
}

// touched reports whether some of the nginx, as it is now, may have read what we have written.
func (s sight) touched(now state) bool {
	return now.boot != s.state.boot || slices.ContainsFunc(now.workers, func(w worker) bool { return w.start > s.written })
}

// read reports whether the nginx has read the file: all workers that accept connections were started after it was written.
func (s sight) read() bool {
	return s.file.boot != s.state.boot || !slices.ContainsFunc(s.state.workers, func(w worker) bool { return !w.leaving && w.start <= s.file.tick })
}

// led are the colours that the nginx may lead to.
func (s sight) led() []colour.Colour {
	if s.content == nil {
		return nil
	}
	led := s.file.shares.led()
	if !s.read() {
		led = append(led, s.file.was...)
	}
	slices.Sort(led)
	return slices.Compact(led)
}

// draining counts the workers from before the file was written that have connections.
func (s sight) draining() int {
	n := 0
	for _, w := range s.state.workers {
		if w.leaving && s.file.boot == s.state.boot && w.start <= s.file.tick {
			n++
		}
	}
	return n
}

// leads reports whether the nginx of a node leads by these shares.
func (u *Upstream) leads(n Node, s sight, want Shares) bool {
	wanted := s.file
	wanted.service, wanted.shares = u.Service, want
	return s.state.runs() && s.read() && bytes.Equal(s.content, u.render(n, wanted))
}

// look looks at every node.
func (u *Upstream) look(ctx context.Context) ([]sight, error) {
	seen := make([]sight, len(u.Nodes))
	return seen, u.each(ctx, func(ctx context.Context, i int) (err error) {
		seen[i], err = u.sight(ctx, u.Nodes[i])
		return err
	})
}

func (u *Upstream) sight(ctx context.Context, n Node) (s sight, err error) {
	if s.content, err = n.Host.Read(ctx, u.file(n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	if err != nil {
		s.content = nil
	} else if s.file, err = parse(s.content); err != nil {
		return s, fault.New(fault.Refused, "cannot use %s on %s: %w", u.file(n), n.Host.Name(), err).
			WithHint("put your settings into a file of their own; then put this one back, or delete it: it is written anew")
	} else if s.file.service != u.Service {
		return s, fault.New(fault.Refused, "cannot use %s on %s: it is of the service %s", u.file(n), n.Host.Name(), s.file.service).WithHint("delete it")
	}
	s.state, err = observe(ctx, n)
	return s, err
}

// reachScript connects to each of its arguments, HOST:PORT.
const reachScript = `for address; do host=${address%:*}; host=${host#[}; exec 3<>"/dev/tcp/${host%]}/${address##*:}" || exit; exec 3>&-; done`

// reach returns when a node can connect to the ports of some colours. It takes the nodes of a cluster a while to know a new port.
func (u *Upstream) reach(ctx context.Context, n Node, reached []colour.Colour) error {
	args := []string{"3", "bash", "-c", reachScript, "bash"}
	for _, c := range reached {
		args = append(args, u.addresses(n, c)...)
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for said := ""; ; {
		r, err := n.Host.Run(ctx, "timeout", args...)
		switch {
		case said != "" && ctx.Err() != nil: // the time was over while it was tried
		case err != nil || r.Status == 0:
			return err
		default:
			said = cmp.Or(r.Says(), "no answer")
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Failed, "%s does not reach the service at %s: %s", n.Host.Name(), strings.Join(args[5:], " and "), said).
				WithHint("see whether the pods are ready, whether the cluster's nodes answer at their NodePorts, and what is between them and %s", n.Host.Name())
		case <-tick.C:
		}
	}
}

// put writes the file of a node, and has its nginx test it. What does not hold is put back.
func (u *Upstream) put(ctx context.Context, n Node, s *sight, want Shares) error {
	now, err := observe(ctx, n)
	if err != nil {
		return err
	}
	s.written = cmp.Or(s.written, now.now)
	f := file{service: u.Service, shares: want, was: s.led(), boot: now.boot, tick: now.now}
	if err := n.Host.Write(ctx, u.file(n), u.render(n, f)); err != nil {
		return err
	}
	err = u.test(ctx, n)
	if err != nil && ctx.Err() == nil {
		return errors.Join(err, u.restore(ctx, n, *s))
	}
	return err
}

// restore gives a node the file that it had.
func (u *Upstream) restore(ctx context.Context, n Node, s sight) error {
	content, err := n.Host.Read(ctx, u.file(n))
	switch gone := errors.Is(err, fs.ErrNotExist); {
	case err != nil && !gone:
		return err
	case gone == (s.content == nil) && bytes.Equal(content, s.content):
		return nil
	}
	if s.content != nil {
		return n.Host.Write(ctx, u.file(n), s.content)
	}
	_, err = host.Do(ctx, n.Host, "rm", "-f", u.file(n))
	return err
}

// undo puts every node back that was written. An nginx that has not read what was written needs not to read what was there before; one that was
// told to may only be slow, and is told again.
func (u *Upstream) undo(ctx context.Context, seen []sight) error {
	return u.each(ctx, func(ctx context.Context, i int) error {
		s, n := seen[i], u.Nodes[i]
		if s.written == 0 {
			return nil
		}
		if err := u.restore(ctx, n, s); err != nil {
			return err
		}
		now, err := observe(ctx, n)
		if err != nil {
			return err
		}
		if !s.told && !s.touched(now) {
			return nil
		}
		if err = u.reload(ctx, n); err == nil {
			return nil
		}
		if now, looked := observe(ctx, n); looked != nil || s.touched(now) {
			return err
		}
		return nil // it is as it was all the time
	})
}

// test has the nginx of a node test its configuration, which must include the file of the service.
func (u *Upstream) test(ctx context.Context, n Node) error {
	r, err := n.Host.Run(ctx, n.Command[0], append(slices.Clone(n.Command[1:]), "-T")...)
	if err != nil {
		return err
	}
	name := n.Host.Name()
	if r.Status != 0 {
		return fault.New(fault.Failed, "nginx on %s finds its configuration wrong: %s", name, host.Result{Stderr: r.Stderr}.Says()).
			WithHint("mend it; %s -t on %s says whether it is right", strings.Join(n.Command, " "), name)
	}
	if !bytes.Contains(r.Stdout, []byte("# configuration file "+u.file(n)+":\n")) {
		return fault.New(fault.Failed, "nginx on %s does not read %s", name, u.file(n)).WithHint("have http in its configuration include %s/*.conf", n.Dir)
	}
	return nil
}

// reloadScript follows the other one.
//
//go:embed reload.sh
var reloadScript string

// How reloadScript and flock end.
const (
	locked    = 75 // another reload went on all the time
	unchanged = 76 // the workers are the same as before
)

// errUnchanged is final: nginx has tried for a while by then, and the longer users are led to both colours, the worse.
var errUnchanged = errors.New("goes on with its former configuration")

// reload has the nginx of a node read its files, and returns when only workers that have done so accept connections. Nobody else of us does that
// at the same time there: workers that come then might have read what was there before.
func (u *Upstream) reload(ctx context.Context, n Node) error {
	limit := u.bound()
	seconds := func(d time.Duration) string { return strconv.Itoa(max(1, int(d.Seconds()))) }
	args := append([]string{
		"-w", seconds(limit / 2), "-E", strconv.Itoa(locked), n.Dir, "sh", "-c", stateScript + reloadScript, "sh", n.PIDFile, seconds(limit / 3),
	}, n.Command...)
	r, err := n.Host.Run(ctx, "flock", args...)
	name := n.Host.Name()
	switch {
	case err != nil:
		return err
	case r.Status == 0:
		return nil
	case r.Status == locked:
		return fault.New(fault.Unavailable, "nginx on %s is told to reload by somebody else all the time", name).WithHint("see what else of crossfade runs, and whether it hangs")
	case r.Status == unchanged:
		return fault.New(fault.Failed, "nginx on %s was told to reload and %w: %s", name, errUnchanged, cmp.Or(u.complaint(ctx, n), "it does not say why")).
			WithHint("see the error log of nginx on %s", name)
	default:
		return fault.New(fault.Failed, "nginx on %s cannot be told to reload: %s", name, r.Says()).WithHint("see whether %s -s reload works there", strings.Join(n.Command, " "))
	}
}

var errorLog = regexp.MustCompile(`(?m)^\s*error_log\s+(/[^\s;]+)`)

// complaint is the last thing that an nginx wrote into its error log as a reason not to go on; "" when there is none.
func (u *Upstream) complaint(ctx context.Context, n Node) string {
	config, err := host.Do(ctx, n.Host, n.Command[0], append(slices.Clone(n.Command[1:]), "-T")...)
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

// each does something on every node, several at a time, and tries again what fails there. It returns what has failed on each.
func (u *Upstream) each(ctx context.Context, do func(ctx context.Context, i int) error) error {
	failed := make([]error, len(u.Nodes))
	var group errgroup.Group
	group.SetLimit(together)
	for i := range u.Nodes {
		group.Go(func() error {
			failed[i] = u.insist(ctx, func(ctx context.Context) error { return do(ctx, i) })
			return nil
		})
	}
	_ = group.Wait() // it has none
	return errors.Join(failed...)
}

// insist tries something several times, each time within a bound.
func (u *Upstream) insist(ctx context.Context, do func(context.Context) error) error {
	pause := cmp.Or(u.Pause, time.Second)
	for try := 1; ; try++ {
		bounded, cancel := context.WithTimeout(ctx, u.bound())
		err := do(bounded)
		waited := bounded.Err() != nil && !fault.Retryable(err) // all the time for something to come about
		cancel()
		if err == nil || ctx.Err() != nil || try == tries || waited || fault.CodeOf(err) == fault.Refused || errors.Is(err, errUnchanged) {
			return err
		}
		u.Progress("trying again: %v", err)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
			pause *= 2
		}
	}
}

func (u *Upstream) bound() time.Duration { return cmp.Or(u.Bound, 30*time.Second) }
