// Package http01 has the options of challenges by HTTP.
package http01

import "time"

// PathPrefix is where challenges are asked for.
const PathPrefix = "/.well-known/acme-challenge/"

// ChallengeOption is an option.
type ChallengeOption func()

// SetDelay is no option.
func SetDelay(time.Duration) ChallengeOption { return nil }
