package release

import (
	"context"

	"github.com/crossfade-dev/crossfade/internal/release/colour"
)

// Front leads the users who come in from outside to versions of a service, ahead of its Kubernetes Services, which lead everybody else. It
// keeps nothing in memory: every method observes first, may be stopped anywhere, and may be called again. Errors that are not of code
// fault.Unavailable are final.
type Front interface {
	// Led are the colours that users are led to, in order: none before the first time, several while they are shared out, or when a
	// switch was interrupted.
	Led(ctx context.Context) ([]colour.Colour, error)
	// Prepare makes it possible to lead users to the version of a colour. Users notice nothing.
	Prepare(ctx context.Context, c colour.Colour) error
	// Lead leads share percent of the users to the version of a colour, and the others to the one before, which is colour.None when there
	// is none, and returns when it is so.
	Lead(ctx context.Context, c, before colour.Colour, share int) error
	// Remove takes away what there is for a version that no user is led to.
	Remove(ctx context.Context, c colour.Colour) error
}

// Checker is a Front that can tell, before anything is touched, that it could not lead users.
type Checker interface {
	// Check refuses with an error of code fault.Refused what would keep it from leading users to the next version.
	Check(ctx context.Context) error
}

// gather leads all users from outside to where the Kubernetes Services lead, which is where they have not all been when a part of the front has
// come back as it was long ago. It returns what stands then.
func (b *BlueGreen) gather(ctx context.Context, s State) (State, error) {
	inside, err := b.inside(ctx)
	if err != nil || len(s.Led) < 2 || len(inside) != 1 {
		return s, err
	}
	b.Progress("some users of %s from outside are not led to its %s version, as those inside are; leading them there", b.Name, inside[0])
	if err := b.front().Lead(ctx, inside[0], colour.None, 100); err != nil {
		return s, err
	}
	return b.Observe(ctx)
}

// Drainer is a Front that goes on to lead on whoever was connected before the last time that it led users elsewhere.
type Drainer interface {
	// Draining counts what may still lead somebody to the version before, such as processes that have not ended. An error means that it cannot be
	// counted.
	Draining(ctx context.Context) (int, error)
}

// draining counts what of the front may still lead somebody to the version before.
func (b *BlueGreen) draining(ctx context.Context) (int, error) {
	if d, can := b.front().(Drainer); can {
		return d.Draining(ctx)
	}
	return 0, nil
}

// check asks the front whether it can lead users.
func (b *BlueGreen) check(ctx context.Context) error {
	if c, can := b.front().(Checker); can {
		return c.Check(ctx)
	}
	return nil
}

// none is the front of a service whose users all come through its Kubernetes Services.
type none struct{}

// Led names no colour: nobody is led from outside.
func (none) Led(context.Context) ([]colour.Colour, error) { return nil, nil }

// Prepare has nothing to prepare.
func (none) Prepare(context.Context, colour.Colour) error { return nil }

// Lead leaves the users to the Services.
func (none) Lead(context.Context, colour.Colour, colour.Colour, int) error { return nil }

// Remove has nothing to remove.
func (none) Remove(context.Context, colour.Colour) error { return nil }

func (b *BlueGreen) front() Front {
	if b.Front == nil {
		return none{}
	}
	return b.Front
}

// Share leads share percent of the users who come in from outside to the next version, and the others to the live one. It is not done
// unless the next version is as Switch wants it.
func (b *BlueGreen) Share(ctx context.Context, share int) error {
	state, err := b.fit(ctx)
	if err != nil {
		return err
	}
	return b.front().Lead(ctx, state.Next, state.Old, share)
}

// Open leads the users who come in from outside to the version of a cluster in which there is no other one.
func (b *BlueGreen) Open(ctx context.Context) error {
	state, err := b.Observe(ctx)
	if err != nil {
		return err
	}
	if err := b.front().Prepare(ctx, state.Next); err != nil {
		return err
	}
	return b.front().Lead(ctx, state.Next, colour.None, 100)
}
