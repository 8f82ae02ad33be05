// Package edge runs crossfade-edge, the Caddy of the edge bundle, as a process of its own: it carries the users' traffic and
// lives on when everything else of Crossfade is down. Its routes are set through its admin endpoint by package
// traffic/caddy; it saves them itself and comes back with them when it is started again.
package edge

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/crossfade-dev/crossfade/internal/bundle"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/process"
)

// DefaultListen is where the edge listens when nobody says otherwise.
const DefaultListen = "127.0.0.1:8080"

// program is the bundle's binary.
const program = "crossfade-edge"

const (
	startLimit = 30 * time.Second // from the start of the process to its first answer, also on a busy machine
	freeLimit  = time.Second      // for the address of an edge that was killed
	stopGrace  = 10 * time.Second // for requests under way when the edge is stopped
)

// Options say which edge to run.
type Options struct {
	StateDir string // Crossfade's state directory, absolute; the edge keeps its files in its directory "edge"
	Listen   string // address:port of the entry point; "" for what it was before, at first DefaultListen
}

// Status is what there is of an edge.
type Status struct {
	Running bool   `json:"running"`
	PID     int    `json:"pid,omitempty"`
	Listen  string `json:"listen"` // address:port of the entry point
	Admin   string `json:"admin"`  // unix//FILE, the address of the admin endpoint; only its owner can open it
	Log     string `json:"log"`    // the file with its output
}

// Entry returns the URL at which the edge answers.
func (s Status) Entry() string { return "http://" + dialable(s.Listen) }

// Start runs the edge unless it runs already, and returns once it answers. An edge that ran before comes back with its
// routes. Any number of processes may call it at once. Its errors are of code Invalid where the address cannot be used.
func Start(ctx context.Context, o Options) (Status, error) {
	dir := directory(o.StateDir)
	if err := dir.make(); err != nil {
		return Status{}, err
	}
	lock, err := process.Lock(ctx, dir.file("start.lock"))
	if err != nil {
		return Status{}, fault.New(fault.Failed, "cannot start the edge: %w", err)
	}
	defer lock.Close()
	now, err := Find(o.StateDir)
	if err != nil {
		return Status{}, err
	}
	if now.Running {
		if o.Listen != "" && o.Listen != now.Listen {
			return Status{}, fault.New(fault.Invalid, "cannot start an edge on %s: the one of %s runs on %s", o.Listen, o.StateDir, now.Listen).
				WithHint("stop it first: crossfade edge stop")
		}
		return now, dir.await(ctx, now)
	}
	listen := now.Listen
	if o.Listen != "" {
		listen = o.Listen
	}
	if err := free(ctx, listen); err != nil {
		return Status{}, err
	}
	return dir.start(ctx, listen)
}

// Find reports on the edge of a state directory. One that does not run, or never did, is no error.
func Find(stateDir string) (Status, error) {
	dir := directory(stateDir)
	listen, err := dir.listen()
	if err != nil {
		return Status{}, err
	}
	d := dir.daemon("")
	pid := d.Find()
	return Status{Running: pid != 0, PID: pid, Listen: listen, Admin: Admin(stateDir), Log: d.LogFile()}, nil
}

// Known reports whether the state directory ever had an edge.
func Known(stateDir string) bool {
	_, err := os.Stat(string(directory(stateDir)))
	return err == nil
}

// Admin returns where the admin endpoint of a state directory's edge is, in Caddy's notation: unix//FILE.
func Admin(stateDir string) string { return "unix/" + directory(stateDir).file("admin.sock") }

// Stop ends the edge of a state directory: requests under way have ten seconds to finish. Its routes are kept for the next
// start. Stopping one that does not run is no error.
func Stop(ctx context.Context, stateDir string) error {
	if !Known(stateDir) {
		return nil
	}
	dir := directory(stateDir)
	if err := dir.daemon("").Stop(ctx, stopGrace); err != nil {
		return fault.New(fault.Failed, "cannot stop the edge: %w", err)
	}
	return nil
}

// files is the directory of one edge.
type files string

func directory(stateDir string) files { return files(filepath.Join(stateDir, "edge")) }

