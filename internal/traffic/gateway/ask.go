package gateway

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/gatewayapi"
)

const (
	askLimit = 10 * time.Second
	// inARow is how many connections one after the other must meet the same: behind the entry there may be more than one proxy.
	inARow = 5
)

// follow waits until the controller has accepted an HTTPRoute as it was written, and until the entry serves that.
func (r *Router) follow(ctx context.Context, w written, host string) error {
	return gatewayapi.Await(ctx, r.within, "waiting for "+r.name(), func(ctx context.Context) (string, error) {
		found, err := r.options.Cluster.Get(ctx, w.obj)
		if err != nil {
			return "", err
		}
		if found == nil {
			return "", fault.New(fault.Refused, "somebody has deleted the HTTPRoute %s", w.obj.GetName()).WithHint("start again")
		}
		if why := gatewayapi.Unaccepted(found, r.parent()); why != "" {
			return why, nil
		}
		return r.meet(ctx, host, func(token string) bool { return token == w.Token })
	})
}

// gone waits until the entry serves no HTTPRoute of Crossfade at a name.
func (r *Router) gone(ctx context.Context, host string) error {
	return gatewayapi.Await(ctx, r.within, "waiting for "+r.name(), func(ctx context.Context) (string, error) {
		return r.meet(ctx, host, func(token string) bool { return token == "" })
	})
}

// meet asks a few times which writing of a route the entry serves, and says what is wrong with that.
func (r *Router) meet(ctx context.Context, host string, want func(token string) bool) (wrong string, err error) {
	for range inARow {
		token, err := r.ask(ctx, host)
		if err != nil {
			return "", err
		}
		if !want(token) {
			return fmt.Sprintf("the entry %s does not serve %s as it is now, or leads to something else", r.options.Entry, host), nil
		}
	}
	return "", nil
}

// ask asks at the entry, over a connection of its own, which writing of a route is served there; "" for none.
func (r *Router) ask(ctx context.Context, host string) (token string, err error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.options.Entry+probePath, nil)
	if err != nil {
		return "", err
	}
	req.Host = host
	req.Header.Set(probeHeader, probeValue)
	// The certificate is the listener's, and nothing is told to whoever answers.
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: host}} //nolint:gosec // see above
	client := http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		return "", fault.New(fault.Unavailable, "the entry %s does not answer: %w", r.options.Entry, err).
			WithHint("see whether the listener of the Gateway is reached there from here")
	}
	defer res.Body.Close()
	to, err := url.Parse(res.Header.Get("Location"))
	if err != nil {
		return "", nil //nolint:nilerr // somebody else's answer
	}
	token, ours := strings.CutSuffix(to.Hostname(), probeDomain)
	if !ours {
		return "", nil
	}
	return token, nil
}
