// Command crossfade-externaldns is for tests: it serves the provider of external-dns for RFC 2136 by external-dns's own webhook server.
// What it is told is what external-dns is told by its flags, in the environment.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"sigs.k8s.io/external-dns/endpoint"
	"sigs.k8s.io/external-dns/pkg/apis/externaldns"
	"sigs.k8s.io/external-dns/provider/rfc2136"
	"sigs.k8s.io/external-dns/provider/webhook/api"
)

func main() {
	if err := run(os.Getenv); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run serves until the process is killed. ADDRESS is where, HOST:PORT; DNS_HOST, DNS_PORT, ZONE, KEY and SECRET are those of a primary.
func run(of func(string) string) error {
	port, err := strconv.Atoi(of("DNS_PORT"))
	if err != nil {
		return err
	}
	zone := of("ZONE")
	filter := endpoint.NewDomainFilter([]string{zone})
	provider, err := rfc2136.New(context.Background(), &externaldns.Config{
		RFC2136Host: []string{of("DNS_HOST")}, RFC2136Port: port, RFC2136Zone: []string{zone}, RFC2136AXFR: true, RFC2136BatchChangeSize: 50,
		RFC2136TSIGKeyName: of("KEY"), RFC2136TSIGSecret: of("SECRET"), RFC2136TSIGSecretAlg: "hmac-sha256", RFC2136LoadBalancingStrategy: "disabled",
	}, filter)
	if err != nil {
		return err
	}
	const limit = 10 * time.Second
	api.StartHTTPApi(provider, nil, limit, limit, of("ADDRESS"))
	return nil
}
