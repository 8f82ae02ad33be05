package objects

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
)

// refusedLimit is how many writes in a row the other cluster may be unable to do before the copy stops and says why: a full
// disk shows like this.
const refusedLimit = 24

// lookAgain is how often a cluster that does not answer is asked whether it does.
const lookAgain = 250 * time.Millisecond

// errOverwhelmed is in the tree of an error that says that a cluster answers, and cannot do what it is asked to.
var errOverwhelmed = errors.New("takes no writes")

// stops reports whether an error ends the copy of everything, rather than of one object or kind.
func stops(err error) bool { return errors.Is(err, errOverwhelmed) || kube.Unreachable(err) }

// insist does something, again while a cluster does not answer, until patience ends.
func (c *copier) insist(ctx context.Context, do func() error) error {
	for {
		err := do()
		if !kube.Unreachable(err) || ctx.Err() != nil || c.Patience == 0 {
			return err
		}
		c.Progress("waiting: %v", err)
		if !c.bothAnswer(ctx) {
			return err
		}
	}
}

// bothAnswer waits until both clusters are ready to serve, for as long as patience lasts.
func (c *copier) bothAnswer(ctx context.Context) bool {
	deadline := time.NewTimer(c.Patience)
	defer deadline.Stop()
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	for {
		if c.from.Healthy(ctx) == nil && c.to.Healthy(ctx) == nil {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-deadline.C:
			return false
		case <-again.C:
		}
	}
}

// markOf returns what tells the objects copied from a cluster from all others: a digest of the UID of a namespace that every
// cluster has, or of the name of the context where that may not be read.
func markOf(ctx context.Context, c *kube.Cluster) (string, error) {
	namespace, err := c.Find(ctx, schema.GroupKind{Kind: "Namespace"}, "", "kube-system")
	identity := c.Access().Context
	switch {
	case err == nil && namespace != nil:
		identity = string(namespace.GetUID())
	case err != nil && fault.Retryable(err):
		return "", err
	}
	digest := sha256.Sum256([]byte(identity))
	return hex.EncodeToString(digest[:4]) + "-", nil
}