func (f files) file(name string) string { return filepath.Join(string(f), name) }

// make makes the directory, for its owner only, and checks that the admin socket's name fits.
func (f files) make() error {
	// 108 bytes hold the name and its end: sun_path of unix(7).
	if socket := f.file("admin.sock"); len(socket) > 107 {
		return fault.New(fault.Invalid, "cannot start the edge: the name of its socket is longer than 107 bytes: %s", socket).
			WithHint("choose a shorter state directory with --state")
	}
	if err := os.MkdirAll(string(f), 0o700); err != nil {
		return fault.New(fault.Failed, "cannot make the directory of the edge: %w", err)
	}
	return nil
}

// daemon describes the process. Only a start needs the path of the program.
func (f files) daemon(path string) process.Daemon {
	return process.Daemon{
		Name: "edge", Dir: string(f),
		Command: []string{path, "run", "--config", f.file("start.json")},
		// Caddy saves its configuration under the one and keeps certificates under the other.
		Env: []string{"XDG_CONFIG_HOME=" + f.file("config"), "XDG_DATA_HOME=" + f.file("data"), "HOME=" + string(f)},
	}
}

func (f files) start(ctx context.Context, listen string) (Status, error) {
	path, err := bundle.Program(program)
	if err != nil {
		return Status{}, err
	}
	if err := f.writeConfig(listen); err != nil {
		return Status{}, err
	}
	d := f.daemon(path)
	pid, err := d.Start(ctx)
	if err != nil {
		return Status{}, fault.New(fault.Failed, "cannot start the edge: %w", err)
	}
	now, err := Find(filepath.Dir(string(f)))
	if err != nil {
		return Status{}, err
	}
	now.Running, now.PID, now.Listen = true, pid, listen
	return now, f.await(ctx, now)
}

// free finds out whether the address can be listened on, for a person is told of it better by us than by Caddy's log. An edge
// that was killed may hold it for a moment after it has vanished.
func free(ctx context.Context, listen string) error {
	ctx, cancel := context.WithTimeout(ctx, freeLimit)
	defer cancel()
	var config net.ListenConfig
	for {
		l, err := config.Listen(context.WithoutCancel(ctx), "tcp", listen)
		if err == nil {
			return l.Close()
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return fault.New(fault.Invalid, "cannot start the edge on %s: %w", listen, err).
				WithHint("give an address of this machine and a port with --listen, such as %s", DefaultListen)
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Invalid, "cannot start the edge: %s is in use by another program", listen).
				WithHint("choose another address with --listen, or end that program (ss -ltnp shows it)")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// await waits until the edge answers on its admin endpoint and at its entry point.
func (f files) await(ctx context.Context, s Status) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	var dialer net.Dialer
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		err := dial(ctx, dialer, "unix", f.file("admin.sock"))
		if err == nil {
			err = dial(ctx, dialer, "tcp", dialable(s.Listen))
		}
		if err == nil {
			return nil
		}
		if d := f.daemon(""); !starting(d) && d.Find() == 0 {
			return fault.New(fault.Failed, "cannot start the edge: it ended at once: %s", lastError(d.LogFile())).
				WithHint("see %s", d.LogFile())
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Unavailable, "cannot reach the edge on %s: %w", s.Listen, err).WithHint("see %s", s.Log)
		case <-time.After(wait):
		}
	}
}

func dial(ctx context.Context, d net.Dialer, network, address string) error {
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	return c.Close()
}

// dialable returns the address at which to reach a listener from this machine.
func dialable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// starting reports whether the daemon's start is still under way: then its lock is held.
func starting(d process.Daemon) bool {
	lock, err := process.TryLock(filepath.Join(d.Dir, d.Name+".lock"))
	if err != nil || lock == nil {
		return true
	}
	lock.Close()
	return false
}

// lastError returns the last line of the log that tells of an error.
func lastError(log string) string {
	raw, err := os.ReadFile(log)
	if err != nil {
		return "no log"
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if strings.Contains(lines[i], "rror") {
			return lines[i]
		}
	}
	return lines[len(lines)-1]
}
