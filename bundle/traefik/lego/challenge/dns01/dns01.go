// Package dns01 has the options of challenges by DNS.
package dns01

import (
	"strings"
	"time"
)

// ChallengeOption is an option.
type ChallengeOption func()

// Options are those of a client.
type Options struct{ RecursiveNameservers []string }

// Client is none.
type Client struct{}

// NewClient makes none.
func NewClient(*Options) *Client { return nil }

// SetDefaultClient does nothing.
func SetDefaultClient(*Client) {}

// UnFqdn returns a name without the dot at its end.
func UnFqdn(name string) string { return strings.TrimSuffix(name, ".") }

// LazyCondOption is no option.
func LazyCondOption(bool, func() ChallengeOption) ChallengeOption { return nil }

// CombineOptions is no option.
func CombineOptions(...ChallengeOption) ChallengeOption { return nil }

// CondOptions is no option.
func CondOptions(bool, ...ChallengeOption) ChallengeOption { return nil }

// DisableAuthoritativeNssPropagationRequirement is no option.
func DisableAuthoritativeNssPropagationRequirement() ChallengeOption { return nil }

// DisableRecursiveNSsPropagationRequirement is no option.
func DisableRecursiveNSsPropagationRequirement() ChallengeOption { return nil }

// PropagationWait is no option.
func PropagationWait(time.Duration, bool) ChallengeOption { return nil }
