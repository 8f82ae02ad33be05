package files_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/crossfade-dev/crossfade/bundle/velero/files"
)

const bucket = "b"

// open makes a store in a directory of its own, with objects of the given keys.
func open(t *testing.T, keys ...string) (*files.Store, string) {
	t.Helper()
	dir := t.TempDir()
	s := new(files.Store)
	if err := s.Init(map[string]string{"bucket": bucket, "directory": dir}); err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		put(t, s, key, "of "+key)
	}
	return s, dir
}

func put(t *testing.T, s *files.Store, key, content string) {
	t.Helper()
	if err := s.PutObject(bucket, key, strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, s *files.Store, key string) string {
	t.Helper()
	body, err := s.GetObject(bucket, key)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	raw, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestObject(t *testing.T) {
	s, _ := open(t)
	const key = "backups/one/one.tar.gz"
	for _, content := range []string{"first", "second, longer", "", strings.Repeat("large ", 1<<18)} {
		put(t, s, key, content)
		if got := get(t, s, key); got != content {
			t.Fatalf("put %d bytes, got %d", len(content), len(got))
		}
	}
	for range 2 {
		if err := s.DeleteObject(bucket, key); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.GetObject(bucket, key); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after its deletion: %v", err)
	}
}

func TestObjectExists(t *testing.T) {
	s, _ := open(t, "backups/one/log")
	tests := map[string]struct {
		reason, key string
		want        bool
	}{
		"there":        {"It was put there.", "backups/one/log", true},
		"not there":    {"Nobody put it there.", "backups/two/log", false},
		"only a part":  {"Keys are not directories.", "backups/one", false},
		"below a file": {"No key goes on after an object.", "backups/one/log/more", false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := s.ObjectExists(bucket, tc.key)
			if got != tc.want || (tc.want && err != nil) {
				t.Errorf("%s got %v, %v", tc.reason, got, err)
			}
		})
	}
}

func TestLists(t *testing.T) {
	s, _ := open(t, "backups/two/log", "backups/one/log", "backups/one/data", "backups-of-old/log", "top/backups/log")
	tests := map[string]struct {
		reason, bucket, prefix string
		keys, prefixes         []string
	}{
		"everything": {
			"No prefix is the prefix of all.", bucket, "",
			[]string{"backups-of-old/log", "backups/one/data", "backups/one/log", "backups/two/log", "top/backups/log"},
			[]string{"backups-of-old/", "backups/", "top/"},
		},
		"a directory":        {"Each name below it counts once.", bucket, "backups/", []string{"backups/one/data", "backups/one/log", "backups/two/log"}, []string{"backups/one/", "backups/two/"}},
		"a part of names":    {"A prefix need not end at a delimiter.", bucket, "backups/o", []string{"backups/one/data", "backups/one/log"}, []string{"backups/one/"}},
		"nothing like it":    {"Nothing is no error.", bucket, "restores/", nil, nil},
		"a bucket not there": {"A bucket is there once something is in it.", "other", "", nil, nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			keys, err := s.ListObjects(tc.bucket, tc.prefix)
			if slices.Sort(keys); err != nil || !slices.Equal(keys, tc.keys) {
				t.Errorf("%s keys: got %v, %v; want %v", tc.reason, keys, err, tc.keys)
			}
			prefixes, err := s.ListCommonPrefixes(tc.bucket, tc.prefix, "/")
			if err != nil || !slices.Equal(prefixes, tc.prefixes) {
				t.Errorf("%s prefixes: got %v, %v; want %v", tc.reason, prefixes, err, tc.prefixes)
			}
		})
	}
}

// TestCutOff: what could not be written as a whole is not there, and what was there before still is.
func TestCutOff(t *testing.T) {
	s, dir := open(t, "old")
	broken := errors.New("the sender is gone")
	for _, key := range []string{"old", "new"} {
		body := io.MultiReader(strings.NewReader("half of it"), iotest.ErrReader(broken))
		if err := s.PutObject(bucket, key, body); !errors.Is(err, broken) {
			t.Errorf("%s: got %v", key, err)
		}
	}
	if got := get(t, s, "old"); got != "of old" {
		t.Errorf("the old object is %q", got)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil || !slices.Equal(left, []string{filepath.Join(dir, bucket, "old")}) {
		t.Errorf("left: %v, %v", left, err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestOutside: no key leads out of the directory.
func TestOutside(t *testing.T) {
	s, dir := open(t)
	outside := filepath.Join(filepath.Dir(dir), "outside")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	const key = "../../outside"
	if err := s.PutObject(bucket, key, strings.NewReader("x")); err == nil {
		t.Error("it writes outside")
	}
	if body, err := s.GetObject(bucket, key); err == nil {
		body.Close()
		t.Error("it reads outside")
	}
	if there, err := s.ObjectExists(bucket, key); there || err == nil {
		t.Errorf("it looks outside: %v, %v", there, err)
	}
	if err := s.DeleteObject(bucket, key); err == nil {
		t.Error("it deletes outside")
	}
}

func TestRefuses(t *testing.T) {
	s, dir := open(t)
	if _, err := s.CreateSignedURL(bucket, "x", time.Minute); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("an URL: %v", err)
	}
	for name, config := range map[string]map[string]string{"none": nil, "missing": {"directory": filepath.Join(dir, "missing")}} {
		if err := new(files.Store).Init(config); err == nil || !strings.Contains(err.Error(), "directory") {
			t.Errorf("directory %s: %v", name, err)
		}
	}
}
