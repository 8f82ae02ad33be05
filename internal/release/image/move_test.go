package image_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/release/image"
	"github.com/crossfade-dev/crossfade/internal/release/image/registrytest"
)

// writes returns an address at which the registry is reached and a function that tells what was written there by then.
func writes(t *testing.T, r *registrytest.Registry) (string, func() []string) {
	var lock sync.Mutex
	var seen []string
	address := r.Behind(t, func(pass http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet && r.Method != http.MethodHead {
				lock.Lock()
				seen = append(seen, r.Method+" "+r.URL.Path)
				lock.Unlock()
			}
			pass.ServeHTTP(w, r)
		})
	})
	return address, func() []string {
		lock.Lock()
		defer lock.Unlock()
		return slices.Clone(seen)
	}
}

func TestMove(t *testing.T) {
	t.Parallel()
	r := registrytest.Start(t, registrytest.Options{})
	old := registrytest.Push(t, r.Address, "shop/web:v1")
	newer := registrytest.Push(t, r.Address, "shop/web:v2")
	index := registrytest.PushIndex(t, r.Address, "shop/web:multi")
	other := registrytest.Push(t, r.Address, "shop/orders:v7")
	const put = "PUT /v2/shop/web/manifests/"
	tests := []struct { // one after the other, on the same registry
		reason      string
		tag, digest string
		writes      []string
		want        string
		failure     failure
	}{
		{reason: "a tag that was not there", tag: "latest", digest: old, writes: []string{put + "latest"}, want: old},
		{reason: "it names that already: nothing is written", tag: "latest", digest: old, want: old},
		{reason: "onwards", tag: "latest", digest: newer, writes: []string{put + "latest"}, want: newer},
		{reason: "to an index", tag: "latest", digest: index, writes: []string{put + "latest"}, want: index},
		{reason: "and again", tag: "latest", digest: index, want: index},
		{reason: "back", tag: "latest", digest: old, writes: []string{put + "latest"}, want: old},
		{reason: "another name", tag: "good", digest: newer, writes: []string{put + "good"}, want: newer},
		{
			reason: "to what is in another repository", tag: "latest", digest: other, want: old,
			failure: failure{fault.Invalid, "cannot find " + other + " in ", "v2"},
		},
		{
			reason: "to what is nowhere", tag: "new", digest: absent,
			failure: failure{fault.Invalid, "cannot find " + absent + " in ", "v2"},
		},
		{reason: "to a tag", tag: "latest", digest: "v2", want: old, failure: failure{fault.Invalid, `cannot use the digest "v2"`, "sha256"}},
	}
	address, seen := writes(t, r)
	for _, tc := range tests {
		before := len(seen())
		err := image.Client{}.Move(t.Context(), address+"/shop/web", tc.tag, tc.digest)
		tc.failure.check(t, tc.reason, err)
		if diff := cmp.Diff(tc.writes, slices.Clip(seen()[before:]), cmp.Transformer("", func(s []string) string { return strings.Join(s, ",") })); diff != "" {
			t.Errorf("%s: writes, -want +got\n%s", tc.reason, diff)
		}
		if got, err := (image.Client{}).Current(t.Context(), r.Address+"/shop/web", tc.tag); err != nil || got != tc.want {
			t.Errorf("%s: the tag names %q, want %q: %v", tc.reason, got, tc.want, err)
		}
	}
	for _, bad := range []string{"", "..", "a:b", "a/b"} {
		failure{fault.Invalid, "cannot use the tag", "a version is a tag"}.check(t, bad, image.Client{}.Move(t.Context(), address+"/shop/web", bad, old))
	}
	failure{fault.Invalid, "cannot use the image repository", "without tag"}.check(t, "a repository with a tag",
		image.Client{}.Move(t.Context(), address+"/shop/web:v1", "latest", old))
}

// disturbed is one move, and what goes wrong in the middle of it.
type disturbed struct {
	*testing.T
	registry *registrytest.Registry
	cancel   context.CancelFunc // of the move
	once     sync.Once
}

