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
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// withCause adds a cause to what an API server answers.
func withCause(err *apierrors.StatusError, kind metav1.CauseType, text, field string) error {
	if err.ErrStatus.Details == nil {
		err.ErrStatus.Details = &metav1.StatusDetails{}
	}
	err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{Type: kind, Message: text, Field: field})
	return err
}

func dial(err error) error { return &url.Error{Op: "Get", URL: "https://10.0.0.1/api", Err: err} }

// The hints, by what a person is to do.
const (
	hintTry     = "the API server of blue did not do it now; try again"
	hintReach   = "see that the API server of blue is up and reachable from here: kubectl --context blue version"
	hintTrust   = "the certificate of the API server is not one that the kubeconfig trusts; fetch the kubeconfig of blue again"
	hintLogin   = "the credentials of the context blue are not, or no longer, valid; log in again"
	hintPermit  = "the user of the context blue needs this permission"
	hintKind    = "the cluster does not serve this kind: its CustomResourceDefinition must be applied before"
	hintEnding  = "the namespace is being deleted; wait until it is gone"
	hintQuota   = "raise the quota in blue, or delete there what it need not hold"
	hintDenied  = "change the object, or the webhook or policy of blue that refuses it"
	hintRule    = "a rule of blue refuses the object, whoever writes it; the message says which"
	hintWebhook = "see whether what answers for it runs and can be reached from the API server of blue"
	hintMissing = "apply the namespace before: in a step of priming, or with the service's own manifests"
)

// translated is what becomes of an error: what people and those who retry go by.
type translated struct {
	Code        fault.Code
	Text        string
	Hint        string
	Unreachable bool
}

