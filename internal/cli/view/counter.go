package view

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
)

// counter says what happens, and on a terminal shows in a line below how many objects were looked at so far. It may be used by many
// goroutines.
type counter struct {
	out   io.Writer
	stop  func()
	drawn bool // there is a line to be drawn over

	lock            sync.Mutex
	looked, written int
}

// counter is one for the talk of a command. It counts where there is a terminal, and only if asked to.
func (o *Output) counter(counting bool) *counter {
	c := &counter{out: o.Talk, stop: func() {}}
	if !counting || o.Format != AsTable || o.Terminal(o.Talk) == nil {
		return c
	}
	tick, done := time.NewTicker(counted), make(chan struct{})
	var drawing sync.WaitGroup
	drawing.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				c.draw()
			}
		}
	})
	c.stop = sync.OnceFunc(func() { tick.Stop(); close(done); drawing.Wait() })
	return c
}

func (c *counter) count(d outcome.Decision) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.looked++
	if d.Action == outcome.Create || d.Action == outcome.Update {
		c.written++
	}
}

// say writes a line.
func (c *counter) say(format string, args ...any) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.erase()
	fmt.Fprintln(c.out, plain(fmt.Sprintf(format, args...)))
}

func (c *counter) draw() {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.erase()
	fmt.Fprintf(c.out, "%d objects looked at, %d written", c.looked, c.written)
	c.drawn = true
}

// erase takes the line of the count away.
func (c *counter) erase() {
	if c.drawn {
		fmt.Fprint(c.out, "\r\x1b[K")
		c.drawn = false
	}
}

// close ends the counting.
func (c *counter) close() {
	c.stop()
	c.lock.Lock()
	defer c.lock.Unlock()
	c.erase()
}
