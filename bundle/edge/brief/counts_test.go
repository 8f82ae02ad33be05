package brief

import (
	"context"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// TestBuckets wants every time in a bucket that ends at it, or up to growth times later.
func TestBuckets(t *testing.T) {
	for _, d := range []time.Duration{1, shortest, shortest + 1, 7 * time.Millisecond, 20 * time.Millisecond, time.Second, time.Hour} {
		end := boundOf(bucketOf(d))
		if end < d.Seconds()*(1-1e-9) || end > math.Max(d.Seconds()*growth, shortest.Seconds())*(1+1e-9) {
			t.Errorf("%v is in the bucket that ends at %v s", d, end)
		}
	}
}

// TestObserve sends requests as Caddy does, some of them in vain.
func TestObserve(t *testing.T) {
	dial := func(r *http.Request) *http.Request {
		info := reverseproxy.DialInfo{Network: "tcp", Address: "10.0.0.1:30080"}
		return r.WithContext(context.WithValue(r.Context(), caddy.CtxKey("reverse_proxy.dial_info"), info))
	}
	user := func(host string) *http.Request {
		r := httptest.NewRequest(http.MethodGet, "http://"+host+"/", nil)
		return dial(r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, map[string]any{})))
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	sent := time.Now().Add(-20 * time.Millisecond)
	observe(user("shop.example.com"), sent, &http.Response{StatusCode: 200}, nil)
	observe(user("Shop.Example.com:8080"), sent, &http.Response{StatusCode: 404}, nil)
	observe(user("shop.example.com"), sent, &http.Response{StatusCode: 503}, nil)
	observe(user("shop.example.com"), sent, nil, context.DeadlineExceeded)
	observe(user("shop.example.com").WithContext(gone), sent, nil, context.Canceled) // the user went away
	observe(dial(httptest.NewRequest(http.MethodGet, "http://shop.example.com/", nil)), sent, &http.Response{StatusCode: 500}, nil)
	counts := Counts()
	if len(counts) != 1 || counts[0].Host != "shop.example.com" || counts[0].Endpoint != "10.0.0.1:30080" || counts[0].Requests != 4 || counts[0].Failures != 2 {
		t.Fatalf("%+v, want 4 requests of which 2 failed", counts)
	}
	answered := int64(0)
	for _, b := range counts[0].Latency {
		answered += b.Requests
		if b.Seconds < 0.02 || b.Seconds > 1 {
			t.Errorf("a request that took 20 ms is in the bucket that ends at %v s", b.Seconds)
		}
	}
	if answered != 3 {
		t.Errorf("%d requests were answered, want 3", answered)
	}
}
