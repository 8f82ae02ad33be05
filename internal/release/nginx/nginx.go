// Package nginx leads users to one colour of a service or the other by the nginx of every node. Each has a file with the upstream of the
// service, in which both colours are servers and the idle one is marked down. Nothing is kept in memory: where a node leads is what its
// file says, and whether its nginx has read the file shows in when its workers were started.
package nginx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/host"
	"github.com/crossfade-dev/crossfade/internal/nginxctl"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
)

// Node is one machine with an nginx.
type Node struct {
	nginxctl.Node
	Backends []string // addresses at which NodePorts answer for it; at least one
}

// Upstream is a service on all nodes.
type Upstream struct {
	Service  string
	Name     string // of the upstream, in nginx
	Port     int    // of blue; green has the next one
	Nodes    []Node
	Progress func(format string, args ...any) // told what happens, for people

	Bound time.Duration // on one try of anything on one node; 30 s when zero
	Pause time.Duration // before the second try; 1 s when zero
}

// Shares are how many percent of the users are led to each colour. They add up to 100.
type Shares map[colour.Colour]int

// colours are those that have a port, in the order of their ports.
var colours = []colour.Colour{colour.Blue, colour.Green}

// Toward are the shares when so many percent of the users are led to one colour, and the others to the version before, if that has a port.
func Toward(c, from colour.Colour, share int) Shares {
	if !slices.Contains(colours, from) || from == c {
		share = 100
	}
	return Shares{c: share, c.Other(): 100 - share}
}

// led are the colours that any user is led to, in order.
func (s Shares) led() []colour.Colour {
	return slices.DeleteFunc(slices.Clone(colours), func(c colour.Colour) bool { return s[c] == 0 })
}

// String names the colours, for people.
func (s Shares) String() string {
	var text []string
	for _, c := range s.led() {
		if s[c] == 100 {
			return string(c)
		}
		text = append(text, fmt.Sprintf("%d %% %s", s[c], c))
	}
	return cmp.Or(strings.Join(text, ", "), "nowhere")
}

// Led are the colours that users of any node are led to, in order. A node without the file leads nowhere. One whose nginx may not have read
// its file yet leads to what it says, and to what it said before.
func (u *Upstream) Led(ctx context.Context) ([]colour.Colour, error) {
	seen, err := u.look(ctx)
	if err != nil {
		return nil, err
	}
	var led []colour.Colour
	for _, s := range seen {
		led = append(led, s.led()...)
	}
	slices.Sort(led)
	return slices.Compact(led), nil
}

// Check looks whether users could be led to another colour now, and touches nothing: every node answers, its nginx runs and finds its
// configuration good, and nobody has changed the file of the service.
func (u *Upstream) Check(ctx context.Context) error {
	seen, err := u.look(ctx)
	if err != nil {
		return err
	}
	return u.fit(ctx, seen, nil)
}

// Reach returns when every node reaches the port of a colour, wherever it answers.
func (u *Upstream) Reach(ctx context.Context, c colour.Colour) error {
	return u.each(ctx, func(ctx context.Context, i int) error { return u.reach(ctx, u.Nodes[i], []colour.Colour{c}) })
}

// fit looks whether every node can be switched, and reaches the ports of some colours.
func (u *Upstream) fit(ctx context.Context, seen []sight, reached []colour.Colour) error {
	return u.each(ctx, func(ctx context.Context, i int) error {
		if err := u.reach(ctx, u.Nodes[i], reached); err != nil {
			return err
		}
		now, err := u.Nodes[i].State(ctx)
		if err != nil {
			return err
		}
		if !now.Runs() {
			return fault.New(fault.Failed, "nginx does not run: %s names no master process", u.Nodes[i].PIDFile).
				WithHint("start nginx on %s, or name the file with its process id", u.Nodes[i].Host.Name())
		}
		if seen[i].content == nil {
			return nil // it may be that its configuration lacks just this file
		}
		return u.Nodes[i].Test(ctx, u.file(u.Nodes[i]))
	})
}

// Lead leads the users on every node by these shares, and returns when every nginx does. All nodes are looked at before any is touched; the
// files are written and tested on all before any nginx reads them. When a node fails, again and again, all of them are put back to what
// they were, and the error says which node, why, and whether that worked. Nothing is put back when ctx ends: the next call completes it,
// or leads back.
func (u *Upstream) Lead(ctx context.Context, want Shares) error {
	seen, err := u.look(ctx)
	if err != nil {
		return u.cannot(ctx, want, err)
	}
	done := make([]bool, len(seen))
	for i, s := range seen {
		done[i] = u.leads(u.Nodes[i], s, want)
	}
	if !slices.Contains(done, false) {
		return nil
	}
	if err := u.fit(ctx, seen, want.led()); err != nil {
		return u.cannot(ctx, want, err)
	}
	err = u.each(ctx, func(ctx context.Context, i int) error {
		if done[i] {
			return nil
		}
		return u.put(ctx, u.Nodes[i], &seen[i], want)
	})
	if err == nil {
		err = u.each(ctx, func(ctx context.Context, i int) error {
			if done[i] {
				return nil
			}
			seen[i].told = true
			return u.Nodes[i].Reload(ctx, u.crew().Bound)
		})
	}
	switch {
	case err == nil:
		u.Progress("nginx on %s leads the users of %s to %s", count(len(u.Nodes)), u.Service, want)
		return nil
	case ctx.Err() != nil:
		return u.cannot(ctx, want, err)
	}
	u.Progress("putting nginx back on %s: %v", count(len(u.Nodes)), err)
	if left := u.undo(ctx, seen); left != nil {
		return u.cannot(ctx, want, errors.Join(err, fault.New(fault.Failed, "not put back: %w", left)))
	}
	return u.cannot(ctx, want, fault.New(fault.CodeOf(err), "%w; every node leads as before", err).WithHint("%s", fault.HintOf(err)))
}

// cannot says what was not done. Its code is never Unavailable: each node has been tried again by then.
func (u *Upstream) cannot(ctx context.Context, want Shares, err error) error {
	code := fault.CodeOf(err)
	switch {
	case ctx.Err() != nil:
		code = fault.Interrupted
	case code == fault.Unavailable:
		code = fault.Failed
	}
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	failed := fault.New(code, "cannot lead the users of %s to %s by nginx: %s", u.Service, want, text)
	failed.Cause = err
	return failed.WithHint("%s", cmp.Or(fault.HintOf(err), "mend the node, then start the same command again"))
}

// Draining counts the worker processes, on all nodes, that go on only with connections from before the file was written last: each may still
// lead some to the version before. Connections to other services hold them up, too.
func (u *Upstream) Draining(ctx context.Context) (int, error) {
	seen, err := u.look(ctx)
	total := 0
	for _, s := range seen {
		total += s.draining()
	}
	return total, err
}

// Run runs a command on every node. It must end with status 0 everywhere.
func (u *Upstream) Run(ctx context.Context, command []string) error {
	return u.each(ctx, func(ctx context.Context, i int) error {
		_, err := host.Do(ctx, u.Nodes[i].Host, command[0], command[1:]...)
		return err
	})
}

// file is where a node has the upstream of the service.
func (u *Upstream) file(n Node) string { return path.Join(n.Dir, "crossfade-"+u.Service+".conf") }

func count(nodes int) string {
	if nodes == 1 {
		return "1 node"
	}
	return fmt.Sprintf("%d nodes", nodes)
}
