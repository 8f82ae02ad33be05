package image

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

const (
	maxPages       = 10 // of a thousand tags each, that are looked through for a suggestion
	maxSuggestions = 5
	maxAlike       = 2 // of the suggestions
)

// suggest says which versions there are, for somebody who asked for one that there is not.
func (s *session) suggest(ctx context.Context, wanted string) string {
	tags, err := s.list(ctx)
	answer, answered := errors.AsType[*transport.Error](err)
	near := nearest(tags, wanted)
	switch {
	case answered && answer.StatusCode == http.StatusNotFound, err == nil && len(near) == 0:
		return "the repository has no tags, or does not exist: push the image first, or correct the service's image"
	case err != nil:
		return "push it first, or name a version that is there"
	case len(near) < len(tags):
		return fmt.Sprintf("the repository has %s and others", strings.Join(near, ", "))
	default:
		return "the repository has " + strings.Join(near, ", ")
	}
}

// list returns the tags of the repository, or the first ones of very many.
func (s *session) list(ctx context.Context) ([]string, error) {
	pages, err := s.puller.Lister(ctx, s.repository)
	if err != nil {
		return nil, err
	}
	var tags []string
	for range maxPages {
		if !pages.HasNext() {
			break
		}
		page, err := pages.Next(ctx)
		if err != nil {
			return nil, err
		}
		tags = append(tags, page.Tags...)
	}
	// Signatures and other attachments of an image are under tags made of its digest.
	return slices.DeleteFunc(tags, func(tag string) bool { return strings.HasPrefix(tag, "sha256-") }), nil
}

// nearest returns a few of the tags: those spelt like the wanted one, then the next semantic versions above and below it, then
// the newest ones, then others.
func nearest(tags []string, wanted string) []string {
	tags = newestFirst(tags)
	near := alike(tags, wanted)
	if w, err := semver.NewVersion(wanted); err == nil {
		versions := slices.DeleteFunc(slices.Clone(tags), func(tag string) bool { return !isVersion(tag) })
		below := slices.IndexFunc(versions, func(tag string) bool { return semver.MustParse(tag).LessThan(w) })
		if below < 0 {
			below = len(versions)
		}
		near = append(near, versions[max(below-1, 0):min(below+1, len(versions))]...)
	}
	var few []string
	for _, tag := range append(near, tags...) {
		if len(few) < maxSuggestions && !slices.Contains(few, tag) {
			few = append(few, tag)
		}
	}
	return few
}

func isVersion(tag string) bool {
	_, err := semver.NewVersion(tag)
	return err == nil
}

// newestFirst orders tags: semantic versions first, the highest of them first, then others, the last of them by name first.
func newestFirst(tags []string) []string {
	return slices.SortedFunc(slices.Values(tags), func(a, b string) int {
		va, erra := semver.NewVersion(a)
		vb, errb := semver.NewVersion(b)
		switch {
		case erra == nil && errb == nil && !va.Equal(vb):
			return vb.Compare(va)
		case (erra == nil) != (errb == nil):
			if erra == nil {
				return -1
			}
			return 1
		}
		return strings.Compare(b, a)
	})
}

// alike returns the tags that begin with the wanted one, or it with them, the closest first: v1.2.3 for 1.2.3, a commit's long
// name for its short one.
func alike(tags []string, wanted string) []string {
	plain := func(tag string) string { return strings.TrimPrefix(strings.ToLower(tag), "v") }
	w := plain(wanted)
	found := slices.DeleteFunc(slices.Clone(tags), func(tag string) bool {
		return !strings.HasPrefix(plain(tag), w) && !strings.HasPrefix(w, plain(tag))
	})
	distance := func(tag string) int { return max(len(plain(tag))-len(w), len(w)-len(plain(tag))) }
	slices.SortStableFunc(found, func(a, b string) int { return distance(a) - distance(b) })
	return found[:min(len(found), maxAlike)]
}
