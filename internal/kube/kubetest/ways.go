package kubetest

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/crossfade-dev/crossfade/internal/cluster"
)

// As returns how to reach the server as a user who may do only what the objects of the API allow.
func (s *Server) As(t *testing.T, user string) cluster.Access {
	t.Helper()
	return s.changed(t, func(_ *api.Cluster, auth *api.AuthInfo) { auth.Impersonate = user })
}

// Behind returns how to reach the server through a handler, which is given what passes a request on.
func (s *Server) Behind(t *testing.T, handler func(pass http.Handler) http.Handler) cluster.Access {
	t.Helper()
	target, err := url.Parse("https://" + s.address(t))
	if err != nil {
		t.Fatal(err)
	}
	pass := httputil.NewSingleHostReverseProxy(target)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // on loopback
	t.Cleanup(transport.CloseIdleConnections)
	pass.Transport, pass.FlushInterval = transport, -1
	front := httptest.NewUnstartedServer(handler(pass))
	front.EnableHTTP2 = true
	front.StartTLS()
	t.Cleanup(front.Close)
	return s.changed(t, func(c *api.Cluster, _ *api.AuthInfo) { c.Server = front.URL })
}

// changed writes a kubeconfig like that of the server but for a change.
func (s *Server) changed(t *testing.T, change func(*api.Cluster, *api.AuthInfo)) cluster.Access {
	t.Helper()
	config := s.config(t)
	change(config.Clusters[s.Access.Context], config.AuthInfos[s.Access.Context])
	access := cluster.Access{Kubeconfig: filepath.Join(t.TempDir(), "kubeconfig"), Context: s.Access.Context}
	if err := clientcmd.WriteToFile(*config, access.Kubeconfig); err != nil {
		t.Fatal(err)
	}
	return access
}

func (s *Server) config(t *testing.T) *api.Config {
	t.Helper()
	config, err := clientcmd.LoadFromFile(s.Access.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// address is where the server listens.
func (s *Server) address(t *testing.T) string {
	t.Helper()
	at, err := url.Parse(s.config(t).Clusters[s.Access.Context].Server)
	if err != nil {
		t.Fatal(err)
	}
	return at.Host
}
