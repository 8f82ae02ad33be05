// Package tlsalpn01 has the options of challenges by TLS.
package tlsalpn01

import (
	"errors"
	"time"
)

// ACMETLS1Protocol is how a challenge is told from other connections.
const ACMETLS1Protocol = "acme-tls/1"

// ChallengeOption is an option.
type ChallengeOption func()

// SetDelay is no option.
func SetDelay(time.Duration) ChallengeOption { return nil }

// ChallengeBlocks has no certificate for a challenge.
func ChallengeBlocks(_, _ string) (certificate, key []byte, err error) {
	return nil, nil, errors.ErrUnsupported
}
