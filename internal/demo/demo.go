// Package demo runs the main job for everybody to see: a small shop on a real cluster, users that never stop asking, and a
// roll-over to a new cluster, back, forward again, until the old one is gone.
package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/crossfade-dev/crossfade/internal/cluster/local"
	"github.com/crossfade-dev/crossfade/internal/edge"
	"github.com/crossfade-dev/crossfade/internal/engine"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/load"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/runbook"
	"github.com/crossfade-dev/crossfade/internal/runbook/step"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// environment is the one of the demo's configuration.
const environment = "production"

// leastRequests is how many requests a demo sends at the least: the load goes on after the last step until it has.
const leastRequests = 20_000

// Options say how to run the demo.
type Options struct {
	StateDir string                  // a state directory of its own, removed at the end
	Listen   string                  // where the edge serves the shop, for example "127.0.0.1:8080"
	Rate     int                     // requests a second
	Talk     func(string, ...any)    // says to the person what happens outside of runs
	Show     func() (Viewer, func()) // makes a view of one run, and ends it
}

// Viewer is shown the events of a run.
type Viewer func(record.Event)

// demo is one demonstration under way.
type demo struct {
	Options
	cfg     *spec.Config
	records *record.Store
	control *runbook.Control
	load    *load.Generator
	report  Report
}

// Run runs the demo and returns what it measured. What it made is gone when it returns, also when ctx was cancelled. The
// error is of code Refused when a user would have noticed anything.
func Run(ctx context.Context, o Options) (report Report, err error) {
	d := &demo{Options: o}
	if err := d.clean(ctx); err != nil { // what an earlier one left that was killed
		return d.report, err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
		defer cancel()
		err = errors.Join(err, d.clean(end))
	}()
	if err := d.prepare(ctx); err != nil {
		return d.report, err
	}
	defer d.records.Close()
	if err := d.play(ctx); err != nil {
		return d.report, err
	}
	return d.report, d.report.verdict()
}

// prepare writes the configuration, puts the shop's image where clusters find it, and opens the state directory.
func (d *demo) prepare(ctx context.Context) error {
	if err := os.MkdirAll(d.StateDir, 0o700); err != nil {
		return fault.New(fault.Failed, "cannot make the demo's state directory: %w", err)
	}
	dir := filepath.Join(d.StateDir, "platform")
	if err := configure(dir, d.Listen); err != nil {
		return err
	}
	var err error
	if d.cfg, err = spec.Load(dir); err != nil {
		return err
	}
	if err := PushShop(ctx, d.StateDir); err != nil {
		return err
	}
	d.records, err = record.Open(ctx, filepath.Join(d.StateDir, "record.db"))
	return err
}

// play is the script.
func (d *demo) play(ctx context.Context) error {
	e, err := engine.Open(ctx, engine.Options{StateDir: d.StateDir})
	if err != nil {
		return err
	}
	defer e.Close()
	tools := &step.Toolbox{StateDir: d.StateDir, Records: d.records, Now: time.Now}
	d.control = &runbook.Control{Engine: e, Tools: tools}
	work, stop := context.WithCancel(ctx)
	worked := make(chan error, 1)
	go func() { worked <- d.control.Work(work) }()
	defer func() { stop(); <-worked }()

	d.Talk("Generation one: from nothing to live.")
	first, err := d.rollover(ctx, nil)
	if err != nil {
		return err
	}
	d.Talk("Somebody puts things into it by hand, that are in no pipeline.")
	hand, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := ByHand(hand, d.StateDir, d.cfg.Dir, first); err != nil {
		return err
	}
	d.Talk("The users come: %d requests a second, whether or not earlier ones are answered.", d.Rate)
	users, err := d.users(ctx)
	if err != nil {
		return err
	}
	defer func() { // also when it does not end well: what the users noticed until then is in the report
		d.report.Report = users.stop()
		d.report.Requests.ByGeneration = generations(d.report.Requests.ByGeneration)
	}()
	d.Talk("Generation two: the main job, with a switch back and forward again.")
	if _, err := d.rollover(ctx, d.backAndForth()); err != nil {
		return err
	}
	users.until(ctx, leastRequests)
	return ctx.Err()
}

// rollover carries out one roll-over, shows it, and returns the generation it built. Each event is given to the director, who
// may send commands.
func (d *demo) rollover(ctx context.Context, director func(context.Context, record.Event) error) (string, error) {
	p, err := d.control.Tools.Prepare(ctx, d.cfg, environment)
	if err != nil {
		return "", err
	}
	id, err := d.control.Start(ctx, runbook.OperationRollover, p)
	if err != nil {
		return "", err
	}
	if err := d.control.Recorded(ctx, id); err != nil {
		return "", err
	}
	show, end := d.Show()
	defer end()
	ended := make(chan error, 1)
	go func() { ended <- d.control.Wait(ctx, runbook.Place{Environment: environment}) }()
	err = d.records.Follow(ctx, id, 0, func(e record.Event) error {
		show(e)
		d.step(p.Generation, e)
		if director != nil {
			return director(ctx, e)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return p.Generation, <-ended
}

// backAndForth directs the second roll-over: in its soak the users are moved back, then forward again by an approval, and
// in the next soak the old generation is retired.
func (d *demo) backAndForth() func(context.Context, record.Event) error {
	soaks := 0
	return func(ctx context.Context, e record.Event) error {
		switch {
		case e.Step == "soak" && e.Kind == record.StepStarted && soaks == 0:
			soaks++
			return d.send(ctx, runbook.SwitchBack)
		case e.Step == "approve" && e.Kind == record.StepStarted:
			return d.send(ctx, runbook.Approve)
		case e.Step == "soak" && e.Kind == record.StepStarted:
			return d.send(ctx, runbook.RetireNow)
		}
		return nil
	}
}

func (d *demo) send(ctx context.Context, command string) error {
	return d.control.Send(ctx, &record.Run{Environment: environment}, runbook.Command{Name: command, By: "demo@crossfade"})
}

// clean removes everything that a demo makes: clusters, edge, engine, files.
func (d *demo) clean(ctx context.Context) error {
	if _, err := os.Stat(d.StateDir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	d.Talk("Cleaning up.")
	quiet := func(string, ...any) {}
	err := errors.Join(local.New(local.Options{StateDir: d.StateDir}).Clear(ctx, quiet), edge.Stop(ctx, d.StateDir), engine.Stop(ctx, d.StateDir))
	if err != nil {
		return fmt.Errorf("cannot clean up the demo in %s: %w", d.StateDir, err)
	}
	return os.RemoveAll(d.StateDir)
}
