// Package spec is the configuration: YAML documents of five kinds that together describe a platform. It loads them strictly,
// reports every problem at once with its place, and publishes their JSON Schema.
package spec

// APIVersion is the version of the configuration that this program reads.
const APIVersion = "crossfade.dev/v1alpha1"

// Config is a whole configuration, as loaded from a directory.
type Config struct {
	Dir          string // absolute; paths in the documents are relative to the file they are in, and Load makes them absolute
	Platform     Platform
	Foundations  []Foundation
	Environments []Environment
	Services     []Service
	Stacks       []Stack
}

// Metadata names a document.
type Metadata struct {
	Name string `json:"name"` // a DNS label
}

// Platform is everything one configuration describes. There is exactly one.
type Platform struct {
	Metadata Metadata     `json:"metadata"` // its name
	Spec     PlatformSpec `json:"spec"`     // what all environments share
}

// PlatformSpec holds what all environments share.
type PlatformSpec struct {
	Routers []Router `json:"routers,omitempty"` // the entry points, named by routes
	// Stages are environments in the order in which versions go through them; the last one is production. Unless set, every
	// environment is production.
	Stages []string `json:"stages,omitempty"`
	// GoodTag is the tag that is moved, in the registry, to each version that was verified in production; latest unless set.
	GoodTag string `json:"goodTag,omitempty"`
}

// Foundation is long-lived infrastructure that outlives generations.
type Foundation struct {
	Metadata Metadata       `json:"metadata"` // its name
	Spec     FoundationSpec `json:"spec"`     // what it gives
}

// FoundationSpec says what the foundation gives to the environments in it.
type FoundationSpec struct {
	// Outputs are values (a network id, a subnet) that environments refer to.
	Outputs map[string]string `json:"outputs,omitempty"`
}

// Environment is a place where services run.
type Environment struct {
	Metadata Metadata        `json:"metadata"` // its name
	Spec     EnvironmentSpec `json:"spec"`     // what it consists of
}

// EnvironmentSpec says how the generations of an environment are built, filled, proved and given the traffic.
type EnvironmentSpec struct {
	Foundation string       `json:"foundation,omitempty"` // the foundation that its generations live in
	Prefix     string       `json:"prefix,omitempty"`     // generations are named PREFIXyymmddHHMM, in UTC; the environment's name unless set
	Cluster    Cluster      `json:"cluster"`              // who makes the clusters of its generations
	Prime      []Unit       `json:"prime,omitempty"`      // what every service needs, in order of their needs
	Copy       Copy         `json:"copy,omitzero"`        // what is recreated from the live generation
	Services   []ServiceRef `json:"services,omitempty"`   // what runs in it
	Nginx      *Nginx       `json:"nginx,omitempty"`      // the nodes that lead users to services with a front of that kind
	Routes     []Route      `json:"routes,omitempty"`     // the public host names
	Verify     []Check      `json:"verify,omitempty"`     // what must hold through the pre-live entry before the gate
	Gate       Gate         `json:"gate,omitzero"`        // what stands before the shift
	Shift      Shift        `json:"shift,omitzero"`       // how the users are moved
	Retire     Retire       `json:"retire,omitzero"`      // what becomes of the old generation
	Promotion  Promotion    `json:"promotion,omitzero"`   // what a version must pass before it comes into this stage

	Certificates      []Certificate      `json:"certificates,omitempty"`      // for TLS, which outlive generations
	CertificateBackup *CertificateBackup `json:"certificateBackup,omitempty"` // where they are kept; required with certificates
}

// Certificate is a certificate for TLS that an ACME server (RFC 8555) signs. Exactly one of http01 and dns01 names the router that proves to
// it that the names are ours.
type Certificate struct {
	Name   string     `json:"name"`             // a DNS label; it is kept in the file NAME.age of the backup
	Names  []string   `json:"names"`            // the host names that it is for, at least one; *.example.com by dns01 only
	Secret SecretName `json:"secret"`           // where the generations have it: a Secret of type kubernetes.io/tls
	Issuer Issuer     `json:"issuer"`           // who signs it
	HTTP01 string     `json:"http01,omitempty"` // a caddy router: it answers the CA at http://NAME/.well-known/acme-challenge/
	DNS01  string     `json:"dns01,omitempty"`  // a dns router: its zone answers the CA at _acme-challenge.NAME, or where a CNAME leads from there
}

// SecretName is a Secret of a generation.
type SecretName struct {
	Namespace string `json:"namespace"` // made where it is missing
	Name      string `json:"name"`      // of the Secret
}

