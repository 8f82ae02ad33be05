package fault

import (
	"errors"
	"fmt"
	"testing"
)

func TestOf(t *testing.T) {
	cause := New(Unavailable, "it does not answer").WithHint("start it")
	tests := map[string]struct {
		reason string
		err    error
		code   Code
		hint   string
		status int
		again  bool
	}{
		"None":     {reason: "no error is success", err: nil},
		"Foreign":  {reason: "errors of others are failures", err: errors.New("x"), code: Failed, status: 1},
		"Plain":    {reason: "its own code and hint", err: cause, code: Unavailable, hint: "start it", status: 1, again: true},
		"Wrapped":  {reason: "found below others' wrapping", err: fmt.Errorf("y: %w", cause), code: Unavailable, hint: "start it", status: 1, again: true},
		"Outer":    {reason: "the outermost code counts, and the first hint", err: New(Refused, "no: %w", cause), code: Refused, hint: "start it", status: 3},
		"Joined":   {reason: "found among several", err: errors.Join(errors.New("x"), cause), code: Unavailable, hint: "start it", status: 1, again: true},
		"Untold":   {reason: "a gate that cannot tell has not said yes", err: New(Undecided, "x"), code: Undecided, status: 3},
		"Usage":    {reason: "documented status", err: New(Invalid, "x"), code: Invalid, status: 2},
		"Locked":   {reason: "documented status", err: New(Locked, "x"), code: Locked, status: 4},
		"Resumes":  {reason: "documented status", err: New(Interrupted, "x"), code: Interrupted, status: 5},
		"OwnFirst": {reason: "an error's own hint comes first", err: New(Failed, "x: %w", cause).WithHint("mine"), code: Failed, hint: "mine", status: 1},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := CodeOf(tc.err); got != tc.code {
				t.Errorf("%s: code %q, want %q", tc.reason, got, tc.code)
			}
			if got := HintOf(tc.err); got != tc.hint {
				t.Errorf("%s: hint %q, want %q", tc.reason, got, tc.hint)
			}
			if got := ExitStatus(tc.err); got != tc.status {
				t.Errorf("%s: exit status %d, want %d", tc.reason, got, tc.status)
			}
			if got := Retryable(tc.err); got != tc.again {
				t.Errorf("%s: retryable %v, want %v", tc.reason, got, tc.again)
			}
		})
	}
}
