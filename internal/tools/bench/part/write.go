package part

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/crossfade-dev/crossfade/internal/cluster"
)

// request is a write that only has to be sent.
type request struct {
	url  string
	body []byte
}

// write sends objects to an API server as fast as it takes them: encoded before the clock starts, and what it answers is not read.
func write(ctx context.Context, t Task) (Result, error) {
	config, err := Config(t.To)
	if err != nil {
		return Result{}, err
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return Result{}, err
	}
	var stages [][]request
	for _, name := range Files {
		requests, err := load(filepath.Join(t.Dump, name), config.Host)
		if err != nil {
			return Result{}, err
		}
		stages = append(stages, requests)
	}
	var r Result
	start := time.Now()
	for _, stage := range stages {
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(t.Width)
		for _, q := range stage {
			group.Go(func() error { return q.send(ctx, client) })
		}
		if err := group.Wait(); err != nil {
			return r, err
		}
		r.Written += len(stage)
	}
	r.Took = time.Since(start)
	return r, nil
}

// send creates one object. A kind that was defined just now may not be served for a moment.
func (q request) send(ctx context.Context, client *http.Client) error {
	for deadline := time.Now().Add(30 * time.Second); ; {
		code, text, err := q.try(ctx, client)
		switch {
		case err != nil:
			return err
		case code == http.StatusCreated:
			return nil
		case code != http.StatusNotFound && code != http.StatusTooManyRequests || time.Now().After(deadline):
			return fmt.Errorf("POST %s: %d %s", q.url, code, text)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (q request) try(ctx context.Context, client *http.Client) (code int, text string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, q.url, bytes.NewReader(q.body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	answer, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		raw, _ := io.ReadAll(io.LimitReader(answer.Body, 1000)) // the code says enough
		text = string(raw)
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, text, err
}

// Config is a connection that nothing holds back.
func Config(access cluster.Access) (*rest.Config, error) {
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: access.Kubeconfig}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: access.Context}).ClientConfig()
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	return config, nil
}
