// Package kube is one Kubernetes cluster: it reads, applies and removes objects, and judges them by their status. It
// holds no state of its own. What pods have to say is package workload, where Services answer is package endpoint.
package kube

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/apierror"
	"github.com/crossfade-dev/crossfade/internal/kube/manager"
)

// SystemNamespace is where Crossfade keeps what it must remember about a cluster in that cluster.
const SystemNamespace = "crossfade-system"

// IsSystemNamespace reports whether a namespace belongs to the cluster or to Crossfade, not to its users.
func IsSystemNamespace(name string) bool {
	return strings.HasPrefix(name, "kube-") || name == SystemNamespace
}

// requestTimeout bounds every request, so that an API server that is frozen is noticed instead of waited for.
const requestTimeout = 10 * time.Second

// writeTimeout bounds a request that writes one object. A webhook may take 30 s (timeoutSeconds, admissionregistration.k8s.io/v1), and
// the API server then says which: a client that hangs up before never learns it.
const writeTimeout = 35 * time.Second

// parallel is how many requests one operation has under way at once; the API server sets the pace beyond that.
const parallel = 8

// Cluster is a connection to one cluster. It may be used by many goroutines at once, and need not be closed.
type Cluster struct {
	access  cluster.Access
	mapper  meta.RESTMapper
	mapped  sync.Map // of schema.GroupVersionKind to *meta.RESTMapping: the mapper takes its time
	client  client.Client
	dynamic dynamic.Interface
	// writing is dynamic for what webhooks may hold up, watching is without any bound on the time that a request takes.
	writing  dynamic.Interface
	rest     rest.Interface // under dynamic
	writes   rest.Interface // under writing
	watching dynamic.Interface
	found    *discovery.DiscoveryClient
	core     corev1.CoreV1Interface
}

// Connect reads the kubeconfig and prepares a connection; it does not ask the cluster anything. An error is of code
// fault.Invalid: a file or a context that is not there or not usable.
func Connect(access cluster.Access) (*Cluster, error) {
	quiet()
	config, err := restConfig(access)
	if err != nil {
		return nil, err
	}
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, unusable(access, err)
	}
	c := &Cluster{access: access}
	asking := *httpClient
	asking.Timeout = requestTimeout / 2 // what is served takes two requests to find out
	if c.mapper, err = apiutil.NewDynamicRESTMapper(config, &asking); err != nil {
		return nil, unusable(access, err)
	}
	if c.client, err = client.New(config, client.Options{HTTPClient: httpClient, Mapper: c.mapper}); err != nil {
		return nil, unusable(access, err)
	}
	if c.rest, err = restClient(config, httpClient); err != nil {
		return nil, unusable(access, err)
	}
	c.dynamic = dynamic.New(c.rest)
	if c.writes, err = restClient(within(writeTimeout, config, httpClient)); err != nil {
		return nil, unusable(access, err)
	}
	c.writing = dynamic.New(c.writes)
	watching, err := restClient(within(0, config, httpClient))
	if err != nil {
		return nil, unusable(access, err)
	}
	c.watching = dynamic.New(watching)
	if c.found, err = discovery.NewDiscoveryClientForConfigAndClient(config, &asking); err != nil {
		return nil, unusable(access, err)
	}
	if c.core, err = corev1.NewForConfigAndClient(config, httpClient); err != nil {
		return nil, unusable(access, err)
	}
	return c, nil
}

// within is a connection like the given one whose requests may take so long; 0 for ever.
func within(bound time.Duration, config *rest.Config, httpClient *http.Client) (*rest.Config, *http.Client) {
	its, client := *config, *httpClient
	its.Timeout, client.Timeout = bound, bound
	return &its, &client
}

// restClient makes a client for objects of any kind.
func restClient(config *rest.Config, httpClient *http.Client) (rest.Interface, error) {
	config = dynamic.ConfigFor(config)
	config.APIPath = "/"
	return rest.UnversionedRESTClientForConfigAndClient(config, httpClient)
}