func TestFault(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", errors.New("connection refused"))}
	tests := map[string]struct {
		reason string
		err    error
		want   translated
	}{
		"refused connection": {
			reason: "the API server is down, and may come back",
			err:    dial(refused),
			want:   translated{fault.Unavailable, `Get "https://10.0.0.1/api": dial tcp: connect: connection refused`, hintReach, true},
		},
		"a value that cannot be read": {
			reason: "it is no fault of the server, whatever its status says",
			err: apierrors.NewInternalError(errors.New(
				"failed to convert new object to proper version: unable to convert unstructured object to apps/v1, Kind=Deployment: quantities must match")),
			want: translated{
				fault.Failed, "Internal error occurred: failed to convert new object to proper version: unable to convert unstructured object to apps/v1, Kind=Deployment: quantities must match",
				"put the manifest right: the API server cannot read a value in it", false,
			},
		},
		"cut off": {
			reason: "an answer without an end is none",
			err:    io.ErrUnexpectedEOF, want: translated{fault.Unavailable, "unexpected EOF", hintReach, true},
		},
		"cut off in HTTP/2": {
			reason: "the library has no type for it",
			err:    errors.New("http2: server sent GOAWAY and closed the connection"),
			want:   translated{fault.Unavailable, "http2: server sent GOAWAY and closed the connection", hintReach, true},
		},
		"no answer": {
			reason: "the bound of a request is told, not Go's words for it",
			err:    context.DeadlineExceeded, want: translated{fault.Unavailable, "the API server did not answer in time", hintReach, true},
		},
		"no answer to a request": {
			reason: "the client wraps it",
			err:    dial(context.DeadlineExceeded), want: translated{fault.Unavailable, "the API server did not answer in time", hintReach, true},
		},
		"cancelled": {
			reason: "the caller stopped; there is nothing to advise",
			err:    dial(context.Canceled), want: translated{fault.Unavailable, `Get "https://10.0.0.1/api": context canceled`, "", true},
		},
		"a stranger's certificate": {
			reason: "a network error in its type, but no retry can help",
			err:    dial(x509.UnknownAuthorityError{}), want: translated{fault.Failed, `Get "https://10.0.0.1/api": x509: certificate signed by unknown authority`, hintTrust, true},
		},
		"an expired certificate": {
			reason: "as any certificate that is not trusted",
			err:    x509.CertificateInvalidError{Reason: x509.Expired, Detail: "two days ago"},
			want:   translated{fault.Failed, "x509: certificate has expired or is not yet valid: two days ago", hintTrust, false},
		},
		"another host's certificate": {
			reason: "as any certificate that is not trusted",
			err:    x509.HostnameError{Certificate: &x509.Certificate{DNSNames: []string{"a"}}, Host: "b"},
			want:   translated{fault.Failed, "x509: certificate is valid for a, not b", hintTrust, false},
		},
		"busy": {
			reason: "priority and fairness sends 429",
			err:    apierrors.NewTooManyRequests("slow down", 1), want: translated{fault.Unavailable, "slow down", hintTry, false},
		},
		"no leader": {
			reason: "etcd elects one within seconds",
			err:    apierrors.NewInternalError(errors.New("etcdserver: no leader")),
			want:   translated{fault.Unavailable, "Internal error occurred: etcdserver: no leader", hintTry, false},
		},
		"a webhook is down": {
			reason: "the API server answered, though its words are those of a network error",
			err:    apierrors.NewInternalError(errors.New(`failed calling webhook "check.example.com": dial tcp 10.96.0.9:443: connect: connection refused`)),
			want:   translated{fault.Unavailable, `Internal error occurred: failed calling webhook "check.example.com": dial tcp 10.96.0.9:443: connect: connection refused`, hintWebhook, false},
		},
		"a conversion webhook is down": {
			reason: "so the kind can be neither read nor written in this version",
			err:    apierrors.NewInternalError(errors.New(`conversion webhook for example.com/v1, Kind=Coupon failed: EOF`)),
			want:   translated{fault.Unavailable, `Internal error occurred: conversion webhook for example.com/v1, Kind=Coupon failed: EOF`, hintWebhook, false},
		},
		"the disk is full": {
			reason: "etcd takes nothing more until somebody makes room",
			err:    apierrors.NewInternalError(errors.New("etcdserver: mvcc: database space exceeded")),
			want: translated{
				fault.Unavailable, "Internal error occurred: etcdserver: mvcc: database space exceeded",
				"the disk that blue keeps its objects on is full: make room there (etcdctl compact, defrag, alarm disarm) or give it more", false,
			},
		},
		"no answer to a write": {
			reason: "a write may take longer than other requests",
			err:    &url.Error{Op: "Post", URL: "https://10.0.0.1/api?timeout=35s", Err: context.DeadlineExceeded},
			want:   translated{fault.Unavailable, "the API server did not answer within 35s", hintReach, true},
		},
		"shutting down": {
			reason: "503 while another API server takes over",
			err:    apierrors.NewServiceUnavailable("apiserver is shutting down"),
			want:   translated{fault.Unavailable, "apiserver is shutting down", hintTry, false},
		},
		"too slow inside": {
			reason: "the API server answered, that it had no time",
			err:    apierrors.NewTimeoutError("request did not complete", 1),
			want:   translated{fault.Unavailable, "Timeout: request did not complete", hintTry, false},
		},
		"a newer version": {
			reason: "a 409 of the resource version is over with the next read",
			err:    apierrors.NewConflict(pods, "a", errors.New("the object has been modified")),
			want:   translated{fault.Unavailable, `Operation cannot be fulfilled on pods "a": the object has been modified`, hintTry, false},
		},
		"another's field": {
			reason: "a 409 of field managers stays until somebody decides",
			err:    withCause(apierrors.NewApplyConflict(nil, `conflict with "gitops": .data.colour`), metav1.CauseTypeFieldManagerConflict, `conflict with "gitops"`, ".data.colour"),
			want:   translated{fault.Failed, `conflict with "gitops": .data.colour`, "", false},
		},
		"not allowed": {
			reason: "a role is missing",
			err:    apierrors.NewForbidden(pods, "a", errors.New(`User "ann" cannot get resource "pods"`)),
			want:   translated{fault.Failed, `pods "a" is forbidden: User "ann" cannot get resource "pods"`, hintPermit, false},
		},
		"over the quota": {
			reason: "a 403 too, and no role helps",
			err:    apierrors.NewForbidden(pods, "a", errors.New("exceeded quota: limit, requested: pods=1, used: pods=3, limited: pods=3")),
			want:   translated{fault.Failed, `pods "a" is forbidden: exceeded quota: limit, requested: pods=1, used: pods=3, limited: pods=3`, hintQuota, false},
		},
		"a quota that counts": {
			reason: "until its controller has counted, it lets nothing in",
			err:    apierrors.NewForbidden(pods, "a", errors.New("status unknown for quota: limit, resources: pods")),
			want: translated{
				fault.Unavailable, `pods "a" is forbidden: status unknown for quota: limit, resources: pods`,
				"the quota was made just now, and blue has not counted yet what it limits; try again", false,
			},
		},
		"refused by a webhook": {
			reason: "a 403 unless the webhook says otherwise",
			err:    apierrors.NewForbidden(pods, "a", errors.New(`admission webhook "check.example.com" denied the request: no`)),
			want:   translated{fault.Failed, `pods "a" is forbidden: admission webhook "check.example.com" denied the request: no`, hintDenied, false},
		},
		"refused by admission": {
			reason: "pod security, for one, is nothing about users",
			err:    apierrors.NewForbidden(pods, "a", errors.New(`violates PodSecurity "restricted:latest"`)),
			want:   translated{fault.Failed, `pods "a" is forbidden: violates PodSecurity "restricted:latest"`, hintRule, false},
		},
		"a namespace that ends": {
			reason: "a 403 too, but one that passes",
			err:    withCause(apierrors.NewForbidden(pods, "a", errors.New("namespace shop is being terminated")), "NamespaceTerminating", "", ""),
			want:   translated{fault.Unavailable, `pods "a" is forbidden: namespace shop is being terminated`, hintEnding, false},
		},
		"not logged in": {
			reason: "only a person can help",
			err:    apierrors.NewUnauthorized("token expired"), want: translated{fault.Failed, "token expired", hintLogin, false},
		},
		"invalid": {
			reason: "the API server's own words name the field; they come in one line",
			err: apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "a", field.ErrorList{
				field.Required(field.NewPath("spec", "containers"), "needs\n one"),
			}),
			want: translated{fault.Failed, `Pod "a" is invalid: spec.containers: Required value: needs one`, "", false},
		},
		"no such kind": {
			reason: "the mapper did not find it",
			err:    &meta.NoKindMatchError{GroupKind: schema.GroupKind{Group: "x.io", Kind: "X"}, SearchedVersions: []string{"v1"}},
			want:   translated{fault.Failed, `no matches for kind "X" in version "x.io/v1"`, hintKind, false},
		},
		"no such path": {
			reason: "the definition went away after the mapper had seen it",
			err:    apierrors.NewGenericServerResponse(http.StatusNotFound, "GET", schema.GroupResource{Group: "x.io", Resource: "xs"}, "", "404 page not found", 0, true),
			want:   translated{fault.Failed, "the server could not find the requested resource (get xs.x.io)", hintKind, false},
		},
		"no such namespace": {
			reason: "a 404 that is not about the object itself",
			err:    apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "shop"),
			want:   translated{fault.Failed, `namespaces "shop" not found`, hintMissing, false},
		},
		"no such object": {
			reason: "nothing to advise",
			err:    apierrors.NewNotFound(pods, "a"), want: translated{fault.Failed, `pods "a" not found`, "", false},
		},
		"wrapped": {
			reason: "ssa wraps what the API server said; the API server's words are enough",
			err:    fmt.Errorf("Pod/a dry-run failed: %w", apierrors.NewTooManyRequests("slow down", 1)),
			want:   translated{fault.Unavailable, "slow down", hintTry, false},
		},
		"of no kind": {
			reason: "what is not known is final",
			err:    errors.New("odd\n thing"), want: translated{fault.Failed, "odd thing", "", false},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := Fault("blue", test.err, "cannot read %s", "it")
			test.want.Text = "cannot read it: " + test.want.Text
			got := translated{fault.CodeOf(err), err.Error(), fault.HintOf(err), Unreachable(err)}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
			if !errors.Is(err, test.err) {
				t.Error("the cause is lost")
			}
		})
	}
}

func TestFaultIsTranslatedOnce(t *testing.T) {
	first := Fault("blue", io.EOF, "cannot read it")
	if second := Fault("blue", first, "cannot do more"); second != first { //nolint:errorlint // it must be the same one
		t.Errorf("%v was translated again: %v", first, second)
	}
	if Unreachable(nil) {
		t.Error("no error is not unreachable")
	}
}

// deaf is a network error that is no timeout.
type deaf struct{ timeout bool }

func (d deaf) Error() string   { return "deaf" }
func (d deaf) Timeout() bool   { return d.timeout }
func (d deaf) Temporary() bool { return false }

func TestReason(t *testing.T) {
	tests := map[string]struct {
		err  error
		want string
	}{
		"a request with a bound": {
			&url.Error{Op: "Get", URL: "https://10.0.0.1/api?timeout=10s", Err: context.DeadlineExceeded}, "the API server did not answer within 10s",
		},
		"a timeout of the network": {deaf{timeout: true}, "the API server did not answer in time"},
		"another network error":    {deaf{}, "deaf"},
		"an answer without words":  {&apierrors.StatusError{ErrStatus: metav1.Status{Code: 500}}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, Reason(test.err)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
