package image_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/release/image"
	"github.com/crossfade-dev/crossfade/internal/release/image/registrytest"
)

// absent is a digest that no repository has.
var absent = "sha256:" + strings.Repeat("ab", 32)

// want is what a failure is like.
type failure struct {
	code    fault.Code
	message string // part of it
	hint    string // part of it
}

// check compares an error with the failure.
func (f failure) check(t *testing.T, reason string, err error) {
	t.Helper()
	if got := fault.CodeOf(err); got != f.code {
		t.Fatalf("%s: code %q, want %q: %v", reason, got, f.code, err)
	}
	if err == nil {
		return
	}
	if !strings.Contains(err.Error(), f.message) {
		t.Errorf("%s: got %q, want %q", reason, err, f.message)
	}
	if hint := fault.HintOf(err); !strings.Contains(hint, f.hint) || f.hint == "" && hint != "" {
		t.Errorf("%s: hint %q, want %q", reason, hint, f.hint)
	}
	if text := err.Error() + fault.HintOf(err); strings.ContainsAny(text, "\n\t") || len(text) > 600 {
		t.Errorf("%s: more than one line: %q", reason, err)
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	r := registrytest.Start(t, registrytest.Options{})
	web, orders := r.Address+"/shop/web", r.Address+"/shop/orders"
	old := registrytest.Push(t, r.Address, "shop/web:v1.0.0")
	newer := registrytest.Push(t, r.Address, "shop/web:v1.1.0")
	index := registrytest.PushIndex(t, r.Address, "shop/web:multi")
	other := registrytest.Push(t, r.Address, "shop/orders:v7")
	tests := map[string]struct {
		reason     string
		repository string
		version    string
		want       image.Version
		failure    failure
	}{
		"Tag":          {reason: "a tag is the digest it names", version: "v1.0.0", want: image.Version{Tag: "v1.0.0", Digest: old}},
		"AnotherTag":   {reason: "each tag its own", version: "v1.1.0", want: image.Version{Tag: "v1.1.0", Digest: newer}},
		"Digest":       {reason: "a digest is itself, under no tag", version: old, want: image.Version{Digest: old}},
		"Index":        {reason: "an index is itself, not one of its images", version: "multi", want: image.Version{Tag: "multi", Digest: index}},
		"IndexDigest":  {reason: "by its digest, too", version: index, want: image.Version{Digest: index}},
		"FullTag":      {reason: "the repository may be named", version: web + ":v1.0.0", want: image.Version{Tag: "v1.0.0", Digest: old}},
		"FullDigest":   {reason: "before a digest, too", version: web + "@" + old, want: image.Version{Digest: old}},
		"TagAndDigest": {reason: "the digest counts", version: web + ":v1.1.0@" + old, want: image.Version{Digest: old}},
		"NoSuchTag": {
			reason: "what there is, the next ones first", version: "v1.0.1",
			failure: failure{fault.Invalid, "cannot find the version v1.0.1 of " + web + ": the repository has no such tag", "the repository has v1.1.0, v1.0.0, multi"},
		},
		"OtherDigest": {
			reason: "the registry has it, in another repository", version: other,
			failure: failure{fault.Invalid, "cannot find " + other + " in " + web + ": it is a digest of another repository", "the repository has v1.1.0"},
		},
		"NoSuchDigest": {
			reason: "a digest of nothing", version: absent,
			failure: failure{fault.Invalid, "cannot find " + absent, "the repository has v1.1.0"},
		},
		"OtherRepository": {
			reason: "another repository than the service's is no version of it", version: orders + "@" + other,
			failure: failure{fault.Invalid, "it is of the repository " + orders + ", and the service's image is " + web, "change the service's image"},
		},
		"OtherRegistry": {
			reason: "the same path elsewhere is another repository", version: "ghcr.io/shop/web:v1.0.0",
			failure: failure{fault.Invalid, "it is of the repository ghcr.io/shop/web", "change the service's image"},
		},
		"NoRepository": {
			reason: "the repository does not exist", repository: r.Address + "/shop/wbe", version: "v1.0.0",
			failure: failure{fault.Invalid, "cannot find the version v1.0.0", "the repository has no tags, or does not exist"},
		},
		"OnlyRepository":  {reason: "no version is not the latest", version: web, failure: failure{fault.Invalid, "no reference of an image", "a version is a tag"}},
		"Empty":           {reason: "nothing is no version", version: "", failure: failure{fault.Invalid, `cannot use the tag ""`, "a version is a tag"}},
		"BadTag":          {reason: "a character that tags do not have", version: "v1+2", failure: failure{fault.Invalid, `cannot use the tag "v1+2"`, "a version is a tag"}},
		"Path":            {reason: "a tag that leads elsewhere in the registry", version: "..", failure: failure{fault.Invalid, `cannot use the tag ".."`, "a version is a tag"}},
		"LongTag":         {reason: "a tag has 128 characters at most", version: strings.Repeat("x", 129), failure: failure{fault.Invalid, "cannot use the tag", "a version is a tag"}},
		"ShortDigest":     {reason: "a digest that was cut off", version: "sha256:abc", failure: failure{fault.Invalid, `cannot use the digest "sha256:abc"`, "64 hexadecimal digits"}},
		"UpperDigest":     {reason: "digests are in lower case", version: strings.ToUpper(absent), failure: failure{fault.Invalid, "it is malformed", "64 hexadecimal digits"}},
		"UnknownDigest":   {reason: "an algorithm that nobody has", version: "md5:" + strings.Repeat("a", 32), failure: failure{fault.Invalid, "it is malformed", "sha256:"}},
		"URL":             {reason: "a reference has no scheme", version: "http://" + web + ":v1.0.0", failure: failure{fault.Invalid, "no reference of an image", "a version is a tag"}},
		"BadRepository":   {reason: "a repository in upper case", repository: r.Address + "/Shop", version: "v1", failure: failure{fault.Invalid, "cannot use the image repository", "without tag or digest"}},
		"TagInRepository": {reason: "the tag is not part of the repository", repository: web + ":v1.0.0", version: "v1.0.0", failure: failure{fault.Invalid, "cannot use the image repository", "without tag or digest"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.repository == "" {
				tc.repository = web
			}
			if tc.failure.code == "" {
				tc.want.Repository = tc.repository
			}
			got, err := image.Client{}.Resolve(t.Context(), tc.repository, tc.version)
			tc.failure.check(t, tc.reason, err)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want +got\n%s", tc.reason, diff)
			}
		})
	}
	if got := (image.Version{Repository: web, Tag: "v1.0.0", Digest: old}).Reference(); got != web+"@"+old {
		t.Errorf("what runs is %s", got)
	}
}

