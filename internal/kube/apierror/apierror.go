// Package apierror says what errors of the Kubernetes API mean: whether trying again can help, what a person can do, and who is at fault.
package apierror

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// Fault turns an error of the API of the cluster behind a context into a fault.Error: Unavailable when trying again can help,
// Failed otherwise. The format says what could not be done ("cannot ..."); an error that is a fault already is returned as it is.
func Fault(clusterContext string, err error, format string, args ...any) error {
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	code, hint := judge(err)
	text := fmt.Sprintf(format, args...) + ": " + Reason(err)
	failure := &fault.Error{Code: code, Message: text, Cause: err}
	if hint == "" {
		return failure
	}
	return failure.WithHint("%s", strings.ReplaceAll(hint, "CLUSTER", clusterContext))
}

// judge says whether an error of the API is final, and what to do about it. CLUSTER in the hint stands for the context.
func judge(err error) (fault.Code, string) {
	switch {
	case errors.Is(err, context.Canceled):
		return fault.Unavailable, ""
	case isTrust(err):
		return fault.Failed, "the certificate of the API server is not one that the kubeconfig trusts; fetch the kubeconfig of CLUSTER again"
	case apierrors.IsUnauthorized(err):
		return fault.Failed, "the credentials of the context CLUSTER are not, or no longer, valid; log in again"
	case apierrors.HasStatusCause(err, "NamespaceTerminating"):
		return fault.Unavailable, "the namespace is being deleted; wait until it is gone"
	case strings.Contains(err.Error(), "status unknown for quota"):
		return fault.Unavailable, "the quota was made just now, and CLUSTER has not counted yet what it limits; try again"
	case strings.Contains(err.Error(), "exceeded quota"):
		return fault.Failed, "raise the quota in CLUSTER, or delete there what it need not hold"
	case strings.Contains(err.Error(), "denied the request") || strings.Contains(err.Error(), "denied request"):
		return fault.Failed, "change the object, or the webhook or policy of CLUSTER that refuses it"
	case apierrors.IsForbidden(err) && !strings.Contains(err.Error(), `User "`):
		return fault.Failed, "a rule of CLUSTER refuses the object, whoever writes it; the message says which"
	case apierrors.IsForbidden(err):
		return fault.Failed, "the user of the context CLUSTER needs this permission"
	case apierrors.HasStatusCause(err, metav1.CauseTypeFieldManagerConflict):
		return fault.Failed, ""
	case isMissingNamespace(err):
		return fault.Failed, "apply the namespace before: in a step of priming, or with the service's own manifests"
	case ByWebhook(err):
		return fault.Unavailable, "see whether what answers for it runs and can be reached from the API server of CLUSTER"
	case strings.Contains(err.Error(), "database space exceeded"):
		return fault.Unavailable, "the disk that CLUSTER keeps its objects on is full: make room there (etcdctl compact, defrag, alarm disarm) or give it more"
	case Unreadable(err):
		return fault.Failed, "put the manifest right: the API server cannot read a value in it"
	case transientStatus(err):
		return fault.Unavailable, "the API server of CLUSTER did not do it now; try again"
	case meta.IsNoMatchError(err) || isMissingKind(err):
		return fault.Failed, "the cluster does not serve this kind: its CustomResourceDefinition must be applied before"
	case IsNetwork(err):
		return fault.Unavailable, "see that the API server of CLUSTER is up and reachable from here: kubectl --context CLUSTER version"
	default:
		return fault.Failed, ""
	}
}

// transientStatus reports whether the API server answered, and said in effect: not now.
func transientStatus(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	code := status.Status().Code
	return apierrors.IsConflict(err) || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code >= 500
}

// IsNetwork reports whether the API server could not be asked, or its answer was cut off.
func IsNetwork(err error) bool {
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	if _, ok := errors.AsType[*url.Error](err); ok {
		return true
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		strings.Contains(err.Error(), "http2: ") || strings.Contains(err.Error(), "connection refused")
}

// Unreachable reports whether an error of this package came about because the API server could not be asked, rather than
// because of what it answered.
func Unreachable(err error) bool { return err != nil && IsNetwork(err) && !answered(err) }

// ByWebhook reports whether an error came about because a webhook did not answer the API server, of admission or of conversion. It
// is about some objects then, and no matter of the API server's.
func ByWebhook(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "failed calling webhook") || strings.Contains(err.Error(), "conversion webhook for"))
}

// Unreadable reports whether the API server could not read a value of an object. To an apply it answers with 500 then, as if that were its
// own fault, and never takes the object.
func Unreadable(err error) bool {
	return err != nil && strings.Contains(err.Error(), "unable to convert unstructured object")
}

// NotServed reports whether an error came about because the API server does not serve a kind.
func NotServed(err error) bool { return meta.IsNoMatchError(err) || err != nil && isMissingKind(err) }

// RetryAfter is how long the API server asks to be left alone before a request that it had no time for is made again; 0 when it
// does not say.
func RetryAfter(err error) time.Duration {
	seconds, _ := apierrors.SuggestsClientDelay(err)
	return time.Duration(seconds) * time.Second
}

func answered(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && !isTimeout(err)
}

func isTrust(err error) bool {
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, host := errors.AsType[x509.HostnameError](err)
	_, invalid := errors.AsType[x509.CertificateInvalidError](err)
	return unknown || host || invalid
}

// isMissingKind recognises the 404 of a path whose kind is not served, as opposed to that of an object that is not there.
func isMissingKind(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || !apierrors.IsNotFound(err) {
		return false
	}
	details := status.Status().Details
	return details == nil || details.Name == "" || strings.Contains(err.Error(), "could not find the requested resource")
}

func isMissingNamespace(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && apierrors.IsNotFound(err) && status.Status().Details != nil && status.Status().Details.Kind == "namespaces"
}

// Reason is the cause of an error of the API in words a person can use: the API server's own message, or what the network said.
func Reason(err error) string {
	if isTimeout(err) {
		return "the API server did not answer " + boundOf(err)
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Message != "" {
		return strings.Join(strings.Fields(status.Status().Message), " ")
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

// boundOf is the bound of a request that was not answered, in words: it is in the request's address.
func boundOf(err error) string {
	if request, ok := errors.AsType[*url.Error](err); ok {
		if address, err := url.Parse(request.URL); err == nil {
			if bound, err := time.ParseDuration(address.Query().Get("timeout")); err == nil {
				return "within " + bound.String()
			}
		}
	}
	return "in time"
}

func isTimeout(err error) bool {
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return true
	}
	return errors.Is(err, context.DeadlineExceeded)
}
