package write

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestImmutable(t *testing.T) {
	invalid := func(text string) error {
		return fmt.Errorf("cannot apply: %w", &apierrors.StatusError{ErrStatus: metav1.Status{Reason: metav1.StatusReasonInvalid, Code: http.StatusUnprocessableEntity, Message: text}})
	}
	tests := map[string]struct {
		err  error
		want bool
	}{
		"a field":                  {invalid(`Deployment.apps "web" is invalid: spec.selector: Invalid value: {}: field is immutable`), true},
		"a stateful set":           {invalid(`updates to statefulset spec for fields other than 'replicas' are forbidden`), true},
		"a role":                   {invalid(`roleRef: Invalid value: cannot change roleRef`), true},
		"a pod":                    {invalid(`pod updates may not change fields other than`), true},
		"a rule":                   {invalid(`Shop.example.com "a" is invalid: spec.size: Invalid value: 2: failed rule: self == oldSelf`), true},
		"another way":              {invalid(`spec.name: Forbidden: cannot be modified`), true},
		"another mistake":          {invalid(`spec.replicas: Invalid value: -1: must be greater than or equal to 0`), false},
		"not of the API":           {errors.New("field is immutable"), false},
		"of a webhook, not a rule": {&apierrors.StatusError{ErrStatus: metav1.Status{Reason: metav1.StatusReasonForbidden, Message: "immutable"}}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := immutable(test.err); got != test.want {
				t.Errorf("%v: got %t", test.err, got)
			}
		})
	}
}
