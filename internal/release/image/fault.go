package image

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// isMissing reports whether the registry said that it has no such manifest, rather than that it has no such page at all.
func isMissing(err error) bool {
	answer, ok := errors.AsType[*transport.Error](err)
	return ok && answer.StatusCode == http.StatusNotFound && answer.Request != nil && strings.Contains(answer.Request.URL.Path, "/manifests/")
}

// noVersion says that the repository has no such tag or digest, and what it has.
func (s *session) noVersion(ctx context.Context, ref name.Reference, cause error) error {
	hint := s.suggest(ctx, ref.Identifier())
	message := fmt.Sprintf("cannot find the version %s of %s: the repository has no such tag", ref.Identifier(), s.name)
	if _, ok := ref.(name.Digest); ok {
		message = fmt.Sprintf("cannot find %s in %s: it is a digest of another repository, or was removed from this one", ref.Identifier(), s.name)
	}
	return &fault.Error{Code: fault.Invalid, Message: message, Hint: hint, Cause: cause}
}

// refusedWrite is fault for a write: what the registry refuses to write it may well have let be read.
func (s *session) refusedWrite(ctx context.Context, err error, format string, args ...any) error {
	failure := s.fault(ctx, err, format, args...)
	if failure.Code == fault.Failed && failure.Hint == "" {
		return failure.WithHint("the registry lets this be read, and not be written: see whether the repository is read-only or its tags are immutable")
	}
	return failure
}

// fault says what could not be done ("cannot ...") and why, in one line, without secrets.
func (s *session) fault(ctx context.Context, err error, format string, args ...any) *fault.Error {
	code, reason, hint := s.judge(ctx, err)
	return &fault.Error{Code: code, Message: fmt.Sprintf(format, args...) + ": " + reason, Hint: hint, Cause: err}
}

// judge says whether an error is final, why it came about, and what to do about it.
func (s *session) judge(ctx context.Context, err error) (code fault.Code, reason, hint string) {
	host := s.host()
	var answer *transport.Error
	switch _, untrusted := errors.AsType[*tls.CertificateVerificationError](err); {
	case errors.Is(ctx.Err(), context.Canceled):
		return fault.Unavailable, "it was cancelled", ""
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fault.Unavailable, "the registry " + host + " does not answer in time", "see that it is up and reachable from here: curl -i " + s.url()
	case untrusted:
		return fault.Failed, "the certificate of the registry " + host + " is not one that this machine trusts", "add the authority that signed it to the machine's trusted certificates"
	case s.repository.Scheme() == "https" && errors.Is(err, http.ErrSchemeMismatch):
		return fault.Failed, "the registry " + host + " speaks plain HTTP", "serve it by HTTPS; plain HTTP is spoken only to addresses on loopback and private networks"
	case errors.As(err, &answer):
		return s.judgeAnswer(answer)
	case isNetwork(err):
		return fault.Unavailable, "the registry " + host + " does not answer: " + s.network(err), "see that it is up and reachable from here: curl -i " + s.url()
	default:
		return fault.Failed, "the registry " + host + " answers with something else than it was asked for: " + oneLine(err), ""
	}
}

// judgeAnswer is judge for an answer of the registry, or of what gives out its tokens.
func (s *session) judgeAnswer(answer *transport.Error) (code fault.Code, reason, hint string) {
	host, says := s.host(), fmt.Sprintf("%d %s", answer.StatusCode, strings.ToLower(http.StatusText(answer.StatusCode)))
	switch status := answer.StatusCode; {
	case (status == http.StatusUnauthorized || status == http.StatusForbidden) && !s.known:
		return fault.Failed, "the registry " + host + " asks for credentials, and the docker configuration has none (" + says + ")", "docker login " + host
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return fault.Failed, "the registry " + host + " refuses the credentials (" + says + ")",
			"docker login " + host + " as somebody who may do this; some registries answer so, too, when there is no such repository"
	case status >= http.StatusInternalServerError || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout:
		return fault.Unavailable, "the registry " + host + " cannot do it now (" + says + ")", ""
	case status == http.StatusNotFound:
		return fault.Failed, host + " is no image registry, or the wrong path of one (" + says + ")", "see what answers: curl -i " + s.url()
	default:
		return fault.Failed, "the registry " + host + " refuses it (" + says + codeOf(answer) + ")", ""
	}
}

// codeOf is the code that the registry gives for what it refuses, such as UNSUPPORTED (OCI distribution specification, "Error
// codes"). Its words are left out, as they may repeat what it was sent.
func codeOf(answer *transport.Error) string {
	if len(answer.Errors) == 0 {
		return ""
	}
	code := string(answer.Errors[0].Code)
	if code == "" || len(code) > 40 || strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") != "" {
		return ""
	}
	return ", " + code
}

func (s *session) url() string { return s.repository.Scheme() + "://" + s.host() + "/v2/" }

func isNetwork(err error) bool {
	_, request := errors.AsType[*url.Error](err)
	_, connection := errors.AsType[net.Error](err)
	return request || connection || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// network is the reason of an error of the network, without the request. Where plain HTTP is spoken HTTPS was tried as well, and
// what came of that is of no interest.
func (s *session) network(err error) string {
	if at, ok := errors.AsType[*net.OpError](err); ok {
		return at.Error()
	}
	if _, reason, ok := strings.Cut(oneLine(err), fmt.Sprintf("%q: ", s.url())); ok {
		return reason
	}
	if at, ok := errors.AsType[*url.Error](err); ok {
		err = at.Err
	}
	return oneLine(err)
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
