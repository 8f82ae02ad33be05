package part

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/tools/bench/crowd"
)

// seeders is how many objects are created at once.
const seeders = 24

// Seed creates the objects of a crowd in a cluster, as the people and the controllers that such objects are of.
func Seed(ctx context.Context, access cluster.Access, c crowd.Crowd) error {
	config, err := Config(access)
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	s := &seeder{client: client, uids: map[string]string{}}
	for stage := range c.Stages() {
		if err := s.plant(ctx, stage); err != nil {
			return err
		}
	}
	return nil
}

type seeder struct {
	client dynamic.Interface
	lock   sync.Mutex
	uids   map[string]string // by key
}

func (s *seeder) plant(ctx context.Context, stage iter.Seq[crowd.Object]) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(seeders)
	for obj := range stage {
		group.Go(func() error { return s.create(ctx, obj) })
	}
	return group.Wait()
}

func (s *seeder) create(ctx context.Context, obj crowd.Object) error {
	manager := "kubectl-create"
	if obj.Made {
		manager = "kube-controller-manager"
	}
	if obj.Owner != "" {
		s.lock.Lock()
		obj.Owned(s.uids[obj.Owner])
		s.lock.Unlock()
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		created, err := s.client.Resource(obj.Resource).Namespace(obj.GetNamespace()).Create(ctx, obj.Unstructured, metav1.CreateOptions{FieldManager: manager})
		if err == nil {
			s.lock.Lock()
			defer s.lock.Unlock()
			s.uids[obj.Key()] = string(created.GetUID())
			return nil
		}
		if !errors.IsNotFound(err) || time.Now().After(deadline) { // a kind that was defined just now
			return fmt.Errorf("cannot create %s: %w", obj.Key(), err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}