// A tag that moves after it was resolved changes nothing: the digest is what runs.
func TestWipedRegistry(t *testing.T) {
	t.Parallel()
	r := registrytest.Start(t, registrytest.Options{})
	web, client := r.Address+"/shop/web", image.Client{}
	first := registrytest.Push(t, r.Address, "shop/web:v1")
	found, err := client.Resolve(t.Context(), web, "v1")
	if err != nil {
		t.Fatal(err)
	}
	second := registrytest.Push(t, r.Address, "shop/web:v1")
	if found.Digest != first || first == second {
		t.Fatalf("resolved %s, pushed %s and then %s", found.Digest, first, second)
	}
	r.WipeTags(t, "shop/web")
	r.Stop(t)
	r.Run(t)
	failure{fault.Invalid, "no such tag", "has no tags, or does not exist"}.check(t, "the tag is gone", errorOf(client.Resolve(t.Context(), web, "v1")))
	if now, err := client.Current(t.Context(), web, "v1"); err != nil || now != "" {
		t.Errorf("the tag that is gone names %q, %v", now, err)
	}
	for _, digest := range []string{first, second} {
		if _, err := client.Resolve(t.Context(), web, digest); err != nil {
			t.Errorf("without tags: %v", err)
		}
	}
	if err := client.Move(t.Context(), web, "latest", first); err != nil {
		t.Errorf("the tag is made anew: %v", err)
	}
	r.Stop(t)
	r.CollectGarbage(t)
	r.Run(t)
	if got, err := client.Resolve(t.Context(), web, "latest"); err != nil || got.Digest != first {
		t.Errorf("what a tag names outlives the garbage collection: %v, %v", got, err)
	}
	failure{fault.Invalid, "or was removed from this one", "the repository has latest"}.check(t, "what no tag names does not",
		errorOf(client.Resolve(t.Context(), web, second)))
}

func errorOf[T any](_ T, err error) error { return err }

