package main

import (
	"cmp"
	"errors"
	"time"
)

// settings come from the environment: what differs between places is in ConfigMaps and Secrets, not in the image.
type settings struct {
	listen    string // LISTEN: where to answer, ":8080" unless set
	node      string // NODE_NAME: the node that the pod runs on, from the downward API
	ordersURL string // ORDERS_URL: the orders API, by its name in the cluster
	apiKey    string // API_KEY: what the orders API asks its callers for
	banner    string // BANNER_FILE: a text for the front page; none unless set
	ledger    string // LEDGER_FILE: where a worker writes what it packed; nowhere unless set
	catalog   string // CATALOG_NAMESPACE: the namespace of the Product objects; no products unless set

	// linger is how long a service that was told to end goes on accepting: long enough for every proxy of the cluster to have
	// taken it from its list, and longer than callers keep idle connections.
	linger time.Duration
	// bound is how long requests under way may then still take. With linger it must be below the pod's grace period.
	bound time.Duration
}

func readSettings(getenv func(string) string) settings {
	return settings{
		listen:    cmp.Or(getenv("LISTEN"), ":8080"),
		node:      cmp.Or(getenv("NODE_NAME"), "unknown"),
		ordersURL: cmp.Or(getenv("ORDERS_URL"), "http://orders.shop-orders.svc:8080"),
		apiKey:    getenv("API_KEY"),
		banner:    getenv("BANNER_FILE"),
		ledger:    getenv("LEDGER_FILE"),
		catalog:   getenv("CATALOG_NAMESPACE"),
		linger:    5 * time.Second,
		bound:     maxSlow + 5*time.Second,
	}
}

// needKey refuses to start without the key: an orders API without one would let everybody in.
func (s settings) needKey() error {
	if s.apiKey == "" {
		return errors.New("cannot start: API_KEY is not set; it comes from the Secret orders-api-key")
	}
	return nil
}
