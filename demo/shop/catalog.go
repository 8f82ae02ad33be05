package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

const (
	apiServer  = "https://kubernetes.default.svc"
	accountDir = "/var/run/secrets/kubernetes.io/serviceaccount"
	maxCatalog = 1 << 20 // bytes
)

// product is one thing that the shop sells: an object of the kind Product in the cluster.
type product struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	Price string `json:"price"`
}

// catalog is what the shop sells, read from the cluster's Product objects now and then. While the API server does not
// answer, the last list stands: the shop goes on selling.
type catalog struct {
	url    string // "" for a shop that sells nothing
	token  string // file, read each time because it is renewed
	client *http.Client
	items  atomic.Pointer[[]product]
}

// newCatalog reads the products of the configured namespace with the pod's service account.
func newCatalog(cfg settings) (*catalog, error) {
	if cfg.catalog == "" {
		return &catalog{}, nil
	}
	ca, err := os.ReadFile(filepath.Join(accountDir, "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("cannot read the products in %s: no service account is mounted: %w", cfg.catalog, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, errors.New("cannot read the products: the service account's ca.crt holds no certificate")
	}
	return &catalog{
		url:    apiServer + "/apis/shop.example.com/v1/namespaces/" + cfg.catalog + "/products?resourceVersion=0",
		token:  filepath.Join(accountDir, "token"),
		client: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}},
	}, nil
}

// list returns the products by name; never nil, so that JSON says [].
func (c *catalog) list() []product {
	if p := c.items.Load(); p != nil {
		return *p
	}
	return []product{}
}

// refresh reads the products once. On an error the last list stands.
func (c *catalog) refresh(ctx context.Context) error {
	if c.url == "" {
		return nil
	}
	token, err := os.ReadFile(c.token)
	if err != nil {
		return fmt.Errorf("cannot read the products: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return fmt.Errorf("cannot read the products: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	resp, err := c.client.Do(req)
	if err != nil {
		return fmt.Errorf("cannot read the products: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("cannot read the products: the API server answered %s", resp.Status)
	}
	items, err := decodeProducts(io.LimitReader(resp.Body, maxCatalog))
	if err != nil {
		return err
	}
	c.items.Store(&items)
	return nil
}

// decodeProducts reads a ProductList, sorted by name.
func decodeProducts(r io.Reader) ([]product, error) {
	var list struct {
		Items []struct {
			Metadata struct {
				Name string `json:"name"`
			} `json:"metadata"`
			Spec struct {
				Title      string `json:"title"`
				PriceCents int    `json:"priceCents"`
			} `json:"spec"`
		} `json:"items"`
	}
	if err := json.NewDecoder(r).Decode(&list); err != nil {
		return nil, fmt.Errorf("cannot read the list of products: %w", err)
	}
	out := make([]product, 0, len(list.Items))
	for _, i := range list.Items {
		price := fmt.Sprintf("%d.%02d EUR", i.Spec.PriceCents/100, i.Spec.PriceCents%100)
		out = append(out, product{Name: i.Metadata.Name, Title: i.Spec.Title, Price: price})
	}
	slices.SortFunc(out, func(a, b product) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}
