package image_test

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/release/image"
	"github.com/crossfade-dev/crossfade/internal/release/image/registrytest"
)

// calls are the methods of a client, each of which fails like the others where the registry is at fault.
var calls = map[string]func(ctx context.Context, c image.Client, repository, digest string) error{
	"Resolve": func(ctx context.Context, c image.Client, repository, _ string) error {
		return errorOf(c.Resolve(ctx, repository, "v1"))
	},
	"Current": func(ctx context.Context, c image.Client, repository, _ string) error {
		return errorOf(c.Current(ctx, repository, "v1"))
	},
	"Move": func(ctx context.Context, c image.Client, repository, digest string) error {
		return c.Move(ctx, repository, "latest", digest)
	},
}

// No credential is in any message, and each refusal says how to log in.
func TestCredentials(t *testing.T) {
	const user, password = "deployer", "s3cr3t-Pa55"
	r := registrytest.Start(t, registrytest.Options{Users: map[string]string{user: password}})
	registrytest.Login(t, r.Address, user, password)
	digest := registrytest.Push(t, r.Address, "shop/web:v1")
	readOnly := r.Behind(t, func(pass http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
			if request.Method == http.MethodPut { // and says too much
				http.Error(w, `{"errors":[{"code":"DENIED","message":"`+request.Header.Get("Authorization")+password+`"}]}`, http.StatusForbidden)
				return
			}
			pass.ServeHTTP(w, request)
		})
	})
	none := failure{fault.Failed, "asks for credentials, and the docker configuration has none (401 unauthorized)", "docker login 127.0.0.1:"}
	refused := failure{fault.Failed, "refuses the credentials (401 unauthorized)", "docker login 127.0.0.1:"}
	tests := map[string]struct {
		reason         string
		user, password string
		config         string // instead of that of user and password
		address        string
		failure        map[string]failure // of each call
	}{
		"Right":         {reason: "who is let in", user: user, password: password},
		"Nobody":        {reason: "no credentials", failure: map[string]failure{"Resolve": none, "Current": none, "Move": none}},
		"WrongPassword": {reason: "a password that is no longer right", user: user, password: "old-" + password, failure: map[string]failure{"Resolve": refused, "Current": refused, "Move": refused}},
		"Stranger":      {reason: "a user there is not", user: "stranger", password: password, failure: map[string]failure{"Resolve": refused, "Current": refused, "Move": refused}},
		"ReadsOnly": {
			reason: "who may read may not move", user: user, password: password, address: readOnly,
			failure: map[string]failure{"Move": {fault.Failed, "cannot move the tag latest of " + readOnly + "/shop/web", "docker login " + readOnly + " as somebody who may do this"}},
		},
		"Broken": {
			reason: "a configuration that is cut off", config: `{"auths": {"` + r.Address + `": {"auth": "` + password,
			failure: map[string]failure{
				"Resolve": {fault.Failed, "cannot read the credentials for " + r.Address, "docker login"},
				"Current": {fault.Failed, "cannot read the credentials for " + r.Address, "docker login"},
				"Move":    {fault.Failed, "cannot read the credentials for " + r.Address, "docker login"},
			},
		},
		"BrokenHelper": {
			reason: "a helper that is not installed", config: `{"credsStore": "none-of-that-name"}`,
			failure: map[string]failure{
				"Resolve": {fault.Failed, "cannot read the credentials for " + r.Address, "docker login"},
				"Current": {fault.Failed, "cannot read the credentials for " + r.Address, "docker login"},
				"Move":    {fault.Failed, "cannot read the credentials for " + r.Address, "docker login"},
			},
		},
	}
	for name, tc := range tests {
		for call, do := range calls {
			t.Run(name+"/"+call, func(t *testing.T) {
				if tc.address == "" {
					tc.address = r.Address
				}
				registrytest.Login(t, r.Address, user, password)
				registrytest.Push(t, r.Address, "shop/web:latest") // so that there is something to move
				registrytest.Login(t, tc.address, tc.user, tc.password)
				if tc.config != "" {
					if err := os.WriteFile(filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json"), []byte(tc.config), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				err := do(t.Context(), image.Client{}, tc.address+"/shop/web", digest)
				tc.failure[call].check(t, tc.reason, err)
				for _, secret := range []string{password, "Basic "} {
					if err != nil && strings.Contains(err.Error()+fault.HintOf(err), secret) {
						t.Errorf("%s: a secret in %q, %q", tc.reason, err, fault.HintOf(err))
					}
				}
			})
		}
	}
}

// A registry that is not up, or of which nothing can be made.
func TestRegistryAtFault(t *testing.T) {
	t.Parallel()
	r := registrytest.Start(t, registrytest.Options{})
	digest := registrytest.Push(t, r.Address, "shop/web:v1")
	answer := func(status int, body string) string {
		return r.Behind(t, func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, body, status) })
		})
	}
	trusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	trusted.Config.ErrorLog = log.New(io.Discard, "", 0)
	trusted.StartTLS()
	t.Cleanup(trusted.Close)
	const gone = "127.0.0.1:1" // a port that is given to nobody
	tests := map[string]struct {
		reason  string
		address string
		failure failure
	}{
		"Down":        {reason: "nobody listens", address: gone, failure: failure{fault.Unavailable, "the registry " + gone + " does not answer: dial tcp " + gone + ": connect: connection refused", "curl -i http://" + gone + "/v2/"}},
		"NoName":      {reason: "no such host", address: "registry.invalid", failure: failure{fault.Unavailable, "the registry registry.invalid does not answer", "curl -i https://registry.invalid/v2/"}},
		"Error":       {reason: "it is broken for now", address: answer(500, "<h1>\nsorry\n</h1>"), failure: failure{fault.Unavailable, "cannot do it now (500 internal server error)", ""}},
		"Maintenance": {reason: "it is restarted", address: answer(503, ""), failure: failure{fault.Unavailable, "cannot do it now (503 service unavailable)", ""}},
		"RateLimit":   {reason: "too often", address: answer(429, `{"errors":[{"code":"TOOMANYREQUESTS"}]}`), failure: failure{fault.Unavailable, "cannot do it now (429 too many requests)", ""}},
		"Gateway":     {reason: "what stands before it, with a reason of its own", address: answer(504, `{"errors":[{"code":"DENIED"}]}`), failure: failure{fault.Unavailable, "cannot do it now (504 gateway timeout)", ""}},
		"Limited":     {reason: "too often, with a reason of its own", address: answer(429, `{"errors":[{"code":"DENIED"}]}`), failure: failure{fault.Unavailable, "cannot do it now (429 too many requests)", ""}},
		"Slow":        {reason: "it gave up waiting for us", address: answer(408, ""), failure: failure{fault.Unavailable, "cannot do it now (408 request timeout)", ""}},
		"Wordy":       {reason: "what is no code is not repeated", address: answer(418, `{"errors":[{"code":"Basic c2VjcmV0","message":"secret"}]}`), failure: failure{fault.Failed, "refuses it (418 i'm a teapot)", ""}},
		"Long":        {reason: "nor what is very long", address: answer(418, `{"errors":[{"code":"`+strings.Repeat("LONG_", 500)+`"}]}`), failure: failure{fault.Failed, "refuses it (418 i'm a teapot)", ""}},
		"NoCode":      {reason: "nor nothing", address: answer(418, `{"errors":[{"message":"secret"}]}`), failure: failure{fault.Failed, "refuses it (418 i'm a teapot)", ""}},
		"NoRegistry":  {reason: "a server of something else", address: answer(404, "page not found"), failure: failure{fault.Failed, "is no image registry", "curl -i http://127.0.0.1:"}},
		"Refuses":     {reason: "an answer of its own", address: answer(418, "I'm a teapot"), failure: failure{fault.Failed, "refuses it (418 i'm a teapot)", ""}},
		"Untrusted":   {reason: "a certificate of its own", address: trusted.Listener.Addr().String(), failure: failure{fault.Failed, "the certificate of the registry", "trusted certificates"}},
		"Cut": {
			reason: "every connection is cut",
			address: r.Behind(t, func(http.Handler) http.Handler {
				return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
			}),
			failure: failure{fault.Unavailable, "does not answer: EOF", "curl -i"},
		},
		"CutManifest": {
			reason: "the manifest ends in the middle",
			address: r.Behind(t, func(pass http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
					if strings.Contains(request.URL.Path, "/manifests/") {
						w.Header().Set("Content-Length", "500")
						_, _ = w.Write([]byte(`{"schemaVersion": 2`))
						_ = http.NewResponseController(w).Flush()
						panic(http.ErrAbortHandler)
					}
					pass.ServeHTTP(w, request)
				})
			}),
			failure: failure{fault.Unavailable, "does not answer: unexpected EOF", "curl -i"},
		},
	}
	for name, tc := range tests {
		for call, do := range calls {
			t.Run(name+"/"+call, func(t *testing.T) {
				t.Parallel()
				tc.failure.check(t, tc.reason, do(t.Context(), image.Client{}, tc.address+"/shop/web", digest))
			})
		}
	}
}