// Issuer is an ACME server. Asking it for a certificate is to agree to its terms of service.
type Issuer struct {
	Directory string           `json:"directory"`                 // the URL of its directory, such as https://acme-v02.api.letsencrypt.org/directory
	Email     string           `json:"email,omitempty"`           // where it writes to
	CAFile    string           `json:"caFile,omitempty"`          // certificates in PEM that sign its own; those of the system unless set
	Account   *ExternalAccount `json:"externalAccount,omitempty"` // where it asks for one (RFC 8555 section 7.3.4)
}

// ExternalAccount is an account at a CA, which an ACME account is bound to.
type ExternalAccount struct {
	KeyID   string `json:"keyID"`   // of the CA
	KeyFile string `json:"keyFile"` // a file with its HMAC key, in base64url
}

// CertificateBackup is a directory of encrypted certificates, a file each. No two environments have the same.
type CertificateBackup struct {
	Directory string `json:"directory"` // made where it is missing
	// IdentityFile has the age keys, as age-keygen writes them: the first one encrypts, all of them decrypt.
	IdentityFile string `json:"identityFile"`
}

// Cluster says who makes the clusters of generations. Exactly one provider's options are set, that of Provider; a provider
// without required options may have none.
type Cluster struct {
	Provider string           `json:"provider" jsonschema:"enum=local,enum=existing"` // who makes the clusters
	Local    *LocalCluster    `json:"local,omitempty"`                                // a cluster on this machine
	Existing *ExistingCluster `json:"existing,omitempty"`                             // two clusters that somebody else made
	Timeout  Duration         `json:"timeout,omitzero"`                               // until the cluster is ready; 10m unless set
}

// LocalCluster is a cluster of upstream Kubernetes on this machine.
type LocalCluster struct {
	Nodes      int    `json:"nodes,omitempty" jsonschema:"minimum=1"` // 1 unless set
	Kubernetes string `json:"kubernetes,omitempty"`                   // one of the versions built; the only one unless set
}

// ExistingCluster is two clusters that somebody else made; generations take them in turn.
type ExistingCluster struct {
	Kubeconfig string   `json:"kubeconfig,omitempty"` // $KUBECONFIG or ~/.kube/config unless set
	Contexts   []string `json:"contexts"`             // exactly two
	// Live is the context that serves the users when Crossfade first meets the environment; empty when none does.
	Live string `json:"live,omitempty"`
	// NodeAddresses are where NodePorts answer, by context; the nodes' internal addresses unless set.
	NodeAddresses map[string][]string `json:"nodeAddresses,omitempty"`
}

// Manifests say where the objects of a unit come from. Exactly one is set; at most one where a service is put into an environment.
type Manifests struct {
	Files     []string `json:"files,omitempty"`     // files or directories of plain manifests
	Kustomize string   `json:"kustomize,omitempty"` // the directory of a kustomization
	Helm      *Helm    `json:"helm,omitempty"`      // a chart
}

// Helm is a chart on disk.
type Helm struct {
	Chart       string         `json:"chart"`                 // a directory or a packaged chart
	ReleaseName string         `json:"releaseName,omitempty"` // the unit's name unless set
	ValuesFiles []string       `json:"valuesFiles,omitempty"` // later ones override earlier ones
	Values      map[string]any `json:"values,omitempty"`      // override those of the files
}

// Unit is a set of objects that is applied as one and proved by checks.
type Unit struct {
	Name      string   `json:"name"`                // a DNS label
	Namespace string   `json:"namespace,omitempty"` // for objects that name none
	Needs     []string `json:"needs,omitempty"`     // units that must hold before this one is applied
	Manifests `json:",inline"`
	Checks    []Check  `json:"checks,omitempty"` // prove the unit, in order
	Timeout   Duration `json:"timeout,omitzero"` // until every object is ready and every check holds; 5m unless set
}

// Copy says what of the live generation's objects that no pipeline owns is recreated in the next one.
type Copy struct {
	Include []Selector `json:"include,omitempty"` // everything unless set
	Exclude []Selector `json:"exclude,omitempty"` // taken from what include selects
	// WithReferences copies what included objects refer to as well: a workload's configuration, a route's Services. Otherwise what the
	// other cluster lacks of it is reported.
	WithReferences bool              `json:"withReferences,omitempty"`
	Owners         map[string]string `json:"owners,omitempty"` // by kind: sync, git, backup or target; only sync is copied
	// Conflicts says by kind who wins where somebody has changed a copied object in the new generation: source overwrites
	// it, target leaves it; unset, it is left and reported as a failure.
	Conflicts  map[string]string `json:"conflicts,omitempty"`
	References []Reference       `json:"references,omitempty"` // fields that hold a UID and nothing that says whose
	Quiesce    []Selector        `json:"quiesce,omitempty"`    // Deployments and StatefulSets of the new generation to keep at zero while it is copied to
}