// Access returns what the cluster was connected with.
func (c *Cluster) Access() cluster.Access { return c.access }

// Core returns the typed client of the core group, for pods, their logs and events, nodes and Services. Its errors are the API's own: translate
// them with Fault.
func (c *Cluster) Core() corev1.CoreV1Interface { return c.core }

// Fault turns an error of the API into a fault.Error, for packages that ask the API by Core; see apierror.Fault.
func (c *Cluster) Fault(err error, format string, args ...any) error {
	return apierror.Fault(c.access.Context, err, format, args...)
}

// Ping asks the API server for its version. A server that does not answer is an error of code fault.Unavailable, after
// about 10 s at most.
func (c *Cluster) Ping(ctx context.Context) (version string, err error) {
	info, err := c.found.ServerVersionWithContext(ctx)
	if err != nil {
		return "", c.Fault(err, "cannot reach the cluster %s", c.access.Context)
	}
	return info.GitVersion, nil
}

// Healthy asks the API server whether it is ready to serve (/readyz): nil when it is, otherwise an error of code
// fault.Unavailable.
func (c *Cluster) Healthy(ctx context.Context) error {
	if _, err := c.found.RESTClient().Get().AbsPath("/readyz").DoRaw(ctx); err != nil {
		return fault.New(fault.Unavailable, "the API server of the cluster %s is not ready: %w", c.access.Context, err)
	}
	return nil
}

// restConfig reads one context of a kubeconfig, or of several whose paths are joined as in $KUBECONFIG.
func restConfig(access cluster.Access) (*rest.Config, error) {
	files := filepath.SplitList(access.Kubeconfig)
	for _, file := range files {
		if _, err := os.Stat(file); err != nil {
			return nil, fault.New(fault.Invalid, "cannot read the kubeconfig of the context %s: %w", access.Context, err).
				WithHint("name a kubeconfig that exists; kubectl config view shows the one in use")
		}
	}
	rules := &clientcmd.ClientConfigLoadingRules{Precedence: files, WarnIfAllMissing: false}
	loaded, err := rules.Load()
	if err != nil {
		return nil, fault.New(fault.Invalid, "cannot read the kubeconfig %s: %s", access.Kubeconfig, oneLine(err)).
			WithHint("kubectl --kubeconfig %s config view shows the same problem", access.Kubeconfig)
	}
	if _, ok := loaded.Contexts[access.Context]; !ok {
		names := make([]string, 0, len(loaded.Contexts))
		for name := range loaded.Contexts {
			names = append(names, name)
		}
		slices.Sort(names)
		return nil, fault.New(fault.Invalid, "cannot use the context %q: it is not in the kubeconfig %s", access.Context, access.Kubeconfig).
			WithHint("the contexts in it are: %s", strings.Join(names, ", "))
	}
	config, err := clientcmd.NewNonInteractiveClientConfig(*loaded, access.Context, &clientcmd.ConfigOverrides{}, rules).ClientConfig()
	if err != nil {
		return nil, unusable(access, err)
	}
	config.QPS = -1 // the API server's own priority and fairness sets the pace
	config.Timeout = requestTimeout
	config.UserAgent = manager.Crossfade
	config.WarningHandler = rest.NoWarnings{}
	config.DisableCompression = true // it costs more than it saves: what is read goes out again to another cluster as it is
	return config, nil
}

func unusable(access cluster.Access, err error) error {
	return fault.New(fault.Invalid, "cannot use the context %s of the kubeconfig %s: %s", access.Context, access.Kubeconfig, oneLine(err)).
		WithHint("kubectl --kubeconfig %s --context %s version shows the same problem", access.Kubeconfig, access.Context)
}

// quiet keeps the Kubernetes libraries from writing to the terminal: what people must know comes back as errors.
var quiet = sync.OnceFunc(func() {
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	klog.SetLogger(logr.Discard())
	ctrllog.SetLogger(logr.Discard())
})

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
