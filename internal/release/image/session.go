package image

import (
	"context"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// pause is between the tries of one request, three in all: 0.2 and 0.6 seconds. The library's own pauses, of 1 and 3 seconds,
// go on when the caller has given up.
var pause = remote.Backoff{Duration: 200 * time.Millisecond, Factor: 3, Jitter: 0.1, Steps: 3}

// session is one call's access to a repository.
type session struct {
	name       string // as the caller names it
	repository name.Repository
	known      bool // there are credentials
	puller     *remote.Puller
	pusher     *remote.Pusher
}

// open reads the name of a repository and the credentials for it. It asks no registry.
func (c Client) open(ctx context.Context, repository string) (*session, error) {
	s := &session{name: repository}
	var err error
	if s.repository, err = name.NewRepository(repository); err != nil {
		return nil, fault.New(fault.Invalid, "cannot use the image repository %q: %w", repository, err).
			WithHint("name it without tag or digest, such as registry.example.com/shop/web")
	}
	credentials, err := authn.Resolve(ctx, authn.DefaultKeychain, s.repository)
	if err != nil { // what a broken file or helper says may hold the secret
		return nil, &fault.Error{
			Code: fault.Failed, Message: "cannot read the credentials for " + s.host() + " from the docker configuration", Cause: err,
			Hint: "see that the file is JSON and that its credential helpers work: docker login " + s.host(),
		}
	}
	s.known = credentials != authn.Anonymous
	options := []remote.Option{remote.WithAuth(credentials), remote.WithRetryBackoff(pause)}
	if socket := c.Sockets[s.host()]; socket != "" {
		options = append(options, remote.WithTransport(through(socket)))
		s.repository, err = name.NewRepository(repository, name.Insecure)
	}
	if err == nil {
		s.puller, err = remote.NewPuller(options...)
	}
	if err == nil {
		s.pusher, err = remote.NewPusher(options...)
	}
	if err != nil {
		return nil, fault.New(fault.Failed, "cannot make a client of the registry %s: %w", s.host(), err)
	}
	return s, nil
}

// through connects to a socket, whatever the address.
func through(socket string) http.RoundTripper {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true, // nobody would close the connections
	}
}

func (s *session) host() string { return s.repository.RegistryStr() }

// current returns the digest that a tag names, or "".
func (s *session) current(ctx context.Context, tag name.Tag) (string, error) {
	found, err := s.puller.Get(ctx, tag)
	if isMissing(err) {
		return "", nil
	} else if err != nil {
		return "", s.fault(ctx, err, "cannot see what the tag %s of %s names", tag.TagStr(), s.name)
	}
	return found.Digest.String(), nil
}

// version reads a tag or a digest, alone or after the name of the repository. The tag is "" for a digest.
func (s *session) version(text string) (name.Reference, string, error) {
	if strings.ContainsAny(text, "/@") {
		ref, err := name.ParseReference(text)
		if err != nil || !strings.HasSuffix(text, ref.Identifier()) { // the library says "latest" where nothing is said
			return nil, "", fault.New(fault.Invalid, "cannot use the version %q: it is no reference of an image", text).WithHint(versionHint)
		}
		if ref.Context().Name() != s.repository.Name() {
			return nil, "", fault.New(fault.Invalid, "cannot use the version %s: it is of the repository %s, and the service's image is %s",
				text, ref.Context().Name(), s.name).WithHint("name a tag or digest alone, or change the service's image")
		}
		text = ref.Identifier()
	}
	if strings.Contains(text, ":") {
		ref, err := s.digest(text)
		return ref, "", err
	}
	ref, err := s.tag(text)
	return ref, text, err
}

const versionHint = "a version is a tag, such as v1.4.0, or a digest: sha256: and 64 hexadecimal digits"

func (s *session) tag(text string) (name.Tag, error) {
	_, err := name.NewTag(s.repository.Name() + ":" + text)
	// A tag does not begin with a dot or a dash (OCI distribution specification, "Pulling manifests"), and the library does not
	// look. ".." would be another path of the registry.
	if err != nil || strings.IndexAny(text, ".-") == 0 {
		return name.Tag{}, fault.New(fault.Invalid, "cannot use the tag %q: a tag has up to 128 letters, digits, underscores, dots and dashes, and begins with none of the last two", text).
			WithHint(versionHint)
	}
	return s.repository.Tag(text), nil
}

func (s *session) digest(text string) (name.Digest, error) {
	if _, err := name.NewDigest(s.repository.Name() + "@" + text); err != nil {
		return name.Digest{}, fault.New(fault.Invalid, "cannot use the digest %q: it is malformed", text).WithHint(versionHint)
	}
	return s.repository.Digest(text), nil
}
