// Package cluster makes, finds and deletes the clusters of generations. Its providers are sub-packages.
package cluster

import "context"

// Phase says how far a generation's cluster is.
type Phase string

// The phases of a cluster.
const (
	Absent  Phase = "absent"  // nothing of it stands
	Partial Phase = "partial" // some of it stands, or it is not ready; Create completes it, Delete removes it
	Ready   Phase = "ready"   // the API server answers and every node is Ready
)

// Access says how to reach a cluster: a reference, never the credentials themselves, so that it may be recorded.
type Access struct {
	Kubeconfig string `json:"kubeconfig"` // absolute path of a kubeconfig file
	Context    string `json:"context"`    // the context in it
}

// Status is what was observed of a generation's cluster.
type Status struct {
	Phase  Phase    `json:"phase"`
	Access Access   `json:"access"`          // set unless Absent
	Nodes  []string `json:"nodes,omitempty"` // addresses at which the nodes' NodePorts answer, when Ready
	Detail string   `json:"detail,omitempty"`
}

// Progress is told, in the past tense and naming the object, what a provider has done or waits for.
type Progress func(format string, args ...any)

// Provider makes the clusters of one environment's generations.
//
// Every method observes first and may be called twice, after a kill at any instant, and by another process than the one
// that called before: a provider keeps nothing in memory and finds a generation's cluster again by its name. Methods
// return errors of package fault; those of code Unavailable are retried by the caller, all others are final. Waiting is
// bounded by ctx.
type Provider interface {
	// Observe reports on the named generation's cluster. A cluster that does not exist is Absent, not an error.
	Observe(ctx context.Context, generation string) (Status, error)
	// Create makes the cluster, or completes one that is Partial, and returns when it is Ready.
	Create(ctx context.Context, generation string, progress Progress) error
	// Delete removes the cluster and everything it left on the machine or the cloud; an Absent one is no error.
	Delete(ctx context.Context, generation string, progress Progress) error
	// List names the generations whose clusters are not Absent, in order of name.
	List(ctx context.Context) ([]string, error)
}
