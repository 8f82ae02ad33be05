// Package fault is the one error type of Crossfade: what happened, where, for which input, and what to do about it.
// It is translated once at each edge: into an exit code by the command line, into a status by the API, into a
// retry or a final failure by the engine.
package fault

import (
	"errors"
	"fmt"
)

// Code says what kind of failure an error is. Each code has one exit status and says whether trying again can help.
type Code string

// The codes, with their exit status.
const (
	Failed      Code = "failed"      // 1: an act did not succeed, and trying again will not help
	Unavailable Code = "unavailable" // 1: a peer does not answer now; trying again can help
	Invalid     Code = "invalid"     // 2: bad usage or configuration
	Trouble     Code = "trouble"     // 2: what was to be compared could not be
	Refused     Code = "refused"     // 3: a check or a gate said no
	Undecided   Code = "undecided"   // 3: a gate could not tell
	Locked      Code = "locked"      // 4: frozen, or locked by another run
	Interrupted Code = "interrupted" // 5: stopped before the end; the same command resumes
)

// Error is a failure that can be shown to a person as it is: one line, without secrets.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`        // "cannot ...": what, where, for which input
	Hint    string `json:"hint,omitempty"` // what to do about it
	Cause   error  `json:"-"`
}

// New makes an error of the given code. A %w in the format becomes the cause as well as part of the text.
func New(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	cause := errors.Unwrap(err)
	if _, several := err.(interface{ Unwrap() []error }); several { //nolint:errorlint // made just now
		cause = err
	}
	return &Error{Code: code, Message: err.Error(), Cause: cause}
}

// Error returns the message, without the hint.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// WithHint returns the error with advice on what to do.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// CodeOf returns the code of the outermost Error in err's chain, Failed for any other error, and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Failed
}

// HintOf returns the first hint in err's tree, or "".
func HintOf(err error) string {
	switch e := err.(type) { //nolint:errorlint // walking the tree by hand
	case *Error:
		if e.Hint != "" {
			return e.Hint
		}
		return HintOf(e.Cause)
	case interface{ Unwrap() error }:
		return HintOf(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, cause := range e.Unwrap() {
			if hint := HintOf(cause); hint != "" {
				return hint
			}
		}
	}
	return ""
}

// Retryable reports whether trying again can help: only errors of code Unavailable.
func Retryable(err error) bool { return CodeOf(err) == Unavailable }

// ExitStatus returns the documented exit status of the command line for err.
func ExitStatus(err error) int {
	switch CodeOf(err) {
	case "":
		return 0
	case Invalid, Trouble:
		return 2
	case Refused, Undecided:
		return 3
	case Locked:
		return 4
	case Interrupted:
		return 5
	default:
		return 1
	}
}
