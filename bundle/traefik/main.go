// Crossfade-traefik is Traefik with the flags that it has itself, its proxy and its providers, among them that of the Gateway API; without
// what tests do not need: certificates from elsewhere, plugins, metrics, traces and logs of access. Only tests build and run it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/traefik/paerser/cli"
	"github.com/traefik/traefik/v3/cmd"
	tcli "github.com/traefik/traefik/v3/pkg/cli"
	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/config/runtime"
	"github.com/traefik/traefik/v3/pkg/config/static"
	"github.com/traefik/traefik/v3/pkg/observability/metrics"
	"github.com/traefik/traefik/v3/pkg/provider/aggregator"
	"github.com/traefik/traefik/v3/pkg/provider/traefik"
	"github.com/traefik/traefik/v3/pkg/proxy/httputil"
	"github.com/traefik/traefik/v3/pkg/safe"
	"github.com/traefik/traefik/v3/pkg/server"
	"github.com/traefik/traefik/v3/pkg/server/middleware"
	"github.com/traefik/traefik/v3/pkg/server/service"
	"github.com/traefik/traefik/v3/pkg/tcp"
	"github.com/traefik/traefik/v3/pkg/tls"
)

func main() {
	config := cmd.NewTraefikConfiguration()
	command := &cli.Command{
		Name: "crossfade-traefik", Description: "Traefik, for the tests of Crossfade.", Configuration: config,
		Resources: []cli.ResourceLoader{&tcli.FlagLoader{}},
		Run:       func([]string) error { return run(&config.Configuration) },
	}
	if err := cli.Execute(command); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run serves until a signal ends it.
func run(config *static.Configuration) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	config.SetEffectiveConfiguration()
	if err := config.ValidateConfiguration(); err != nil {
		return err
	}
	s, err := assemble(config)
	if err != nil {
		return err
	}
	s.Start(ctx)
	defer s.Close()
	s.Wait()
	return nil
}

// assemble puts the parts of Traefik together.
func assemble(config *static.Configuration) (*server.Server, error) {
	pool := safe.NewPool(context.Background())
	providers := aggregator.NewProviderAggregator(*config.Providers)
	if err := providers.AddProvider(traefik.New(*config)); err != nil {
		return nil, err
	}
	registry := metrics.NewVoidRegistry()
	observing := middleware.NewObservabilityMgr(*config, registry, nil, nil, nil, nil)
	entries, err := server.NewTCPEntryPoints(config.EntryPoints, config.HostResolver, registry)
	if err != nil {
		return nil, err
	}
	datagrams, err := server.NewUDPEntryPoints(config.EntryPoints)
	if err != nil {
		return nil, err
	}
	certificates, transports, dialers := tls.NewManager(nil), service.NewTransportManager(nil), tcp.NewDialerManager(nil)
	proxies := httputil.NewProxyBuilder(transports, nil)
	services := service.NewManagerFactory(*config, pool, observing, transports, proxies, nil, certificates)
	routers, err := server.NewRouterFactory(*config, services, certificates, observing, nil, dialers)
	if err != nil {
		return nil, err
	}
	watcher := server.NewConfigurationWatcher(pool, providers, entryPoints(config), "internal", false)
	watcher.AddListener(func(c dynamic.Configuration) {
		certificates.UpdateConfigs(context.Background(), c.TLS.Stores, c.TLS.Options, c.TLS.Certificates)
		transports.Update(c.HTTP.ServersTransports)
		proxies.Update(c.HTTP.ServersTransports)
		dialers.Update(c.TCP.ServersTransports)
		byTCP, byUDP := routers.CreateRouters(runtime.NewConfig(c))
		entries.Switch(byTCP)
		datagrams.Switch(byUDP)
	})
	return server.NewServer(pool, entries, datagrams, watcher, observing), nil
}

// entryPoints names those that users come through.
func entryPoints(config *static.Configuration) []string {
	var names []string
	for name := range config.EntryPoints {
		if name != static.DefaultInternalEntryPointName {
			names = append(names, name)
		}
	}
	return names
}
