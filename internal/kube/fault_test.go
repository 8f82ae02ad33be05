package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
)

func TestFail(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	dial := &url.Error{Op: "Get", URL: "https://x", Err: errors.New("connect: connection refused")}
	tests := map[string]struct {
		err         error
		code        fault.Code
		unreachable bool
	}{
		"refused connection": {dial, fault.Unavailable, true},
		"cut off":            {io.ErrUnexpectedEOF, fault.Unavailable, true},
		"no answer":          {context.DeadlineExceeded, fault.Unavailable, true},
		"cancelled":          {context.Canceled, fault.Unavailable, false},
		"busy":               {apierrors.NewTooManyRequests("slow down", 1), fault.Unavailable, false},
		"no leader":          {apierrors.NewInternalError(errors.New("etcdserver: no leader")), fault.Unavailable, false},
		"a newer version":    {apierrors.NewConflict(pods, "a", errors.New("the object has been modified")), fault.Unavailable, false},
		"not allowed":        {apierrors.NewForbidden(pods, "a", errors.New("no")), fault.Failed, false},
		"not logged in":      {apierrors.NewUnauthorized("no"), fault.Failed, false},
		"invalid":            {apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "a", nil), fault.Failed, false},
		"no such kind":       {&meta.NoKindMatchError{GroupKind: schema.GroupKind{Kind: "X"}}, fault.Failed, false},
		"wrapped":            {fmt.Errorf("Pod/a dry-run failed: %w", apierrors.NewTooManyRequests("slow down", 1)), fault.Unavailable, false},
		"a fault already":    {fault.New(fault.Refused, "no"), fault.Refused, false},
	}
	c := &Cluster{access: cluster.Access{Context: "blue"}}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := c.Fault(test.err, "cannot do it")
			if fault.CodeOf(err) != test.code || Unreachable(err) != test.unreachable {
				t.Errorf("%q, unreachable %t: %v", fault.CodeOf(err), Unreachable(err), err)
			}
		})
	}
}

func TestChoosePort(t *testing.T) {
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80}, {Name: "admin", Port: 81}}},
	}
	tests := map[string]struct {
		port string
		want int32
		err  string
	}{
		"by name":   {port: "admin", want: 81},
		"by number": {port: "80", want: 80},
		"none":      {err: "cannot choose a port of the Service shop/web: it has 2"},
		"unknown":   {port: "x", err: "cannot route to the port x of the Service shop/web: it has no such port"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := choosePort(service, test.port)
			if got.Port != test.want || (err == nil) != (test.err == "") || err != nil && err.Error() != test.err {
				t.Errorf("%d, %v; want %d, %s", got.Port, err, test.want, test.err)
			}
		})
	}
}
