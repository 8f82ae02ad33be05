package nginx

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/nginxctl"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
)

var written = file{service: "web", shares: Shares{colour.Blue: 95, colour.Green: 5}, was: []colour.Colour{colour.Blue}, boot: "b1", tick: 4711}

func TestFile(t *testing.T) {
	u := &Upstream{Service: "web", Name: "shop_web", Port: 30080}
	one := u.render(Node{Backends: []string{"127.0.0.1"}}, written)
	got, err := parse(one)
	if diff := cmp.Diff(written, got, cmp.AllowUnexported(file{})); err != nil || diff != "" {
		t.Errorf("%v, -written +read\n%s", err, diff)
	}
	for name, tc := range map[string]struct {
		backends []string
		shares   Shares
		want     string
	}{
		"one":  {[]string{"127.0.0.1"}, Shares{colour.Blue: 100}, "    server 127.0.0.1:30080 max_fails=0; # blue\n    server 127.0.0.1:30081 max_fails=0 down; # green\n"},
		"some": {[]string{"127.0.0.1"}, written.shares, "    server 127.0.0.1:30080 max_fails=0 weight=95; # blue\n    server 127.0.0.1:30081 max_fails=0 weight=5; # green\n"},
		"more": {
			[]string{"10.0.0.1", "fd00::1"},
			Shares{colour.Green: 100},
			"    server 10.0.0.1:30080 down; # blue\n    server [fd00::1]:30080 down; # blue\n    server 10.0.0.1:30081; # green\n    server [fd00::1]:30081; # green\n",
		},
	} {
		f := file{service: "web", shares: tc.shares, boot: "b1", tick: 1}
		text := u.render(Node{Backends: tc.backends}, f)
		lines := strings.SplitAfter(strings.TrimSuffix(string(text), "\n"), "\n")
		if diff := cmp.Diff("upstream shop_web {\n"+tc.want+"}\n", strings.Join(lines[2:len(lines)-1], "")); diff != "" {
			t.Errorf("%s: -want +got\n%s", name, diff)
		}
	}
}

// TestFileChanged changes every byte, and cuts the file off everywhere: none of that is taken for ours.
func TestFileChanged(t *testing.T) {
	u := &Upstream{Service: "web", Name: "shop_web", Port: 30080}
	content := u.render(Node{Backends: []string{"127.0.0.1"}}, written)
	for i := range content {
		changed := slices.Clone(content)
		changed[i] ^= 1
		for what, text := range map[string][]byte{"changed": changed, "cut off": content[:i], "longer": slices.Insert(slices.Clone(content), i, 'x')} {
			if f, err := parse(text); fault.CodeOf(err) != fault.Refused {
				t.Errorf("%s at %d: read as %+v, %v; want it to be refused", what, i, f, err)
			}
		}
	}
}

func TestRead(t *testing.T) {
	for name, tc := range map[string]struct {
		reason  string
		boot    string
		workers []nginxctl.Worker
		read    bool
		led     string
		left    int
	}{
		"since":    {"all were started after the file was written", "b1", []nginxctl.Worker{{Start: 4712}, {Start: 4713}}, true, "[blue green]", 0},
		"before":   {"one may not have read it", "b1", []nginxctl.Worker{{Start: 4712}, {Start: 4711}}, false, "[blue green plain]", 0},
		"leaving":  {"one from before accepts nobody any more", "b1", []nginxctl.Worker{{Start: 4712}, {Start: 4000, Leaving: true}, {Start: 4001, Leaving: true}}, true, "[blue green]", 2},
		"later":    {"one was told to leave by a later reload, and has read the file", "b1", []nginxctl.Worker{{Start: 5000}, {Start: 4712, Leaving: true}}, true, "[blue green]", 0},
		"rebooted": {"nginx has read the file at its start", "b2", []nginxctl.Worker{{Start: 100}, {Start: 90, Leaving: true}}, true, "[blue green]", 0},
		"none":     {"nginx does not run, and reads the file when it starts", "b1", nil, true, "[blue green]", 0},
	} {
		f := written
		f.was = []colour.Colour{colour.Plain}
		s := sight{content: []byte("x"), file: f, state: nginxctl.State{Boot: tc.boot, Master: true, Workers: tc.workers}}
		if s.read() != tc.read || fmt.Sprint(s.led()) != tc.led || s.draining() != tc.left {
			t.Errorf("%s: %s: read %v, led %v, %d left; want %v, %s, %d", name, tc.reason, s.read(), s.led(), s.draining(), tc.read, tc.led, tc.left)
		}
	}
}
