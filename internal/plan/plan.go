// Package plan turns a configuration and what was observed into a plan: data that is shown, hashed and then carried out as
// it is. Making a plan is pure; carrying one out never plans again.
package plan

import (
	"time"

	"github.com/crossfade-dev/crossfade/internal/spec"
)

// Observed is what the world looked like when the plan was made.
type Observed struct {
	Now         time.Time         `json:"now"`
	Live        string            `json:"live"`        // the generation with the live traffic; "" for none
	Weights     map[string]int    `json:"weights"`     // by generation, of the environment's routes
	Generations []string          `json:"generations"` // those whose clusters stand, in order of name
	Good        map[string]string `json:"good"`        // by service: the version last verified in production
	// Taken are names that generations had before, whether they stand or not; none is given twice.
	Taken []string `json:"taken,omitempty"`
	// Sources are what the configuration and the manifests were read from.
	Sources []Source `json:"sources,omitempty"`
	// Certificates say what the backup has of each certificate, for people.
	Certificates map[string]string `json:"certificates,omitempty"`
}

// Plan is one roll-over, or the deployment of one service, ready to be carried out.
type Plan struct {
	Environment string       `json:"environment"`
	Prefix      string       `json:"prefix"`             // of the names of the environment's generations
	Generation  string       `json:"generation"`         // the one to be built
	Previous    string       `json:"previous,omitempty"` // the one that is live; "" when there is none
	Cluster     spec.Cluster `json:"cluster"`
	Prime       []Unit       `json:"prime,omitempty"` // in an order in which each follows its needs
	Copy        *Copy        `json:"copy,omitempty"`  // nil when nothing is live
	Services    []Unit       `json:"services,omitempty"`
	Nginx       *spec.Nginx  `json:"nginx,omitempty"` // the nodes that lead users to services with a front of that kind
	Routes      []Route      `json:"routes,omitempty"`
	Verify      []spec.Check `json:"verify,omitempty"`
	Gate        spec.Gate    `json:"gate"`
	Shift       spec.Shift   `json:"shift"`
	Retire      spec.Retire  `json:"retire"`
	Deploy      *Deploy      `json:"deploy,omitempty"`    // of a plan that deploys one service, which has no more than that
	Set         *Set         `json:"set,omitempty"`       // of a plan that deploys several together, which has no more than that
	Stage       bool         `json:"stage,omitempty"`     // with either: the checks of verify must hold as well, and say what was verified together
	Promotion   *Promotion   `json:"promotion,omitempty"` // with either: what stands before it; nil for what may come at once
	Premises    Observed     `json:"premises"`
	Hash        string       `json:"hash"` // "sha256:..." over all of the above

	Certificates      []Certificate           `json:"certificates,omitempty"`
	CertificateBackup *spec.CertificateBackup `json:"certificateBackup,omitempty"` // where they are kept; there with certificates
}

// Certificate is a certificate for TLS, and the router that proves its names to a CA.
type Certificate struct {
	spec.Certificate
	Router spec.Router `json:"router"`
}

// Unit is a set of objects to be applied and proved: a step of priming, or a service.
type Unit struct {
	Name      string        `json:"name"`
	Namespace string        `json:"namespace,omitempty"`
	Version   string        `json:"version,omitempty"`
	Needs     []string      `json:"needs,omitempty"`
	Manifests string        `json:"manifests"` // digest of the rendered objects, a blob of the record
	Objects   []string      `json:"objects"`   // what is in it: "apps/Deployment shop/web"
	Images    []string      `json:"images,omitempty"`
	BlueGreen bool          `json:"blueGreen,omitempty"` // its version has a colour
	Owned     []string      `json:"owned,omitempty"`     // with blueGreen: what it may have in the cluster, in any colour
	Front     *spec.Front   `json:"front,omitempty"`     // with blueGreen: what leads the users from outside
	Checks    []spec.Check  `json:"checks,omitempty"`
	Timeout   time.Duration `json:"timeout"`
}

// Copy says what is copied from the live generation.
type Copy struct {
	Rules spec.Copy `json:"rules"`
	Owned []string  `json:"owned"` // objects that belong to priming or to a service, and are not copied
}

// Route is a host name and where it is answered.
type Route struct {
	Host      string      `json:"host"`
	PreLive   string      `json:"preLive"`
	Router    spec.Router `json:"router"`
	Namespace string      `json:"namespace"` // of the Kubernetes Service that answers
	Service   string      `json:"service"`
	Port      string      `json:"port,omitempty"`
	Health    string      `json:"health,omitempty"`
	H2C       bool        `json:"h2c,omitempty"` // endpoints are spoken to in HTTP/2 without TLS
	Sticky    bool        `json:"sticky,omitempty"`
}