// Reference says whose UID a field of a custom resource holds, so that it can be rewritten. Maps with a kind, a name and a uid
// need no rule.
type Reference struct {
	Kind  string `json:"kind"`  // of the object that has the field: Kind or Kind.group
	Field string `json:"field"` // the UID, for example spec.parent.id
	To    string `json:"to"`    // the kind of the object that is meant: Kind or Kind.group
	Name  string `json:"name"`  // the field with that object's name, for example spec.parent.name
}

// Selector chooses objects: those that match every field that is set.
type Selector struct {
	Namespaces []string          `json:"namespaces,omitempty"` // shell patterns
	Kinds      []string          `json:"kinds,omitempty"`      // Kind or Kind.group
	Names      []string          `json:"names,omitempty"`      // shell patterns
	Labels     map[string]string `json:"labels,omitempty"`     // label and value
}

// ServiceRef puts a service into an environment. What it says beside the name and the version takes the place of what the service says, there
// alone: the same version runs in every stage, with a configuration of the stage's own.
type ServiceRef struct {
	Name      string `json:"name"`                // a document of kind Service
	Version   string `json:"version,omitempty"`   // the version deployed while none is recorded as good; the manifests' own unless set
	Namespace string `json:"namespace,omitempty"` // where it runs; the service's unless set
	Manifests `json:",inline"`
	Checks    []Check `json:"checks,omitempty"` // prove it, in order; the service's unless set
}

// Service is a deployable unit.
type Service struct {
	Metadata Metadata    `json:"metadata"` // its name
	Spec     ServiceSpec `json:"spec"`     // how it is deployed
}

// ServiceSpec says how a service is deployed and proved.
type ServiceSpec struct {
	Namespace string   `json:"namespace"`       // where it runs
	Image     string   `json:"image,omitempty"` // the repository whose tag or digest is the service's version
	Needs     []string `json:"needs,omitempty"` // services that must hold before this one is deployed
	Manifests `json:",inline"`
	Checks    []Check  `json:"checks,omitempty"`  // prove the service, in order
	Strategy  Strategy `json:"strategy,omitzero"` // how a version takes the place of the one before
	Timeout   Duration `json:"timeout,omitzero"`  // until ready and proved; 5m unless set
}

// Strategy says how a version of a service takes the place of the one before. Unless blueGreen is set, it is rolling: the pods are replaced one
// after the other.
type Strategy struct {
	BlueGreen *BlueGreen `json:"blueGreen,omitempty"` // the next version is proved beside the live one, then the users are led to it at once
	// OnFailure says what becomes of a version that fails: leave (unless set) leaves it for debugging, remove takes it away; with rolling, the
	// version before takes its place again.
	OnFailure string `json:"onFailure,omitempty" jsonschema:"enum=leave,enum=remove"`
}

// BlueGreen runs two versions of a service beside each other, each with its own Deployment, autoscaler, ConfigMaps and Secrets. The
// manifests have one Deployment and the Kubernetes Services that lead to it.
type BlueGreen struct {
	Checks  []Check  `json:"checks,omitempty"`  // prove the next version before the users are led to it; their addresses may use {{.Preview}}
	Front   *Front   `json:"front,omitempty"`   // leads the users from outside, ahead of the Kubernetes Services; these lead all users unless set
	Approve bool     `json:"approve,omitempty"` // whether a person must approve then
	Drain   Duration `json:"drain,omitzero"`    // how long connections to the version before may go on; 30s unless set
	Keep    Duration `json:"keep,omitzero"`     // how long the version before is kept, for a way back at once; not at all unless set
}

// Front leads the users who come in from outside to the versions of a service.
type Front struct {
	HTTPRoute *HTTPRoute  `json:"httpRoute,omitempty"` // the manifests' HTTPRoutes and GRPCRoutes that lead to the service (Gateway API), by their weights
	Nginx     *NginxFront `json:"nginx,omitempty"`     // a pair of NodePorts, and the nginx of the environment's nodes
}