func TestCurrent(t *testing.T) {
	t.Parallel()
	r := registrytest.Start(t, registrytest.Options{})
	digest := registrytest.Push(t, r.Address, "shop/web:v1")
	index := registrytest.PushIndex(t, r.Address, "shop/web:multi")
	tests := map[string]struct {
		reason          string
		repository, tag string
		want            string
		failure         failure
	}{
		"Image":        {reason: "the digest", repository: "/shop/web", tag: "v1", want: digest},
		"Index":        {reason: "of the index", repository: "/shop/web", tag: "multi", want: index},
		"NoTag":        {reason: "nothing", repository: "/shop/web", tag: "latest"},
		"NoRepository": {reason: "nothing, too", repository: "/shop/none", tag: "latest"},
		"Digest":       {reason: "a digest is no tag", repository: "/shop/web", tag: digest, failure: failure{fault.Invalid, "cannot use the tag", "a version is a tag"}},
		"Repository":   {reason: "no repository", repository: "/a b", tag: "v1", failure: failure{fault.Invalid, "cannot use the image repository", "without tag"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := image.Client{}.Current(t.Context(), r.Address+tc.repository, tc.tag)
			tc.failure.check(t, tc.reason, err)
			if got != tc.want {
				t.Errorf("%s: got %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}

// What the registry lists for the hint is bounded, and no failure of listing hides the error.
func TestSuggestionsAreBounded(t *testing.T) {
	t.Parallel()
	r := registrytest.Start(t, registrytest.Options{})
	registrytest.Push(t, r.Address, "shop/web:v1")
	tests := map[string]struct {
		reason string
		list   http.HandlerFunc
		hint   string
	}{
		"Endless": {
			reason: "a list without an end is not read to its end",
			list: func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Link", "<"+r.URL.Path+`?last=x>; rel="next"`)
				_, _ = w.Write([]byte(`{"tags": ["v1.0.0"]}`))
			},
			hint: "the repository has v1.0.0 and others",
		},
		"Refused": {
			reason: "some registries list for nobody",
			list:   func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", http.StatusForbidden) },
			hint:   "push it first, or name a version that is there",
		},
		"Garbage": {
			reason: "an answer that is none",
			list:   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
			hint:   "push it first, or name a version that is there",
		},
		"Empty": {
			reason: "all of its tags were deleted",
			list:   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"tags": null}`)) },
			hint:   "the repository has no tags, or does not exist: push the image first, or correct the service's image",
		},
		"Attachments": {
			reason: "a signature is no version",
			list: func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(`{"tags": ["sha256-0123.sig", "v1.0.0"]}`))
			},
			hint: "the repository has v1.0.0",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := 0
			address := r.Behind(t, func(pass http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if !strings.HasSuffix(r.URL.Path, "/tags/list") {
						pass.ServeHTTP(w, r)
						return
					}
					asked++
					tc.list(w, r)
				})
			})
			_, err := image.Client{}.Resolve(t.Context(), address+"/shop/web", "v2")
			failure{fault.Invalid, "no such tag", tc.hint}.check(t, tc.reason, err)
			if got := fault.HintOf(err); got != tc.hint {
				t.Errorf("%s: hint %q, want %q", tc.reason, got, tc.hint)
			}
			if asked > 10 {
				t.Errorf("%s: asked for %d pages", tc.reason, asked)
			}
		})
	}
}

func TestNearest(t *testing.T) {
	versions := []string{"v1.0.0", "v1.2.0", "v1.10.0", "v1.9.0", "v2.0.0", "v2.1.0-rc.1", "v2.1.0", "latest", "main"}
	tests := map[string]struct {
		reason string
		tags   []string
		wanted string
		want   []string
	}{
		"Next":       {reason: "the versions above and below, then the newest", tags: versions, wanted: "v1.4.0", want: []string{"v1.9.0", "v1.2.0", "v2.1.0", "v2.1.0-rc.1", "v2.0.0"}},
		"Above":      {reason: "newer than all", tags: versions, wanted: "v9", want: []string{"v2.1.0", "v2.1.0-rc.1", "v2.0.0", "v1.10.0", "v1.9.0"}},
		"Below":      {reason: "older than all: the oldest, then the newest", tags: []string{"v3.0.0", "v2.0.0", "v1.0.0"}, wanted: "v0.1.0", want: []string{"v1.0.0", "v3.0.0", "v2.0.0"}},
		"Oldest":     {reason: "older than all versions: other names are not below", tags: versions, wanted: "v0.1.0", want: []string{"v1.0.0", "v2.1.0", "v2.1.0-rc.1", "v2.0.0", "v1.10.0"}},
		"Spelling":   {reason: "v and no v of what is no semantic version", tags: []string{"x", "z", "v1.2.3.4"}, wanted: "1.2.3.4", want: []string{"v1.2.3.4", "z", "x"}},
		"Case":       {reason: "upper and lower case", tags: []string{"x", "z", "RELEASE-7"}, wanted: "release-7", want: []string{"RELEASE-7", "z", "x"}},
		"Letter":     {reason: "v and no v", tags: versions, wanted: "1.2.0", want: []string{"v1.2.0", "v1.0.0", "v2.1.0", "v2.1.0-rc.1", "v2.0.0"}},
		"Long":       {reason: "the long name of a commit for its short one", tags: []string{"v1.0.0", "3f2a9c1d77aa", "main"}, wanted: "3f2a9c1", want: []string{"3f2a9c1d77aa", "v1.0.0", "main"}},
		"Short":      {reason: "and the other way round", tags: []string{"v1.0.0", "3f2a9c1", "main"}, wanted: "3f2a9c1d77aa", want: []string{"3f2a9c1", "v1.0.0", "main"}},
		"Closest":    {reason: "the closest spelling first, and not all of them", tags: []string{"web-1-debug-x", "web-1-debug", "web-1-a", "v1.0.0"}, wanted: "web-1", want: []string{"web-1-a", "web-1-debug", "v1.0.0", "web-1-debug-x"}},
		"NoVersions": {reason: "other names from the last on", tags: []string{"a", "c", "b"}, wanted: "x", want: []string{"c", "b", "a"}},
		"None":       {reason: "nothing to say", wanted: "v1"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, image.Nearest(tc.tags, tc.wanted)); diff != "" {
				t.Errorf("%s: -want +got\n%s", tc.reason, diff)
			}
		})
	}
}
