// Package image finds the image that a version of a service stands for, and moves tags, in any registry of the OCI
// distribution specification. Credentials are those of the docker configuration, or of podman's when there is none.
// Plain HTTP is spoken only to what is on loopback or a private network (RFC 1918), and to sockets.
package image

import (
	"cmp"
	"context"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// callLimit is how long one call may take, with all its requests and their repetitions.
const callLimit = time.Minute

// Version is one version of a service's image.
type Version struct {
	Repository string // as the service names it
	Tag        string // as it was asked for; "" when it was asked for by digest
	Digest     string // ALGORITHM:HEX; of the index when there are images for several platforms
}

// Reference returns what runs: the image by its digest, which no tag that moves later can change.
func (v Version) Reference() string { return v.Repository + "@" + v.Digest }

// Client talks to registries. The zero value reaches them by their names. It keeps nothing between calls, and may be used by
// several at once. Repositories are named without tag or digest: registry.example.com/shop/web.
//
// Errors of its methods are final (fault.Invalid, fault.Failed) or can go away by themselves (fault.Unavailable: the registry
// does not answer, or says to come back later). Short hiccups are bridged; else the caller tries again.
type Client struct {
	// Sockets are Unix sockets at which registries are reached instead of by their host names, by host name. The registry of
	// local clusters has a name that only their nodes know, and takes writes only at its socket.
	Sockets map[string]string

	limit time.Duration // instead of callLimit, for tests
}

// Resolve finds out which image a version is: a tag or a digest, alone or after the name of the repository. It asks once, and
// a tag may name another image by the next call: what is to be the same later is Digest. The image was in the repository
// when Resolve returned it. fault.Invalid says that there is no such version, and the hint which there are.
func (c Client) Resolve(ctx context.Context, repository, version string) (Version, error) {
	s, err := c.open(ctx, repository)
	if err != nil {
		return Version{}, err
	}
	ref, tag, err := s.version(version)
	if err != nil {
		return Version{}, err
	}
	ctx, cancel := c.bound(ctx)
	defer cancel()
	// Not only its head: a digest that was computed from the manifest is right, whatever the registry says of it.
	found, err := s.puller.Get(ctx, ref)
	if isMissing(err) {
		return Version{}, s.noVersion(ctx, ref, err)
	} else if err != nil {
		return Version{}, s.fault(ctx, err, "cannot find %s in %s", ref.Identifier(), s.name)
	}
	return Version{Repository: repository, Tag: tag, Digest: found.Digest.String()}, nil
}

// Current returns the digest that a tag names, or "" when the repository has no such tag or does not exist.
func (c Client) Current(ctx context.Context, repository, tag string) (string, error) {
	s, err := c.open(ctx, repository)
	if err != nil {
		return "", err
	}
	ref, err := s.tag(tag)
	if err != nil {
		return "", err
	}
	ctx, cancel := c.bound(ctx)
	defer cancel()
	return s.current(ctx, ref)
}

// Move makes a tag name exactly the image or index of a digest that the repository has. It looks first, and writes nothing when
// the tag names that already, so it may be called twice; then it writes one manifest under the tag, nothing else; then it
// looks whether that is what readers get, also when it could not tell whether the write came through. Readers of the tag get
// the old digest or the new one.
//
// Registries cannot compare and swap: a write that comes between looking and writing is lost. So callers hold a lock for each
// repository and tag. Without one, the last write wins; who looks after it and finds another digest gets fault.Unavailable,
// but one that looked before it believes to have moved the tag, and has not.
func (c Client) Move(ctx context.Context, repository, tag, digest string) error {
	s, err := c.open(ctx, repository)
	if err != nil {
		return err
	}
	to, err := s.tag(tag)
	if err != nil {
		return err
	}
	from, err := s.digest(digest)
	if err != nil {
		return err
	}
	ctx, cancel := c.bound(ctx)
	defer cancel()
	// A tag that cannot be read may be one that a crash of the registry left in pieces: writing it mends it.
	if now, err := s.current(ctx, to); err == nil && now == digest {
		return nil
	}
	manifest, err := s.puller.Get(ctx, from)
	if isMissing(err) {
		return s.noVersion(ctx, from, err)
	} else if err != nil {
		return s.fault(ctx, err, "cannot find %s in %s", digest, s.name)
	}
	failure := s.pusher.Put(ctx, to, manifest)
	now, err := s.current(ctx, to)
	switch {
	case err == nil && now == digest:
		return nil
	case failure != nil:
		return s.refusedWrite(ctx, failure, "cannot move the tag %s of %s to %s", tag, s.name, digest)
	case err != nil:
		return err
	}
	return fault.New(fault.Unavailable, "the tag %s of %s does not name %s after it was moved there, but %s", tag, s.name, digest, cmp.Or(now, "nothing")).
		WithHint("something else moves it, too, such as a pipeline that pushes %s: let it push tags of its own", tag)
}

// bound gives a call its time.
func (c Client) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.limit > 0 {
		return context.WithTimeout(ctx, c.limit)
	}
	return context.WithTimeout(ctx, callLimit)
}
