package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// compile builds the programs of one module into dir with one call of the Go command, which shares the work between them, and
// returns the CPU time it took.
func (b builder) compile(ctx context.Context, one bundle, m module, dir string) (time.Duration, error) {
	ldflags := "-s -w"
	if m.ldflags != nil {
		more, err := m.ldflags(filepath.Join(b.root, m.dir, "go.mod"))
		if err != nil {
			return 0, err
		}
		ldflags += more
	}
	// A directory of its own, because the Go command names the programs by their packages.
	out, err := os.MkdirTemp(dir, "out-")
	if err != nil {
		return 0, fmt.Errorf("cannot build the %s bundle: %w", one.name, err)
	}
	defer os.RemoveAll(out)
	names, packages := m.sorted()
	// Version control has no part in it: the programs are those of others, named by their modules' versions.
	args := append([]string{"build", "-v", "-buildvcs=false", "-tags", m.tags, "-ldflags", ldflags, "-o", out + "/"}, packages...)
	cmd := exec.CommandContext(ctx, b.goCommand, args...)
	cmd.Dir = filepath.Join(b.root, m.dir)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	cmd.WaitDelay = 10 * time.Second
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := b.watch(cmd, strings.Join(names, ", ")); err != nil {
		return 0, fmt.Errorf("cannot build the %s bundle: %w", one.name, err)
	}
	for i, name := range names {
		if err := os.Rename(filepath.Join(out, builtName(packages[i], m.dir)), filepath.Join(dir, name)); err != nil {
			return 0, fmt.Errorf("cannot build %s of the %s bundle: %w", name, one.name, err)
		}
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

// sorted returns the names of the module's programs in order, and their packages.
func (m module) sorted() (names, packages []string) {
	for name := range m.programs {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		packages = append(packages, m.programs[name])
	}
	return names, packages
}

var majorVersion = regexp.MustCompile(`^v[0-9]+$`)

// builtName returns how the Go command names the program of a package: by the last part of its path that is no version.
func builtName(pkg, dir string) string {
	if pkg == "." {
		return path.Base(dir)
	}
	if base := path.Base(pkg); !majorVersion.MatchString(base) {
		return base
	}
	return path.Base(path.Dir(pkg))
}

// watch runs the Go command and tells how far it is. Its complaints go into the error.
func (b builder) watch(cmd *exec.Cmd, what string) error {
	var compiled packageCounter
	cmd.Stdout, cmd.Stderr = &compiled, &compiled
	started := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	every := 15 * time.Second
	if b.terminal {
		every = time.Second
	}
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	for {
		select {
		case err := <-ended:
			if b.terminal {
				fmt.Fprint(b.talk, "\r\x1b[K")
			}
			if err != nil {
				return fmt.Errorf("%w\n%s", err, compiled.complaints.String())
			}
			return nil
		case <-ticks.C:
			b.draw(fmt.Sprintf("  %s  %4d packages compiled: %s", round(time.Since(started)), compiled.count.Load(), what))
		}
	}
}

// draw shows the progress line: in the place of the one before on a terminal, below it elsewhere.
func (b builder) draw(line string) {
	if b.terminal {
		fmt.Fprintf(b.talk, "\r\x1b[K%.100s", line)
		return
	}
	fmt.Fprintln(b.talk, line)
}

// packageCounter takes the output of go build -v: it counts the package paths, and keeps the rest.
type packageCounter struct {
	count      atomic.Int64
	complaints bytes.Buffer
	rest       []byte
}

var packagePath = regexp.MustCompile(`^[\w.~/\-]+$`)

// Write takes part of the output, which need not end at the end of a line.
func (c *packageCounter) Write(p []byte) (int, error) {
	c.rest = append(c.rest, p...)
	for {
		end := bytes.IndexByte(c.rest, '\n')
		if end < 0 {
			return len(p), nil
		}
		line := string(c.rest[:end])
		c.rest = c.rest[end+1:]
		switch {
		case packagePath.MatchString(line):
			c.count.Add(1)
		case strings.HasPrefix(line, "go: downloading "):
		default:
			_, _ = io.WriteString(&c.complaints, line+"\n")
		}
	}
}
