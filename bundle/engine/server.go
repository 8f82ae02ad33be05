package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/membership/static"
	"go.temporal.io/server/common/metrics"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/temporal"
)

const loopback = "127.0.0.1"

// services are what Temporal starts. Its own worker service is not among them: it would run schedules, batches and scans for
// lost histories, none of which a disposable engine needs, at the cost of memory and of polling.
var services = []primitives.ServiceName{primitives.FrontendService, primitives.HistoryService, primitives.MatchingService}

// newServer returns a Temporal server over the prepared database, ready to start, and the address of its frontend.
func newServer(d directory, id identity) (temporal.Server, string, error) {
	ports, err := choosePorts(previousPort(d))
	if err != nil {
		return nil, "", err
	}
	frontend := address(ports[primitives.FrontendService])
	server, err := temporal.NewServer(
		temporal.ForServices(serviceNames()),
		temporal.WithConfig(serverConfig(d, ports)),
		temporal.WithStaticHosts(hosts(ports)),
		temporal.WithDynamicConfigClient(tuning()),
		temporal.WithTLSConfigFactory(id),
		temporal.WithCustomMetricsHandler(metrics.NoopMetricsHandler),
		// Who may connect may do everything: the key says who that is.
		temporal.WithAuthorizer(authorization.NewNoopAuthorizer()),
		temporal.WithClaimMapper(func(*config.Config) authorization.ClaimMapper { return authorization.NewNoopClaimMapper() }),
		temporal.WithLogger(log.NewZapLogger(log.BuildZapLogger(log.Config{Level: "warn"}))),
	)
	if err != nil {
		return nil, "", fmt.Errorf("cannot make the server: %w", err)
	}
	return server, frontend, nil
}

func serviceNames() []string {
	names := make([]string, 0, len(services))
	for _, s := range services {
		names = append(names, string(s))
	}
	return names
}

func serverConfig(d directory, ports map[primitives.ServiceName]int) *config.Config {
	frontend := address(ports[primitives.FrontendService])
	cfg := &config.Config{
		Services: map[string]config.Service{},
		Persistence: config.Persistence{
			DefaultStore: sqliteplugin.PluginName, VisibilityStore: sqliteplugin.PluginName, NumHistoryShards: 1,
			DataStores: map[string]config.DataStore{sqliteplugin.PluginName: {SQL: databaseConfig(d)}},
		},
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10, MasterClusterName: clusterName, CurrentClusterName: clusterName,
			ClusterInformation: map[string]cluster.ClusterInformation{
				clusterName: {Enabled: true, InitialFailoverVersion: 1, RPCAddress: frontend},
			},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		PublicClient:        config.PublicClient{HostPort: frontend},
		Archival: config.Archival{
			History: config.HistoryArchival{State: "disabled"}, Visibility: config.VisibilityArchival{State: "disabled"},
		},
		NamespaceDefaults: config.NamespaceDefaults{Archival: config.ArchivalNamespaceDefaults{
			History:    config.HistoryArchivalNamespaceDefaults{State: "disabled"},
			Visibility: config.VisibilityArchivalNamespaceDefaults{State: "disabled"},
		}},
	}
	cfg.Global.Membership = config.Membership{MaxJoinDuration: 30 * time.Second, BroadcastAddress: loopback}
	for name, port := range ports {
		cfg.Services[string(name)] = config.Service{RPC: config.RPC{GRPCPort: port, BindOnIP: loopback}}
	}
	return cfg
}

func hosts(ports map[primitives.ServiceName]int) map[primitives.ServiceName]static.Hosts {
	// Temporal insists on an address for its worker service, also when it does not start one. Nothing calls it.
	all := map[primitives.ServiceName]static.Hosts{primitives.WorkerService: static.SingleLocalHost(address(1))}
	for name, port := range ports {
		all[name] = static.SingleLocalHost(address(port))
	}
	return all
}

// tuning makes a small engine of a server built for large clusters: one partition a task queue, so that a task is matched
// where it arrives; caches for hundreds of workflows, not hundreds of thousands; background looks at the database at the pace
// of a system that has one writer. The server's limit of 20 looks a second at each queue of tasks would hold a run to 20 steps
// a second.
func tuning() dynamicconfig.StaticClient {
	return dynamicconfig.StaticClient{
		dynamicconfig.MatchingNumTaskqueueReadPartitions.Key():        1,
		dynamicconfig.MatchingNumTaskqueueWritePartitions.Key():       1,
		dynamicconfig.NamespaceCacheRefreshInterval.Key():             time.Minute,
		dynamicconfig.HistoryCacheHostLevelMaxSize.Key():              256,
		dynamicconfig.EventsHostLevelCacheMaxSizeBytes.Key():          4 << 20,
		dynamicconfig.EventsCacheMaxSizeBytes.Key():                   4 << 20,
		dynamicconfig.TimerProcessorSchedulerWorkerCount.Key():        16,
		dynamicconfig.MemoryTimerProcessorSchedulerWorkerCount.Key():  4,
		dynamicconfig.TransferProcessorSchedulerWorkerCount.Key():     16,
		dynamicconfig.VisibilityProcessorSchedulerWorkerCount.Key():   4,
		dynamicconfig.TransferProcessorMaxPollRPS.Key():               2000,
		dynamicconfig.TimerProcessorMaxPollRPS.Key():                  2000,
		dynamicconfig.VisibilityProcessorMaxPollRPS.Key():             2000,
		dynamicconfig.EnableServerVersionCheck.Key():                  false, // it would call home
		dynamicconfig.WorkflowTaskRetryMaxInterval.Key():              2 * time.Second,
		dynamicconfig.PersistenceHealthSignalAggregationEnabled.Key(): false,
		dynamicconfig.PersistenceHealthSignalMetricsEnabled.Key():     false,
	}
}

func address(port int) string { return fmt.Sprintf("%s:%d", loopback, port) }

// previousPort returns the port that the last engine in the directory had, or 0.
func previousPort(d directory) int {
	raw, err := os.ReadFile(d.file(addressFile))
	if err != nil {
		return 0
	}
	addr, err := net.ResolveTCPAddr("tcp4", strings.TrimSpace(string(raw)))
	if err != nil {
		return 0
	}
	return addr.Port
}

// choosePorts finds a free port a service, the preferred one for the frontend if it is free. Temporal cannot be given a
// listener, so another process may take a port before Temporal does: then this engine ends and its client starts another.
func choosePorts(preferred int) (ports map[primitives.ServiceName]int, err error) {
	ports = map[primitives.ServiceName]int{}
	for _, name := range services {
		var l net.Listener
		if name == primitives.FrontendService && preferred != 0 {
			l, _ = net.Listen("tcp4", address(preferred)) // taken is no error: any other will do
		}
		if l == nil {
			if l, err = net.Listen("tcp4", address(0)); err != nil {
				return nil, fmt.Errorf("cannot find a free port on %s: %w", loopback, err)
			}
		}
		defer func() { err = errors.Join(err, l.Close()) }() // only after all are chosen, so that they differ
		ports[name] = l.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}
