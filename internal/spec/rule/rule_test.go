package rule

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

func TestHolds(t *testing.T) {
	fresh := Figures{Requests: 200, ErrorRate: 0.01, P50: 10 * time.Millisecond, P90: 130 * time.Millisecond, P99: 2 * time.Second}
	old := Figures{Requests: 3000, ErrorRate: 0.002, P50: 10 * time.Millisecond, P90: 100 * time.Millisecond, P99: time.Second}
	for text, want := range map[string]bool{
		"new.errorRate < 0.003":                    false,
		"new.errorRate <= old.errorRate + 0.008":   true,
		"new.p90 <= 1.2 * old.p90":                 false,
		"new.p90 <= 1.4 * old.p90":                 true,
		"new.p50 == old.p50 && old.requests > 100": true,
		"new.p99 < 1.5 || new.requests < 100":      false,
		"old.p99 == 1.0":                           true,
		"old.p99 >= 1 && new.requests < 200.5":     true,
	} {
		r, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := r.Holds(fresh, old); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestParseWrong(t *testing.T) {
	for text, says := range map[string]string{
		"":                         "it is empty",
		"new.errorRate <":          "Syntax error",
		"new.errorrate < 0.1":      "there is no new.errorrate",
		"new.errorRate + 1.0":      "it is a double, not a condition",
		"new.p90 < 2 * old.p90":    "no matching overload for '_*_'",
		"newer.errorRate < 0.1":    "undeclared reference to 'newer'",
		"new.requests > true":      "no matching overload for '_>_'",
		"new.errorRate < 0.1 && x": "undeclared reference to 'x'",
	} {
		_, err := Parse(text)
		if fault.CodeOf(err) != fault.Invalid || fault.HintOf(err) == "" || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want one line of code invalid that says %s", text, err, says)
		}
	}
}

func TestCondition(t *testing.T) {
	c, err := ParseCondition("value < 0.01 && value >= 0.0")
	if err != nil {
		t.Fatal(err)
	}
	for value, want := range map[float64]bool{0: true, 0.005: true, 0.01: false, -1: false, math.NaN(): false, math.Inf(1): false} {
		if got, err := c.Holds(value); err != nil || got != want {
			t.Errorf("%v: %v, %v; want %v", value, got, err, want)
		}
	}
	for _, text := range []string{"", "value", "value < true", "new.errorRate < 0.1", "value <"} {
		if _, err := ParseCondition(text); fault.CodeOf(err) != fault.Invalid || !strings.Contains(fault.HintOf(err), "value < 0.01") {
			t.Errorf("%q: %v, want an error of code invalid with an example", text, err)
		}
	}
}

func TestHoldsCannotBeWorkedOut(t *testing.T) {
	r, err := Parse("new.requests / old.requests > 1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Holds(Figures{Requests: 1}, Figures{}); fault.CodeOf(err) != fault.Failed {
		t.Errorf("%v, want an error of code failed", err)
	}
}
