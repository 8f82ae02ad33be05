package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// sharers is how many connections the requests over HTTP/2 share.
const sharers = 8

// multiplexed is an HTTP/2 client without TLS, with prior knowledge (RFC 9113 section 3.3). It sends a request again only if the server has said that it did not
// process it (section 8.7), as every client may.
type multiplexed struct {
	entry   string
	clients []*http.Transport
	next    atomic.Uint64
}

func newMultiplexed(entry string) *multiplexed {
	m := &multiplexed{entry: strings.TrimSuffix(entry, "/")}
	for range sharers {
		t := &http.Transport{Protocols: new(http.Protocols)}
		t.Protocols.SetUnencryptedHTTP2(true)
		m.clients = append(m.clients, t)
	}
	return m
}

// do sends one request and reads the whole response.
func (m *multiplexed) do(ctx context.Context, k *Kind, host string, timeout time.Duration) (r response) {
	defer func() { r.finished = time.Now() }()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, k.method(), m.entry+k.Path, strings.NewReader(k.Body))
	if err != nil {
		return response{err: err}
	}
	req.Host = host
	n := m.next.Add(1)
	r.reused = n > sharers
	res, err := m.clients[n%sharers].RoundTrip(req)
	if err != nil {
		r.err = fmt.Errorf("no response over HTTP/2: %w", err)
	} else {
		defer res.Body.Close()
		r.firstByte = time.Now()
		r.status, r.generation = res.StatusCode, res.Header.Get("X-Generation")
		if r.body, err = io.ReadAll(io.LimitReader(res.Body, maxBody)); err != nil {
			r.err = fmt.Errorf("body over HTTP/2 broke off after %d bytes: %w", len(r.body), err)
		}
	}
	if r.err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		r.err = fmt.Errorf("no whole response over HTTP/2 within %v", timeout)
	}
	return r
}

func (m *multiplexed) close() {
	for _, c := range m.clients {
		c.CloseIdleConnections()
	}
}
