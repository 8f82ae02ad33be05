package nginx

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/host"
	"github.com/crossfade-dev/crossfade/internal/nginxctl"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
)

// sight is what was seen of a node.
type sight struct {
	content []byte // of the file; nil when there is none
	file    file
	state   nginxctl.State
	written uint64 // a tick after which we have written the file since; 0 while we have not
	told    bool   // we have told the nginx to read it
}

// read reports whether the nginx has read the file.
func (s sight) read() bool { return s.state.Read(s.file.boot, s.file.tick) }

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
	for _, w := range s.state.Workers {
		if w.Leaving && s.file.boot == s.state.Boot && w.Start <= s.file.tick {
			n++
		}
	}
	return n
}

// leads reports whether the nginx of a node leads by these shares.
func (u *Upstream) leads(n Node, s sight, want Shares) bool {
	wanted := s.file
	wanted.service, wanted.shares = u.Service, want
	return s.state.Runs() && s.read() && bytes.Equal(s.content, u.render(n, wanted))
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
	s.state, err = n.State(ctx)
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
	now, err := n.State(ctx)
	if err != nil {
		return err
	}
	s.written = cmp.Or(s.written, now.Now)
	render := func(boot string, tick uint64) []byte {
		return u.render(n, file{service: u.Service, shares: want, was: s.led(), boot: boot, tick: tick})
	}
	if err := n.Write(ctx, now, u.file(n), render); err != nil {
		return err
	}
	err = n.Test(ctx, u.file(n))
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
		now, err := n.State(ctx)
		if err != nil {
			return err
		}
		if !s.told && !now.Touched(s.state.Boot, s.written) {
			return nil
		}
		if err = n.Reload(ctx, u.crew().Bound); err == nil {
			return nil
		}
		if now, looked := n.State(ctx); looked != nil || now.Touched(s.state.Boot, s.written) {
			return err
		}
		return nil // it is as it was all the time
	})
}

// each does something on every node.
func (u *Upstream) each(ctx context.Context, do func(ctx context.Context, i int) error) error {
	return u.crew().Each(ctx, len(u.Nodes), do)
}

func (u *Upstream) crew() nginxctl.Crew {
	return nginxctl.Crew{Progress: u.Progress, Bound: cmp.Or(u.Bound, 30*time.Second), Pause: cmp.Or(u.Pause, time.Second)}
}
