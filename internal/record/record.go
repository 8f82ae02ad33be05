// Package record keeps what happened, for ever: generations, releases, runs and their events. Nothing decides by it what is
// live (the router says that); it says who did what, when, and why it was allowed.
package record

import (
	"encoding/json"
	"time"
)

// Phase is where a generation is in its life.
type Phase string

// The phases of a generation.
const (
	Building    Phase = "building"
	Standby     Phase = "standby" // verified, without live traffic
	Live        Phase = "live"
	Quarantined Phase = "quarantined"
	Retired     Phase = "retired"
	Failed      Phase = "failed"
)

// Generation is one disposable build of an environment's infrastructure.
type Generation struct {
	Environment string    `json:"environment"`
	Name        string    `json:"name"`
	Phase       Phase     `json:"phase"`
	Verified    bool      `json:"verified"` // every check through the pre-live entry held
	Run         string    `json:"run"`      // the run that made it
	Created     time.Time `json:"created"`
	Changed     time.Time `json:"changed"`
}

// Release is a service at one version in one generation.
type Release struct {
	Environment string    `json:"environment"`
	Generation  string    `json:"generation"`
	Service     string    `json:"service"`
	Version     string    `json:"version"`
	Tag         string    `json:"tag,omitempty"` // by which the version was asked for, if it was
	Manifests   string    `json:"manifests"`     // digest of the rendered manifests, a blob
	Good        bool      `json:"good"`          // was verified in production
	Run         string    `json:"run"`
	At          time.Time `json:"at"`
	Verified    time.Time `json:"verified,omitzero"` // when it became good
}

// Set is the versions of the services of an environment that were verified together: all of them ran, and stayed, while the checks of the
// environment held. A service that was being changed meanwhile is not in it.
type Set struct {
	Environment string            `json:"environment"`
	Generation  string            `json:"generation"`
	Run         string            `json:"run"`      // the run that has verified them
	Versions    map[string]string `json:"versions"` // by service
	At          time.Time         `json:"at"`
}

// RunState is how far a run is.
type RunState string

// The states of a run.
const (
	Queued       RunState = "queued" // until another run has left its place
	Running      RunState = "running"
	Waiting      RunState = "waiting" // for a person: an approval, or a decision after a switch-back
	Done         RunState = "done"
	RunFailed    RunState = "failed"
	RunRefused   RunState = "refused" // a check or gate said no
	Aborted      RunState = "aborted"
	Superseded   RunState = "superseded"    // by a newer one, before it began
	SwitchedBack RunState = "switched back" // a gate said no during the shift and the traffic went back by itself
)

// Run is one execution of an operation.
type Run struct {
	ID          string          `json:"id"` // for example production-rollover-20261121T013000Z
	Operation   string          `json:"operation"`
	Environment string          `json:"environment"`
	Service     string          `json:"service,omitempty"` // of a run that is about one service only
	Generation  string          `json:"generation"`
	Previous    string          `json:"previous"` // the generation that was live before; "" for none
	By          string          `json:"by"`       // user@host
	State       RunState        `json:"state"`
	Reason      string          `json:"reason,omitempty"` // why it ended as it did, or what it waits for
	Plan        json.RawMessage `json:"plan,omitempty"`
	Started     time.Time       `json:"started"`
	Ended       *time.Time      `json:"ended,omitempty"`
}

// EventKind says what an event tells.
type EventKind string

// The kinds of events.
const (
	StepStarted EventKind = "started"  // before a step acts
	StepDone    EventKind = "done"     // the step's effect is there and was observed
	StepFailed  EventKind = "failed"   // it ended without
	Progress    EventKind = "progress" // something within a step, or what it waits for
	Note        EventKind = "note"     // outside of steps: an approval, a switch-back asked for, the end
)

// Event is one line of a run's story: past tense, naming the object, without secrets.
type Event struct {
	Seq     int64     `json:"seq"` // order of recording, ascending within the store
	Run     string    `json:"run"`
	Key     string    `json:"key"`  // unique within the run: recording the same key again changes nothing
	Step    string    `json:"step"` // for example "deploy/web"; "" outside of steps
	Kind    EventKind `json:"kind"`
	Message string    `json:"message"`
	By      string    `json:"by,omitempty"` // who asked for it, when a person did
	At      time.Time `json:"at"`
	// Detail is further data for machines: figures of a check, weights, counts.
	Detail json.RawMessage `json:"detail,omitempty"`
}