// A connection that is cut now and then, or an error that is over at once, is nobody's concern.
func TestHiccups(t *testing.T) {
	t.Parallel()
	r := registrytest.Start(t, registrytest.Options{})
	digest := registrytest.Push(t, r.Address, "shop/web:v1")
	for call, do := range calls {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			var lock sync.Mutex
			seen := map[string]int{}
			address := r.Behind(t, func(pass http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
					lock.Lock()
					defer lock.Unlock()
					seen[request.Method+request.URL.Path]++
					switch seen[request.Method+request.URL.Path] {
					case 1:
						panic(http.ErrAbortHandler)
					case 2:
						http.Error(w, "", http.StatusServiceUnavailable)
					default:
						pass.ServeHTTP(w, request)
					}
				})
			})
			if err := do(t.Context(), image.Client{}, address+"/shop/web", digest); err != nil {
				t.Error(err)
			}
		})
	}
}

// A manifest that is not what its digest says is not taken for it.
func TestForgedManifest(t *testing.T) {
	t.Parallel()
	r := registrytest.Start(t, registrytest.Options{})
	digest := registrytest.Push(t, r.Address, "shop/web:v1")
	address := r.Behind(t, func(pass http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
			if strings.Contains(request.URL.Path, "/manifests/") {
				w.Header().Set("Docker-Content-Digest", digest)
				_, _ = w.Write([]byte(`{"schemaVersion": 2}`))
				return
			}
			pass.ServeHTTP(w, request)
		})
	})
	failure{fault.Failed, "answers with something else than it was asked for", ""}.check(t, "by its digest",
		errorOf(image.Client{}.Resolve(t.Context(), address+"/shop/web", digest)))
	got, err := image.Client{}.Resolve(t.Context(), address+"/shop/web", "v1")
	if err != nil || got.Digest == digest {
		t.Errorf("by its tag: what was sent is not %s: %v, %v", digest, got, err)
	}
}