// NginxFront leads users to one of two NodePorts by the nginx of every node of the environment, all at once. Each has an upstream in which the
// idle colour is marked down.
type NginxFront struct {
	// NodePort is the first of the ten NodePorts that the service owns. It ends in 0, and leads to blue; the next one leads to green.
	NodePort int      `json:"nodePort" jsonschema:"minimum=30000,maximum=32760"`
	Port     string   `json:"port,omitempty" jsonschema:"oneof_type=string;integer"` // name or number of the Kubernetes Service's port; its only one unless set
	Upstream string   `json:"upstream,omitempty"`                                    // its name in nginx; the service's name unless set
	After    []string `json:"after,omitempty"`                                       // a program and its arguments, run on every node when the users are led to the next version; there is no shell
}

// HTTPRoute shares the users out step by step.
type HTTPRoute struct {
	Steps    []int    `json:"steps,omitempty"`   // shares of the next version in percent, ascending, the last 100; [100] unless set
	Interval Duration `json:"interval,omitzero"` // how long each step is watched, by the service's checks
}

// Stack is a named set of objects or services that move together.
type Stack struct {
	Metadata Metadata  `json:"metadata"` // its name
	Spec     StackSpec `json:"spec"`     // what belongs to it
}

// StackSpec says what belongs to a stack.
type StackSpec struct {
	Services []string   `json:"services,omitempty"` // services that belong to it
	Objects  []Selector `json:"objects,omitempty"`  // objects that belong to it
}

// Check is something that must hold. Exactly one kind is set. It is tried again until it holds or its timeout is over.
type Check struct {
	Name    string        `json:"name,omitempty"`    // for people; what it does unless set
	HTTP    *HTTPCheck    `json:"http,omitempty"`    // a URL
	Command *CommandCheck `json:"command,omitempty"` // a program on this machine
	Job     *JobCheck     `json:"job,omitempty"`     // a Job in the cluster
	Parity  *ParityCheck  `json:"parity,omitempty"`  // the objects of the generation before
	Query   *QueryCheck   `json:"query,omitempty"`   // what a Prometheus says
	Timeout Duration      `json:"timeout,omitzero"`  // 30s unless set; a job's: 2m, a parity's: 5m
}

// HTTPCheck asks a URL, or a path of a route. URL, headers and path may use {{.Environment}}, {{.Generation}}, {{.Ingress}}
// (address of a node), {{.Namespace}} and, before the users are led to a version of a service, {{.Preview}} (host:port at which it answers).
type HTTPCheck struct {
	URL      string            `json:"url,omitempty"`                                         // the whole address
	Route    string            `json:"route,omitempty"`                                       // the host of a route: asked at its pre-live entry before the switch, at its live entry after it
	Path     string            `json:"path,omitempty"`                                        // with Route
	Method   string            `json:"method,omitempty"`                                      // GET unless set
	Headers  map[string]string `json:"headers,omitempty"`                                     // of the request
	Status   int               `json:"status,omitempty" jsonschema:"minimum=100,maximum=599"` // 200 unless set
	Contains string            `json:"contains,omitempty"`                                    // what the body must contain
}

// CommandCheck runs a program on this machine; it must exit with 0. It finds KUBECONFIG (of the generation),
// CROSSFADE_ENVIRONMENT and CROSSFADE_GENERATION in its environment. Arguments may use the templates of HTTPCheck.
type CommandCheck struct {
	Args []string `json:"args"`          // the program and its arguments; there is no shell
	Dir  string   `json:"dir,omitempty"` // the directory of the document unless set
}

// JobCheck runs a Job in the generation's cluster; it must complete.
type JobCheck struct {
	Namespace string `json:"namespace,omitempty"` // for a Job that names none
	Manifest  string `json:"manifest"`            // a file with one Job
}

// QueryCheck asks a Prometheus, or what speaks its HTTP API. Every value of the answer must hold; an answer without any does not.
type QueryCheck struct {
	URL   string `json:"url"`   // of the server, without /api
	Query string `json:"query"` // in PromQL, for now; may use the templates of HTTPCheck, as in {cluster="{{.Generation}}"}
	Holds string `json:"holds"` // a condition (CEL) over value, as value < 0.01
}

// ParityCheck compares the generation with the one before, as crossfade diff does by the environment's rules of copy. Nothing may be
// different; what is declared to differ is not.
type ParityCheck struct {
	Exclude []Selector `json:"exclude,omitempty"` // objects that may differ, besides those that copy.exclude selects
}
