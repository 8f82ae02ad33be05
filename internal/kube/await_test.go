package kube_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
)

func read(t *testing.T, r *http.Request) string {
	t.Helper()
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	return string(raw)
}

func TestAwait(t *testing.T) {
	const both = settings + "\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: shop}}"
	type outcome struct {
		Code       fault.Code
		Text, Hint string
		Told       []string
	}
	tests := map[string]struct {
		reason string
		there  string
		states map[string][]kube.State // by kind; the last one stays
		stop   bool                    // by the caller, instead of by the deadline
		broken bool
		want   outcome
	}{
		"ready": {reason: "nothing is told where nothing was waited for", there: both, states: map[string][]kube.State{}},
		"in a row": {reason: "what is waited for is told when it changes", there: both, states: map[string][]kube.State{
			"ConfigMap": {{Why: "a"}, {Why: "a"}, {Ready: true}}, "Namespace": {{Why: "b"}, {Why: "b"}, {Why: "b"}, {Ready: true}},
		}, want: outcome{Told: []string{"waiting for ConfigMap shop/settings: a (and 1 more)", "waiting for Namespace shop: b"}}},
		"failed": {
			reason: "it is not waited for, and the hint is a command that works", there: both,
			states: map[string][]kube.State{"ConfigMap": {{Failed: true, Why: "broken"}}},
			want: outcome{
				Code: fault.Failed, Text: "ConfigMap shop/settings is not ready: broken",
				Hint: "see its pods and events: kubectl --context canned describe -n shop ConfigMap settings",
			},
		},
		"failed without a namespace": {
			reason: "kubectl is told none", there: both,
			states: map[string][]kube.State{"Namespace": {{Failed: true, Why: "broken"}}},
			want: outcome{
				Code: fault.Failed, Text: "Namespace shop is not ready: broken",
				Hint: "see its pods and events: kubectl --context canned describe Namespace shop",
			},
		},
		"too late": {
			reason: "the message has what it waited for", there: both, states: map[string][]kube.State{"ConfigMap": {{Why: "a"}}},
			want: outcome{
				Code: fault.Failed, Text: "not ready in time: waiting for ConfigMap shop/settings: a",
				Hint: "see its pods and events, or give it a longer timeout", Told: []string{"waiting for ConfigMap shop/settings: a"},
			},
		},
		"not there": {
			reason: "an object that nobody has applied is not ready", there: "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}",
			want: outcome{
				Code: fault.Failed, Text: "not ready in time: waiting for ConfigMap shop/settings: it is not there yet",
				Hint: "see its pods and events, or give it a longer timeout", Told: []string{"waiting for ConfigMap shop/settings: it is not there yet"},
			},
		},
		"interrupted": {
			reason: "somebody stopped it: that is no failure of the objects", there: both, stop: true,
			states: map[string][]kube.State{"ConfigMap": {{Why: "a"}}},
			want: outcome{
				Code: fault.Interrupted, Text: "the wait for 1 objects was interrupted: context canceled",
				Told: []string{"waiting for ConfigMap shop/settings: a"},
			},
		},
		"no answer": {
			reason: "the caller decides whether to try again", there: both, broken: true,
			want: outcome{Code: fault.Unavailable, Text: "cannot read ConfigMap shop/settings: gone fishing", Hint: "the API server of canned did not do it now; try again"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := kubetest.Show(t, test.there)
			if test.broken {
				server.Refuse("/api/v1/namespaces/shop/configmaps/settings", apierrors.NewServiceUnavailable("gone fishing"))
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2200*time.Millisecond)
			defer cancel()
			var got outcome
			err := server.Connect(t).Await(ctx, kubetest.Objects(t, both), script(test.states), func(format string, args ...any) {
				got.Told = append(got.Told, fmt.Sprintf(format, args...))
				if test.stop {
					cancel()
				}
			})
			if got.Code, got.Hint = fault.CodeOf(err), fault.HintOf(err); err != nil {
				got.Text = err.Error()
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

// script judges the objects of each kind by a list of states, one after the other; those of other kinds are ready.
func script(states map[string][]kube.State) kube.Judge {
	next := map[string]*int{}
	for kind := range states {
		next[kind] = new(int)
	}
	return func(_ context.Context, found *unstructured.Unstructured) (kube.State, error) {
		list := states[found.GetKind()]
		if len(list) == 0 {
			return kube.State{Ready: true}, nil
		}
		i := next[found.GetKind()] // there is one object of each kind, so nobody else has it
		state := list[min(*i, len(list)-1)]
		*i++
		return state, nil
	}
}

func TestAwaitEndsWhenTheJudgeCannot(t *testing.T) {
	broken := errors.New("cannot judge")
	err := kubetest.Show(t, settings).Connect(t).Await(t.Context(), kubetest.Objects(t, settings),
		func(context.Context, *unstructured.Unstructured) (kube.State, error) { return kube.State{}, broken }, silent)
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}
