// Package step holds the steps of the runbooks, grouped by what they are for: build, entry, prove, shift, retire. A step is an
// activity of the durable engine, which this package knows nothing of: it records its intent, observes, acts, and records its
// outcome, and may run twice, by different processes. What may follow what is the runbooks' affair.
package step

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/certs"
	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/host"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/spec"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// patience is how long a step goes on to ask a peer that does not answer.
const patience = 2 * time.Minute

// Toolbox is what steps work with. Its exported methods that return an error alone are the steps: each may be run again by any
// process at any time. Their names and the JSON of what they take are in the journals of runs under way: they stay as they are.
type Toolbox struct {
	StateDir string
	Records  *record.Store
	Now      func() time.Time

	// What tests have in place of the lists of providers; nil for those.
	makeRouter   func(spec.Router) (traffic.Router, error)
	makeProvider func(spec.Cluster) (cluster.Provider, error)
	makeProver   func(plan.Certificate) (certs.Prover, error)
}

// ID names one execution of a step in a run.
type ID struct {
	Run  string `json:"run"`
	Name string `json:"id"`   // for example "deploy/web"
	Time int    `json:"time"` // 1 for the first execution in this run; more after a switch-back
}

// key identifies an event of this execution of the step, so that running it again records nothing twice.
func (id ID) key(event string) string { return fmt.Sprintf("%s#%d/%s", id.Name, id.Time, event) }

// Service is the one service that the step is about, such as web in "switch/web"; empty for a step that is about more.
func (id ID) Service() string {
	_, name, _ := strings.Cut(id.Name, "/")
	return name
}

// job is one execution of a step by this process.
type job struct {
	*Toolbox
	id    ID
	run   record.Run
	plan  *plan.Plan
	done  string          // what the last event will say; may be changed by the step
	data  any             // what the last event will carry for machines
	hosts []host.Host     // machines that it uses
	ctx   context.Context //nolint:containedctx // for say, whose callers have none
}

// say records what happened within the step, or what it waits for; the same words are recorded once.
func (j *job) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	j.tell(record.Event{Kind: record.Progress, Key: j.id.key("said/" + text), Message: text})
}

// tell records an event of the step. Progress is talk: when it cannot be recorded, the outcome cannot either, and fails.
func (j *job) tell(e record.Event) {
	if j.ctx.Err() == nil {
		_ = j.record(j.ctx, j.id, e)
	}
}

// record writes one event of a step, once.
func (t *Toolbox) record(ctx context.Context, id ID, e record.Event) error {
	e.Run, e.Step, e.At = id.Run, id.Name, t.Now()
	_, err := t.Records.Append(ctx, e)
	return err
}

// do executes a step: the intent is recorded before the effect, and the outcome after it. While a peer does not answer, the
// step is tried again, for as long as its patience lasts. When it is cancelled, or its process is stopped, no outcome is
// recorded: it runs again, or its procedure knows.
func (t *Toolbox) do(ctx context.Context, id ID, title, done string, act func(context.Context, *job) error) error {
	r, p, err := t.load(ctx, id.Run)
	if err != nil {
		return err
	}
	if err := p.Pick(id.Service()); err != nil {
		return err
	}
	j := &job{Toolbox: t, id: id, run: r, plan: p, done: done, ctx: ctx}
	defer j.leave()
	if err := t.record(ctx, id, record.Event{Kind: record.StepStarted, Key: id.key("started"), Message: title}); err != nil {
		return err
	}
	err = j.insist(ctx, act)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		failed := record.Event{Kind: record.StepFailed, Key: id.key("failed"), Message: err.Error(), Detail: jsonOf(map[string]string{"hint": fault.HintOf(err)})}
		if recorded := t.record(ctx, id, failed); recorded != nil {
			return recorded
		}
		return err
	}
	return t.record(ctx, id, record.Event{Kind: record.StepDone, Key: id.key("done"), Message: j.done, Detail: jsonOf(j.data)})
}

// jsonOf writes data of our own making for machines; nil for none.
func jsonOf(data any) json.RawMessage {
	if data == nil {
		return nil
	}
	raw, err := json.Marshal(data)
	if err != nil {
		return jsonOf(err.Error())
	}
	return raw
}

// insist tries an act again while a peer does not answer.
func (j *job) insist(ctx context.Context, act func(context.Context, *job) error) error {
	var since time.Time
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := act(ctx, j)
		if !fault.Retryable(err) || ctx.Err() != nil {
			return err
		}
		if since.IsZero() {
			since = j.Now()
			j.say("asked again, since %v", err)
		}
		if j.Now().Sub(since) > patience {
			return fault.New(fault.Failed, "no answer for %v: %w", patience, err).WithHint("mend it, then start the same command again")
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// load reads a run and its plan from the record.
func (t *Toolbox) load(ctx context.Context, id string) (record.Run, *plan.Plan, error) {
	r, err := t.Records.Run(ctx, id)
	if err != nil {
		return r, nil, err
	}
	var p plan.Plan
	if err := json.Unmarshal(r.Plan, &p); err != nil {
		return r, nil, fault.New(fault.Failed, "cannot read the plan of run %s: %w", id, err)
	}
	if p.Deploy != nil || p.Set != nil {
		p.Generation = r.Generation // that was live when it was the run's turn
	}
	return r, &p, nil
}

// clusters returns what makes the clusters of the plan's environment.
func (j *job) clusters() (cluster.Provider, error) {
	return j.provider(j.plan.Cluster, j.plan.Environment)
}

// ready returns how to reach a generation's cluster, which must be ready.
func (j *job) ready(ctx context.Context, generation string) (cluster.Status, error) {
	provider, err := j.clusters()
	if err != nil {
		return cluster.Status{}, err
	}
	status, err := provider.Observe(ctx, generation)
	if err != nil {
		return status, err
	}
	if status.Phase != cluster.Ready {
		return status, fault.New(fault.Unavailable, "cluster %s is not ready: %s %s", generation, status.Phase, status.Detail)
	}
	return status, nil
}
