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

// Router is an entry point that carries routes. Exactly one kind of router is set.
type Router struct {
	Name    string         `json:"name"`              // a DNS label
	Caddy   *CaddyRouter   `json:"caddy,omitempty"`   // a Caddy server
	DNS     *DNSRouter     `json:"dns,omitempty"`     // a DNS zone
	Gateway *GatewayRouter `json:"gateway,omitempty"` // a Gateway of a cluster that outlives generations
	HAProxy *HAProxyRouter `json:"haproxy,omitempty"` // an HAProxy, with a few lines in its configuration
	Nginx   *NginxRouter   `json:"nginx,omitempty"`   // the nginx of one or more machines
}

// CaddyRouter is a Caddy server, steered through its admin API.
type CaddyRouter struct {
	// Admin is the address of the admin API: "unix//path" or "http://host:port". Empty for the edge of the state directory
	// (crossfade edge), which is started when it does not run.
	Admin string `json:"admin,omitempty"`
	// Listen is the address at which Caddy serves the routes, for example "127.0.0.1:8080" or ":80".
	Listen string `json:"listen"`
}

// GatewayRouter is a Gateway (Gateway API v1) of a cluster that no generation is in. Its namespace is given HTTPRoutes, and Services and
// EndpointSlices of the generations' endpoints.
type GatewayRouter struct {
	Kubeconfig string `json:"kubeconfig,omitempty"` // that of kubectl (KUBECONFIG, ~/.kube/config) unless set
	Context    string `json:"context"`              // the cluster with the Gateway
	Namespace  string `json:"namespace"`            // of the Gateway
	Gateway    string `json:"gateway"`              // its name
	Section    string `json:"section,omitempty"`    // the name of the listener that carries the routes; all of them unless set
	// Entry is the URL at which users reach the listener, for example "http://10.0.0.5" or "https://127.0.0.1:8443". It is asked what is served.
	Entry string `json:"entry"`
}

// HAProxyRouter is an HAProxy of version 2.6 or later, steered through its runtime API. Its configuration has the lines that the
// page docs/concepts/haproxy.md shows.
type HAProxyRouter struct {
	// Socket is the address of its stats socket of level admin: "/path" or "host:port".
	Socket string `json:"socket"`
	// Entry is the URL at which users reach it, for example "http://10.0.0.5" or "https://127.0.0.1:8443".
	Entry string `json:"entry"`
}

// NginxRouter is the nginx of one or more machines, of version 1.19.10 or later. Each is given a file for each route, and a directory of links beside it.
type NginxRouter struct {
	SSH   SSH         `json:"ssh,omitzero"` // how those with an address are reached
	Nodes []NginxNode `json:"nodes"`        // at least one; backend is of no use here
	// Entry is the URL at which users reach them, for example "http://10.0.0.5" or "https://127.0.0.1:8443".
	Entry string `json:"entry"`
	// Listen is what the routes listen at, each as in nginx's directive listen, such as "443 ssl http2"; [80] unless set.
	Listen []string `json:"listen,omitempty"`
}

// DNSRouter is a DNS zone. Exactly one of the places that keep zones is set. Its routes move all users at once, so that their shift has
// the steps [100]; only with route53 may it have others.
type DNSRouter struct {
	Zone    string       `json:"zone"`              // such as example.com; the names of its routes are below it
	RFC2136 *RFC2136Zone `json:"rfc2136,omitempty"` // a server that takes signed dynamic updates: BIND, Knot, PowerDNS and others
	Webhook *WebhookZone `json:"webhook,omitempty"` // a provider of external-dns, behind its webhook
	Route53 *Route53Zone `json:"route53,omitempty"` // Amazon Route 53
	// Owner tells our records from others', in the registry of external-dns; nobody else who writes to the zone has the same.
	Owner string   `json:"owner"`
	TTL   Duration `json:"ttl,omitzero"`  // of the live name while users may be moved; 30s unless set
	Wait  Duration `json:"wait,omitzero"` // how long servers and resolvers may go on with an old answer after its TTL; past it the users are moved back; 1m unless set
	// Authorities are the servers that must answer what is new, each host or host:port; those of the zone's NS records unless set.
	Authorities []string `json:"authorities,omitempty"`
	Resolvers   []string `json:"resolvers,omitempty"` // those that users ask, which must answer what is new, too; each host or host:port
	TXTPrefix   string   `json:"txtPrefix,omitempty"` // --txt-prefix of the external-dns that writes to the zone
	TXTSuffix   string   `json:"txtSuffix,omitempty"` // --txt-suffix of the external-dns that writes to the zone
}

