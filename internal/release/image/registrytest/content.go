package registrytest

import (
	"encoding/base64"
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// content is an image or an index.
type content interface {
	remote.Taggable
	Digest() (v1.Hash, error)
}

// Push makes an image unlike every other, pushes it to an address as "repository:tag", with the credentials of the docker
// configuration, and returns its digest.
func Push(t testing.TB, address, reference string) string {
	t.Helper()
	image, err := random.Image(64, 2)
	if err != nil {
		t.Fatal(err)
	}
	return push(t, address, reference, image)
}

// PushIndex is Push of an index of two images.
func PushIndex(t testing.TB, address, reference string) string {
	t.Helper()
	index, err := random.Index(64, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	return push(t, address, reference, index)
}

func push(t testing.TB, address, reference string, what content) string {
	t.Helper()
	tag, err := name.NewTag(address+"/"+reference, name.StrictValidation)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Push(tag, what, remote.WithContext(t.Context()), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		t.Fatal(err)
	}
	digest, err := what.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

// Login makes the docker configuration of the process, until the test ends, one with the credentials of a user at an
// address, or without any when the user is "". Tests that use it cannot run in parallel.
func Login(t testing.TB, address, user, password string) {
	t.Helper()
	accounts := map[string]map[string]string{}
	if user != "" {
		accounts[address] = map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(user + ":" + password))}
	}
	raw, err := json.Marshal(map[string]any{"auths": accounts})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "config.json"), string(raw))
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("HOME", dir)
}
