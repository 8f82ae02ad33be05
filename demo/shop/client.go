package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// callTimeout bounds one attempt at a call of the orders API.
	callTimeout = 3 * time.Second
	// maxAnswer bounds what is read of an answer, in bytes.
	maxAnswer = 64 << 10
	// idempotencyHeader makes a repeated order the same order, so that a call whose outcome is unknown may be made again.
	// It is also what lets Go's transport repeat a POST on a connection that turned out to be closed.
	idempotencyHeader = "Idempotency-Key"
)

// ordersClient calls the orders API by its service name.
type ordersClient struct {
	url  string
	key  string
	http *http.Client
}

func newOrdersClient(cfg settings) *ordersClient {
	return &ordersClient{url: strings.TrimSuffix(cfg.ordersURL, "/"), key: cfg.apiKey, http: &http.Client{
		Timeout: callTimeout,
		// Idle connections are let go before a server that was told to end (linger) closes them under a request.
		Transport: &http.Transport{MaxIdleConnsPerHost: 16, MaxConnsPerHost: 64, IdleConnTimeout: 2 * time.Second},
	}}
}

// Place orders, under a key that makes the order the same however often it is placed, and returns the answer as it is.
// A call that got no answer is made once more.
func (c *ordersClient) Place(ctx context.Context, key string, order []byte) (status int, answer []byte, err error) {
	for range 2 {
		status, answer, err = c.call(ctx, http.MethodPost, "/orders", key, order)
		if err == nil || ctx.Err() != nil {
			break
		}
	}
	return status, answer, err
}

// Count asks how many orders there are.
func (c *ordersClient) Count(ctx context.Context) (counts, error) {
	var n counts
	err := c.callJSON(ctx, http.MethodGet, "/orders/count", &n)
	return n, err
}

// Pack takes up to limit orders that wait and marks them packed. It returns their ids.
func (c *ordersClient) Pack(ctx context.Context, limit int) ([]string, error) {
	var p packed
	err := c.callJSON(ctx, http.MethodPost, "/orders/pack?limit="+strconv.Itoa(limit), &p)
	return p.Packed, err
}

// Ready asks whether the orders API is there; it needs no key.
func (c *ordersClient) Ready(ctx context.Context) error {
	status, _, err := c.call(ctx, http.MethodGet, "/livez", "", nil)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("cannot use the orders API at %s: status %d", c.url, status)
	}
	return err
}

func (c *ordersClient) callJSON(ctx context.Context, method, path string, into any) error {
	status, answer, err := c.call(ctx, method, path, "", nil)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("cannot %s %s%s: status %d: %s", method, c.url, path, status, bytes.TrimSpace(answer))
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("cannot read the answer of %s%s: %w", c.url, path, err)
	}
	return nil
}

func (c *ordersClient) call(ctx context.Context, method, path, key string, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, fmt.Errorf("cannot call the orders API: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	if key != "" {
		req.Header.Set(idempotencyHeader, key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("cannot reach the orders API: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, nil, fmt.Errorf("cannot read the orders API's answer: %w", err)
	}
	return resp.StatusCode, answer, nil
}
