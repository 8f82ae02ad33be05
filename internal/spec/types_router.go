package spec

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
// the steps [100]; only with route53, and with azure and its trafficManager, may it have others.
type DNSRouter struct {
	Zone    string       `json:"zone"`              // such as example.com; the names of its routes are below it
	RFC2136 *RFC2136Zone `json:"rfc2136,omitempty"` // a server that takes signed dynamic updates: BIND, Knot, PowerDNS and others
	Webhook *WebhookZone `json:"webhook,omitempty"` // a provider of external-dns, behind its webhook
	Route53 *Route53Zone `json:"route53,omitempty"` // Amazon Route 53
	Azure   *AzureZone   `json:"azure,omitempty"`   // Azure DNS
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

// AzureZone is a public zone of Azure DNS. Credentials are found as all programs of Azure find them: in the environment, of the machine's
// managed identity, or of az login.
type AzureZone struct {
	Subscription  string `json:"subscription"`  // its id, for example "0b1f6471-1bf0-4dda-aec3-111122223333"
	ResourceGroup string `json:"resourceGroup"` // that the zone is in
	// TrafficManager is whether live names are led by profiles of Azure Traffic Manager, which are in the resource group, too: so that users are moved in shares.
	TrafficManager bool `json:"trafficManager,omitempty"`
}

// TSIG is a key that signs DNS messages (RFC 8945). Its secret, in base64, is in a file or an environment variable.
type TSIG struct {
	Name       string `json:"name"`                                                                                                                // of the key, as on the server
	Algorithm  string `json:"algorithm,omitempty" jsonschema:"enum=hmac-sha1,enum=hmac-sha224,enum=hmac-sha256,enum=hmac-sha384,enum=hmac-sha512"` // hmac-sha256 unless set
	SecretFile string `json:"secretFile,omitempty"`                                                                                                // the file with the secret
	SecretEnv  string `json:"secretEnv,omitempty"`                                                                                                 // the environment variable with the secret
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
