package nginxctl

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseState(t *testing.T) {
	got, err := parseState("boot b1\nnow 12\nmaster 3\nworker 4 10\nleaving 5 9\n")
	want := State{Boot: "b1", Now: 12, Master: true, Workers: []Worker{{Start: 10}, {Start: 9, Leaving: true}}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, -want +got\n%s", err, diff)
	}
	for _, text := range []string{"", "boot b1\n", "now 12\n", "boot b1\nnow twelve\n", "boot b1\nnow 12\nworker x 1\n"} {
		if s, err := parseState(text); err == nil {
			t.Errorf("%q is read as %+v", text, s)
		}
	}
}