// RFC2136Zone is a zone changed by signed dynamic updates (RFC 2136).
type RFC2136Zone struct {
	Server string `json:"server"` // its primary, which takes updates: host or host:port
	TSIG   TSIG   `json:"tsig"`   // the key that signs the updates
}

// WebhookZone is a zone changed by a provider of external-dns, through the webhook protocol of external-dns.
type WebhookZone struct {
	URL string `json:"url"` // at which the provider answers, for example "http://127.0.0.1:8888"
}

// Route53Zone is a hosted zone of Amazon Route 53. Credentials are found as all programs of AWS find them: in the environment, in
// ~/.aws, or of the machine's role.
type Route53Zone struct {
	HostedZone string `json:"hostedZone"` // its id, for example "Z0123456789ABCDEFGHIJ"
}

// TSIG is a key that signs DNS messages (RFC 8945). Its secret, in base64, is in a file or an environment variable.
type TSIG struct {
	Name       string `json:"name"`                                                                                                                // of the key, as on the server
	Algorithm  string `json:"algorithm,omitempty" jsonschema:"enum=hmac-sha1,enum=hmac-sha224,enum=hmac-sha256,enum=hmac-sha384,enum=hmac-sha512"` // hmac-sha256 unless set
	SecretFile string `json:"secretFile,omitempty"`                                                                                                // the file with the secret
	SecretEnv  string `json:"secretEnv,omitempty"`                                                                                                 // the environment variable with the secret
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

// Nginx is the machines with an nginx that lead users to services. They are Linux, with bash and util-linux.
type Nginx struct {
	SSH   SSH         `json:"ssh,omitzero"` // how those with an address are reached
	Nodes []NginxNode `json:"nodes"`        // at least one
}

// SSH says how machines are reached. Their keys are always checked.
type SSH struct {
	User       string `json:"user,omitempty"`       // the one that the program runs as unless set
	KeyFile    string `json:"keyFile,omitempty"`    // a private key without a passphrase; the keys of the SSH agent unless set
	KnownHosts string `json:"knownHosts,omitempty"` // the keys of the machines; ~/.ssh/known_hosts unless set
}

// NginxNode is one machine with an nginx.
type NginxNode struct {
	Name    string   `json:"name"`              // for people; a DNS label
	Address string   `json:"address,omitempty"` // of its SSH server: host or host:port; it is this machine unless set
	Command []string `json:"command,omitempty"` // nginx, with what goes before its options, such as [sudo, nginx]; [nginx] unless set
	PIDFile string   `json:"pidFile,omitempty"` // of nginx; /run/nginx.pid unless set
	Dir     string   `json:"dir,omitempty"`     // a directory of which nginx includes *.conf in http; /etc/nginx/conf.d unless set
	Backend string   `json:"backend,omitempty"` // the address at which NodePorts answer for it; those of all nodes of the cluster unless set
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

// Route is a public host name and what answers for it.
type Route struct {
	Host    string `json:"host"`              // the live name, without a port
	PreLive string `json:"preLive,omitempty"` // the name at which the next generation answers; "pre-live." + host unless set
	Router  string `json:"router"`            // a router of the platform
	// Service is the service that answers, through the Kubernetes Service of the same name in its namespace.
	Service string   `json:"service,omitempty"`
	Backend *Backend `json:"backend,omitempty"`                                     // a Kubernetes Service by name, in place of Service
	Port    string   `json:"port,omitempty" jsonschema:"oneof_type=string;integer"` // name or number of the Kubernetes Service's port; its only one unless set
	Health  string   `json:"health,omitempty"`                                      // the path that the router asks each endpoint; no active check unless set
	// Protocol is what the endpoints are spoken to in: http, or h2c, which is HTTP/2 without TLS, as gRPC needs it; http unless set.
	Protocol string `json:"protocol,omitempty" jsonschema:"enum=http,enum=h2c"`
	// Sticky keeps each user on one generation while the shares let it, by a cookie of the name crossfade; a share is of the users then.
	Sticky bool `json:"sticky,omitempty"`
}

// Backend is a Kubernetes Service of type NodePort or LoadBalancer.
type Backend struct {
	Namespace string `json:"namespace"` // of the Kubernetes Service
	Name      string `json:"name"`      // of the Kubernetes Service
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

// Gate stands before the shift.
type Gate struct {
	Checks  []Check  `json:"checks,omitempty"`  // what must hold
	Soak    Duration `json:"soak,omitzero"`     // how long the checks must go on to hold
	Approve bool     `json:"approve,omitempty"` // whether a person must approve
}

// Promotion is what a version must pass before it comes into a stage: by itself or in a set, promoted or deployed. What was good there before
// comes back without.
type Promotion struct {
	Checks []Check  `json:"checks,omitempty"` // must hold in the stage before, as its users meet it
	Soak   Duration `json:"soak,omitzero"`    // how long the version must have been good in the stage before; the checks go on to hold for what is left of it
	// Approve says who must approve it: anybody, or somebody other than its authors, who are those that brought it into the stage before and that
	// ask for it here. Nobody unless set.
	Approve string `json:"approve,omitempty" jsonschema:"enum=anybody,enum=other"`
}

// Shift says how the users are moved.
type Shift struct {
	Steps    []int    `json:"steps,omitempty"`   // shares of the new generation in percent, ascending, the last 100; [100] unless set
	Interval Duration `json:"interval,omitzero"` // how long each step is watched
	Checks   []Check  `json:"checks,omitempty"`  // must hold throughout each step; one that does not moves the users back
	// Mirror sends copies of requests to the new generation before anybody is moved to it, and compares the answers.
	Mirror *MirrorFirst `json:"mirror,omitempty"`
	// Header leads those users to the new generation, before the first step and until the last one, who ask for it.
	Header *HeaderFirst `json:"header,omitempty"`
	// Analysis compares how the users of both generations are served; a rule that does not hold moves them back.
	Analysis *Analysis `json:"analysis,omitempty"`
	HandOver Duration  `json:"handOver,omitzero"` // bound on the wait for Jobs and singletons of the old generation to end; past it the users are moved back; 10m unless set
	Drain    Duration  `json:"drain,omitzero"`    // bound on the wait for requests under way in the old generation; 30s unless set
}

// MirrorFirst compares how the new generation answers copies of requests with what users get. Copied are GET, HEAD and OPTIONS without a
// body; compared are the status, the headers named, and the shape of JSON: names and types, not values.
type MirrorFirst struct {
	Interval    Duration `json:"interval"`                                                 // how long requests are mirrored
	Share       int      `json:"share,omitempty" jsonschema:"minimum=1,maximum=100"`       // of the requests that can be copied, in percent; 100 unless set
	Headers     []string `json:"headers,omitempty"`                                        // of the answers, whose values are compared and shown
	Differences float64  `json:"differences,omitempty" jsonschema:"minimum=0,maximum=100"` // how many percent of the answers may differ; none unless set
	Requests    int      `json:"requests,omitempty" jsonschema:"minimum=1"`                // that it takes to tell; 100 unless set
}

// HeaderFirst is a header by which users, such as testers, ask for the new generation at the live names.
type HeaderFirst struct {
	Name     string   `json:"name"`              // such as X-Generation
	Value    string   `json:"value"`             // that it has, such as next
	Interval Duration `json:"interval,omitzero"` // how long they have the new generation for themselves
}

// Analysis compares, throughout each step, how the router sees the users of the new generation served with how it sees those of the old one.
type Analysis struct {
	// Rules are conditions (CEL) over new and old: requests, errorRate (from 0 to 1), p50, p90 and p99 (in seconds, until the head of the answer). Unless set:
	// new.errorRate <= old.errorRate + 0.003, and new.p90 <= 1.15 * old.p90 + 0.001.
	Rules    []string `json:"rules,omitempty"`
	Requests int      `json:"requests,omitempty" jsonschema:"minimum=1"` // to each generation that it takes to tell; 100 unless set
}

// Retire says what becomes of the old generation.
type Retire struct {
	After Duration `json:"after,omitzero"` // how long the way back stays open after the switch
	Keep  bool     `json:"keep,omitempty"` // leave it standing until "crossfade retire" is asked for
}
