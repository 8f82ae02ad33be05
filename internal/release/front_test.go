package release_test

import (
	"context"
	"slices"
	"testing"

	"github.com/crossfade-dev/crossfade/internal/release/colour"
)

// memory is a front that only remembers.
type memory struct {
	led  []colour.Colour
	told []colour.Colour // to lead all users to, one after the other
}

func (m *memory) Led(context.Context) ([]colour.Colour, error) { return m.led, nil }
func (m *memory) Prepare(context.Context, colour.Colour) error { return nil }
func (m *memory) Remove(context.Context, colour.Colour) error  { return nil }
func (m *memory) Draining(context.Context) (int, error)        { return 3, nil }
func (m *memory) Lead(_ context.Context, c, _ colour.Colour, _ int) error {
	m.led, m.told = []colour.Colour{c}, append(m.told, c)
	return nil
}

// testGathered begins with users from outside who are not led to where those inside are.
func testGathered(t *testing.T, l *lab, ns string) {
	l.first(t, at(ns, "v1", web))
	b, front := l.run(t, "two", at(ns, "v2", web)), &memory{led: []colour.Colour{colour.Blue, colour.Green}}
	b.Front = front
	ok(t, "stage", b.Stage)
	if !slices.Equal(front.told, []colour.Colour{colour.Blue}) {
		t.Errorf("users from outside are led to %v, want them all to be led to blue, as those inside are", front.told)
	}
	state, err := b.Observe(t.Context())
	if err != nil || state.Next != colour.Green || !state.Staged {
		t.Errorf("the next version is %+v, want it to be staged in green: %v", state, err)
	}
	ok(t, "stage again", b.Stage)
	if len(front.told) != 1 {
		t.Errorf("when they are led to one version, they are led on: %v", front.told)
	}
	ok(t, "switch", b.Switch)
	l.reach(t, ns, "v2")
	if n, err := b.Connections(t.Context(), colour.Blue); err == nil && n < 3 {
		t.Errorf("%d connections, want those of the front to be counted, too", n)
	}
}
