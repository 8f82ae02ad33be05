package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"

	wire "github.com/miekg/dns"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns"
)

// mediaType is that of all bodies, and says the version of the protocol.
const mediaType = "application/external.dns.webhook+json;version=1"

// maxBody bounds an answer, in bytes: about a million records.
const maxBody = 256 << 20

// longest is how long a text with its quotes may be: one string of a TXT record (RFC 1035 section 3.3.14).
const longest = 255 + 2

// endpoint is a set of records, as the protocol has it (external-dns endpoint.Endpoint).
type endpoint struct {
	Name             string            `json:"dnsName,omitempty"`
	Targets          []string          `json:"targets,omitempty"`
	Type             string            `json:"recordType,omitempty"`
	SetIdentifier    string            `json:"setIdentifier,omitempty"`
	TTL              uint32            `json:"recordTTL,omitempty"`
	Labels           map[string]string `json:"labels,omitempty"`
	ProviderSpecific []property        `json:"providerSpecific,omitempty"`
}

// property is what only one provider knows.
type property struct {
	Name  string `json:"name,omitempty"`
	Value string `json:"value,omitempty"`
}

// changes are what a provider shall do (external-dns plan.Changes).
type changes struct {
	Create    []endpoint `json:"create,omitempty"`
	UpdateOld []endpoint `json:"updateOld,omitempty"`
	UpdateNew []endpoint `json:"updateNew,omitempty"`
	Delete    []endpoint `json:"delete,omitempty"`
}

// endpointOf is a set of records as the protocol has it. Texts are in quotes, as external-dns writes them.
func endpointOf(at dns.Set, rrs []wire.RR) endpoint {
	e := endpoint{Name: strings.TrimSuffix(at.Name, "."), Type: wire.TypeToString[at.Kind]}
	for _, rr := range rrs {
		e.TTL = rr.Header().Ttl
		value := dns.Value(rr)
		if at.Kind == wire.TypeTXT {
			value = `"` + value + `"`
		}
		e.Targets = append(e.Targets, value)
	}
	return e
}

// set is where an endpoint stands.
func (e endpoint) set() dns.Set {
	return dns.Set{Name: wire.CanonicalName(e.Name), Kind: wire.StringToType[e.Type], Share: dns.Share{Name: e.SetIdentifier}}
}

// sameTargets reports whether two endpoints lead to the same.
func sameTargets(a, b endpoint) bool {
	return slices.Equal(slices.Sorted(slices.Values(a.Targets)), slices.Sorted(slices.Values(b.Targets)))
}

// ask sends a request and reads the answer into a value, nil for none.
func (b *Backend) ask(ctx context.Context, into any, method, path string, body any) error {
	what := method + " /" + path
	var content io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return fault.New(fault.Failed, "cannot write %s: %w", what, err)
		}
		content = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, b.url.JoinPath(path).String(), content)
	if err != nil {
		return fault.New(fault.Failed, "cannot ask %s: %w", what, err)
	}
	req.Header.Set("Accept", mediaType)
	if body != nil {
		req.Header.Set("Content-Type", mediaType)
	}
	answer, err := b.client.Do(req)
	if err != nil {
		return fault.New(fault.Unavailable, "its provider does not answer: %w", err).WithHint("see whether the provider runs, and the URL in the router")
	}
	defer answer.Body.Close()
	return read(answer, what, into)
}

// read reads an answer.
func read(answer *http.Response, what string, into any) error {
	switch code := answer.StatusCode; {
	case code >= http.StatusInternalServerError:
		return fault.New(fault.Unavailable, "its provider answers %s with %s", what, answer.Status).WithHint("see the log of the provider")
	case code >= http.StatusMultipleChoices:
		return fault.New(fault.Failed, "its provider answers %s with %s", what, answer.Status).WithHint("see the log of the provider, and the URL in the router")
	case into == nil:
		return nil
	}
	if is := answer.Header.Get("Content-Type"); strings.ReplaceAll(is, " ", "") != mediaType {
		return fault.New(fault.Invalid, "what answers %s is no provider that speaks %s: it answers %q", what, mediaType, is).
			WithHint("correct the URL in the router")
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxBody)).Decode(into); err != nil {
		return fault.New(fault.Failed, "its provider's answer to %s cannot be read: %w", what, err).WithHint("see which version of external-dns's protocol it speaks")
	}
	return nil
}
