// Package check finds out whether something holds: an HTTP answer, a program's exit status, a Job in the cluster, the same objects
// as in the generation before, the values of a query.
package check

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// How long a check is tried unless it says so itself, and how long one waits between two tries.
const (
	defaultTimeout       = 30 * time.Second
	defaultJobTimeout    = 2 * time.Minute
	defaultParityTimeout = 5 * time.Minute
	retryInterval        = 500 * time.Millisecond
)

// Target is what checks are about. Its strings are what templates can use.
type Target struct {
	Environment string
	Generation  string
	Previous    string // the generation before; empty for the first
	Namespace   string // of the service or unit
	Ingress     string // address of a node
	Preview     string // host:port of a version of a service that the users do not reach yet; empty for none

	Run    string         // names the run, so that a Job is found again by a run that was killed and goes on
	Access cluster.Access // the generation's cluster
	Dir    string         // the directory of the document; relative paths start there
	// Route says where to ask for a route's host: the base of the URL, without a path, and the Host header.
	Route func(host string) (url, hostHeader string, err error)
	// Original connects to the generation before, and says what of it was to be copied; nil when there is none.
	Original func(context.Context) (*kube.Cluster, decide.Rules, error)
}

// Result is a check that holds.
type Result struct {
	Name     string        `json:"name"`
	Attempts int           `json:"attempts"`
	Duration time.Duration `json:"duration"` // until it held, in nanoseconds
	Detail   string        `json:"detail"`   // what was seen
}

// Hold tries each check, in their order, until it holds or its timeout is over, and returns the results of those that
// held. A check that does not hold in time is an error of code fault.Refused with what was seen last; one that cannot be
// tried at all (a template, a program that is not there) is fault.Invalid; a cluster that does not answer is
// fault.Unavailable.
func Hold(ctx context.Context, checks []spec.Check, t Target, progress cluster.Progress) ([]Result, error) {
	var results []Result
	for _, c := range checks {
		result, err := hold(ctx, c, t, progress)
		if err != nil {
			return results, err
		}
		progress("check %s held: %s", result.Name, result.Detail)
		results = append(results, result)
	}
	return results, nil
}

// Once tries a check once, for a check that must go on to hold while it is watched. Its errors are those of Hold.
func Once(ctx context.Context, c spec.Check, t Target) (Result, error) {
	p, err := newProbe(c, t)
	if err != nil {
		return Result{}, err
	}
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	detail, err := p.try(ctx)
	if err != nil {
		return Result{}, p.refused(err)
	}
	return Result{Name: p.name, Attempts: 1, Duration: time.Since(begin), Detail: detail}, nil
}

func hold(ctx context.Context, c spec.Check, t Target, progress cluster.Progress) (Result, error) {
	p, err := newProbe(c, t)
	if err != nil {
		return Result{}, err
	}
	begin := time.Now()
	limited, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	var last error
	for attempt := 1; ; attempt++ {
		detail, err := p.try(limited)
		if err == nil {
			return Result{Name: p.name, Attempts: attempt, Duration: time.Since(begin), Detail: detail}, nil
		}
		if ctx.Err() != nil {
			return Result{}, fault.New(fault.Interrupted, "check %s was interrupted: %w", p.name, ctx.Err())
		}
		if limited.Err() == nil || last == nil { // what a try cut off by the timeout saw says less than the one before
			last = err
		}
		if p.final(err) || limited.Err() != nil {
			return Result{}, p.refused(last)
		}
		if attempt == 1 {
			progress("waiting for check %s: %s", p.name, oneLine(err.Error()))
		}
		select {
		case <-limited.Done():
			if ctx.Err() == nil {
				return Result{}, p.refused(last)
			}
		case <-time.After(retryInterval):
		}
	}
}

// probe is one check, ready to be tried.
type probe struct {
	name    string
	timeout time.Duration
	once    bool // trying again is not for us to decide
	try     func(context.Context) (detail string, err error)
}

func newProbe(c spec.Check, t Target) (probe, error) {
	p := probe{name: c.Name, timeout: c.Timeout.Or(defaultTimeout)}
	if p.name == "" {
		p.name = describe(c)
		if expanded, err := expand(p.name, t); err == nil {
			p.name = expanded
		}
	}
	var err error
	switch {
	case c.HTTP != nil:
		p.try, err = httpProbe(*c.HTTP, t)
	case c.Command != nil:
		p.try, err = commandProbe(*c.Command, t)
	case c.Job != nil:
		p.timeout, p.once = c.Timeout.Or(defaultJobTimeout), true
		p.try, err = jobProbe(p.name, *c.Job, t)
	case c.Parity != nil:
		p.timeout = c.Timeout.Or(defaultParityTimeout)
		p.try, err = parityProbe(*c.Parity, t)
	case c.Query != nil:
		p.try, err = queryProbe(p.name, *c.Query, t)
	default:
		err = fmt.Errorf("it says neither http, command, job, parity nor query")
	}
	if err != nil {
		return p, fault.New(fault.Invalid, "check %s: %w", p.name, err).WithHint("correct the check in the configuration")
	}
	return p, nil
}

// describe names a check that has no name.
func describe(c spec.Check) string {
	switch {
	case c.HTTP != nil:
		return "http " + c.HTTP.Route + c.HTTP.URL + c.HTTP.Path
	case c.Command != nil && len(c.Command.Args) > 0:
		return "command " + filepath.Base(c.Command.Args[0])
	case c.Job != nil:
		return "job " + filepath.Base(c.Job.Manifest)
	case c.Parity != nil:
		return "parity"
	case c.Query != nil:
		return "query " + c.Query.Query
	default:
		return "without a kind"
	}
}

// final reports whether another try cannot end differently, or is not ours to make.
func (p probe) final(err error) bool {
	f, ok := errors.AsType[*fault.Error](err)
	return p.once || ok && f.Code == fault.Invalid
}

// refused is the error of a check that does not hold. Errors that say it better are left as they are.
func (p probe) refused(err error) error {
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Code != fault.Refused && f.Code != fault.Failed {
		return err
	}
	return fault.New(fault.Refused, "check %s: %s", p.name, oneLine(err.Error())).WithHint("%s", hintOf(err))
}

func hintOf(err error) string {
	if hint := fault.HintOf(err); hint != "" {
		return hint
	}
	return "see what answers there; the check is tried again when the run is resumed or started anew"
}

// expand fills in a template of the configuration.
func expand(text string, t Target) (string, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	parsed, err := template.New("check").Option("missingkey=error").Parse(text)
	if err != nil {
		return "", fmt.Errorf("cannot read the template %q: %w", text, err)
	}
	values := map[string]string{
		"Environment": t.Environment, "Generation": t.Generation, "Previous": t.Previous, "Namespace": t.Namespace, "Ingress": t.Ingress, "Preview": t.Preview,
	}
	var out strings.Builder
	if err := parsed.Execute(&out, values); err != nil {
		return "", fmt.Errorf("cannot fill in the template %q: %w", text, err)
	}
	return out.String(), nil
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