// Each call ends in its time, and when its caller gives up.
func TestFrozenRegistry(t *testing.T) {
	t.Parallel()
	r := registrytest.Start(t, registrytest.Options{})
	digest := registrytest.Push(t, r.Address, "shop/web:v1")
	r.Freeze(t)
	for call, do := range calls {
		t.Run(call, func(t *testing.T) {
			begin := time.Now()
			err := do(t.Context(), image.Limited(image.Client{}, time.Second), r.Address+"/shop/web", digest)
			failure{fault.Unavailable, "does not answer in time", "curl -i"}.check(t, "its own limit", err)
			ctx, cancel := context.WithCancel(t.Context())
			timer := time.AfterFunc(200*time.Millisecond, cancel)
			defer timer.Stop()
			failure{fault.Unavailable, "it was cancelled", ""}.check(t, "the caller's", do(ctx, image.Client{}, r.Address+"/shop/web", digest))
			if took := time.Since(begin); took > 15*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
	r.Thaw(t)
	if err := calls["Move"](t.Context(), image.Client{}, r.Address+"/shop/web", digest); err != nil {
		t.Errorf("after it goes on: %v", err)
	}
}

// A registry that is restarted between two calls, in maintenance, or with a tag that its crash left in pieces.
func TestRegistryThatChanges(t *testing.T) {
	t.Parallel()
	r := registrytest.Start(t, registrytest.Options{})
	web, client := r.Address+"/shop/web", image.Client{}
	old := registrytest.Push(t, r.Address, "shop/web:latest")
	newer := registrytest.Push(t, r.Address, "shop/web:v2")
	r.Stop(t)
	failure{fault.Unavailable, "does not answer", "curl -i"}.check(t, "it is down", errorOf(client.Resolve(t.Context(), web, "v2")))
	r.Run(t)
	if got, err := client.Resolve(t.Context(), web, "v2"); err != nil || got.Digest != newer {
		t.Errorf("after a restart: %v, %v", got, err)
	}
	r.Stop(t)
	r.Configure(t, registrytest.Options{ReadOnly: true})
	r.Run(t)
	failure{fault.Failed, "refuses it (405 method not allowed)", "see whether the repository is read-only"}.check(t, "it takes no writes",
		client.Move(t.Context(), web, "latest", newer))
	if err := client.Move(t.Context(), web, "latest", old); err != nil {
		t.Errorf("and needs none: %v", err)
	}
	r.Stop(t)
	r.Configure(t, registrytest.Options{})
	r.BreakTag(t, "shop/web", "latest")
	r.Run(t)
	failure{fault.Unavailable, "cannot do it now (500", ""}.check(t, "a tag in pieces", errorOf(client.Current(t.Context(), web, "latest")))
	if err := client.Move(t.Context(), web, "latest", newer); err != nil {
		t.Errorf("it is mended: %v", err)
	}
	if got, err := client.Current(t.Context(), web, "latest"); err != nil || got != newer {
		t.Errorf("it names %s, want %s: %v", got, newer, err)
	}
}