// What goes wrong in the middle of a move, and what is there afterwards. Each case has a registry of its own with the tag at an
// old digest, and moves it to a new one; then, undisturbed, once more.
func TestMoveThatIsDisturbed(t *testing.T) {
	t.Parallel()
	const cut = 0
	tests := map[string]struct {
		reason  string
		get     func(d *disturbed)                                        // before the manifest is read
		put     func(d *disturbed, pass func()) (status int, body string) // instead of the write; cut for no answer
		failure failure
		moved   bool // by then
		other   bool // the tag is elsewhere by then
	}{
		"AnswerLost": {
			reason: "whether it was written is looked at",
			put:    func(_ *disturbed, pass func()) (int, string) { pass(); return cut, "" },
			moved:  true,
		},
		"Error": {
			reason: "an error after the write was done",
			put:    func(_ *disturbed, pass func()) (int, string) { pass(); return http.StatusInternalServerError, "" },
			moved:  true,
		},
		"Cut": {
			reason:  "the write does not come through",
			put:     func(*disturbed, func()) (int, string) { return cut, "" },
			failure: failure{fault.Unavailable, "does not answer: EOF", "see that it is up and reachable"},
		},
		"Killed": {
			reason: "the registry dies",
			put: func(d *disturbed, _ func()) (int, string) {
				d.once.Do(func() { d.registry.Stop(d.T) })
				return cut, ""
			},
			failure: failure{fault.Unavailable, "cannot move the tag latest of ", "see that it is up and reachable"},
		},
		"Swallowed": {
			reason:  "a registry that says yes and does nothing, or answers readers from a cache",
			put:     func(*disturbed, func()) (int, string) { return http.StatusCreated, "" },
			failure: failure{fault.Unavailable, "the tag latest of ", "something else moves it, too"},
		},
		"Contended": {
			reason: "somebody else writes after us",
			put: func(d *disturbed, pass func()) (int, string) {
				pass()
				registrytest.Push(d.T, d.registry.Address, "shop/web:latest")
				return http.StatusCreated, ""
			},
			failure: failure{fault.Unavailable, "the tag latest of ", "something else moves it, too"},
			other:   true,
		},
		"Busy": {
			reason:  "a registry that has no time",
			put:     func(*disturbed, func()) (int, string) { return http.StatusTooManyRequests, "" },
			failure: failure{fault.Unavailable, "cannot do it now (429 too many requests)", ""},
		},
		"Denied": {
			reason:  "credentials that may read only",
			put:     func(*disturbed, func()) (int, string) { return http.StatusForbidden, `{"errors":[{"code":"DENIED"}]}` },
			failure: failure{fault.Failed, "asks for credentials", "docker login 127.0.0.1"},
		},
		"Immutable": {
			reason: "a registry whose tags stay",
			put: func(*disturbed, func()) (int, string) {
				return http.StatusBadRequest, `{"errors":[{"code":"TAG_INVALID","message":"the tag exists,\nand is immutable"}]}`
			},
			failure: failure{fault.Failed, "refuses it (400 bad request, TAG_INVALID)", "its tags are immutable"},
		},
		"Cancelled": {
			reason: "after the context is cancelled nothing is written",
			get:    func(d *disturbed) { d.cancel() },
			put: func(d *disturbed, pass func()) (int, string) {
				d.Error("it was written after it was cancelled")
				return cut, ""
			},
			failure: failure{fault.Unavailable, "it was cancelled", ""},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := registrytest.Start(t, registrytest.Options{})
			old := registrytest.Push(t, r.Address, "shop/web:latest")
			newer := registrytest.Push(t, r.Address, "shop/web:v2")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			d := &disturbed{T: t, registry: r, cancel: cancel}
			address := r.Behind(t, func(pass http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
					if tc.get != nil && strings.HasSuffix(request.URL.Path, newer) {
						tc.get(d)
					}
					if request.Method != http.MethodPut {
						pass.ServeHTTP(w, request)
						return
					}
					status, body := tc.put(d, func() { pass.ServeHTTP(httptest.NewRecorder(), request) })
					if status == cut {
						panic(http.ErrAbortHandler)
					}
					w.WriteHeader(status)
					_, _ = w.Write([]byte(body))
				})
			})
			tc.failure.check(t, tc.reason, image.Client{}.Move(ctx, address+"/shop/web", "latest", newer))
			r.Stop(t)
			r.Run(t)
			want := old
			if tc.moved {
				want = newer
			}
			got, err := image.Client{}.Current(t.Context(), r.Address+"/shop/web", "latest")
			if err != nil || (got != want) != tc.other {
				t.Errorf("%s: the tag names %s, want %s: %v", tc.reason, got, want, err)
			}
			if err := (image.Client{}).Move(t.Context(), r.Address+"/shop/web", "latest", newer); err != nil {
				t.Errorf("%s: once more: %v", tc.reason, err)
			}
			if got, err := (image.Client{}).Current(t.Context(), r.Address+"/shop/web", "latest"); err != nil || got != newer {
				t.Errorf("%s: once more: the tag names %s, want %s: %v", tc.reason, got, newer, err)
			}
		})
	}
}

// Readers of a tag that is moved to and fro get one digest or the other, never anything else and never nothing.
func TestReadersOfAMovingTag(t *testing.T) {
	t.Parallel()
	const moves, readers = 40, 4
	r := registrytest.Start(t, registrytest.Options{})
	web, client := r.Address+"/shop/web", image.Client{}
	digests := []string{registrytest.Push(t, r.Address, "shop/web:latest"), registrytest.PushIndex(t, r.Address, "shop/web:v2")}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var reading sync.WaitGroup
	for range readers {
		reading.Go(func() {
			seen := map[string]int{}
			for ctx.Err() == nil {
				now, err := client.Resolve(t.Context(), web, "latest")
				if err != nil || !slices.Contains(digests, now.Digest) {
					t.Errorf("a reader got %q, %v", now.Digest, err)
				}
				seen[now.Digest]++
			}
			if len(seen) < len(digests) {
				t.Errorf("the reader saw no move: %v", seen)
			}
		})
	}
	for i := range moves {
		if err := client.Move(t.Context(), web, "latest", digests[(i+1)%2]); err != nil {
			t.Error(err)
		}
	}
	stop()
	reading.Wait()
}

// Many who move one tag at once, without the lock that they should hold: the tag names what one of them asked for, and who finds
// that it is not what it asked for may try again.
func TestMoversWithoutALock(t *testing.T) {
	t.Parallel()
	const movers = 6
	r := registrytest.Start(t, registrytest.Options{})
	web := r.Address + "/shop/web"
	var digests []string
	for range movers {
		digests = append(digests, registrytest.Push(t, r.Address, "shop/web:some"))
	}
	var moving sync.WaitGroup
	for _, digest := range digests {
		moving.Go(func() {
			if err := (image.Client{}).Move(t.Context(), web, "latest", digest); err != nil && !fault.Retryable(err) {
				t.Error(err)
			}
		})
	}
	moving.Wait()
	got, err := image.Client{}.Current(t.Context(), web, "latest")
	if err != nil || !slices.Contains(digests, got) {
		t.Errorf("the tag names %q, %v", got, err)
	}
}
