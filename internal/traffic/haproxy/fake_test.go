package haproxy

import (
	"fmt"
	"strings"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// fake is an HAProxy without users: what its commands do to the state. Checks pass.
type fake struct {
	*state
	backups map[string]bool
	refs    int
}

func newFake(slots int) *fake {
	f := &fake{state: &state{table: "m", servers: map[string]map[string]server{}}, backups: map[string]bool{}}
	for i := range slots {
		slot := fmt.Sprint(slotPrefix, i+1)
		f.slots = append(f.slots, slot)
		f.servers[slot] = map[string]server{}
	}
	return f
}

func (f *fake) do(t *rapid.T, line string) {
	for command := range strings.SplitSeq(line, "; ") {
		f.one(t, strings.Fields(command))
	}
}

func (f *fake) one(t *rapid.T, w []string) {
	switch verb := w[0] + " " + w[1]; verb {
	case "add map":
		f.refs++
		f.entries = append(f.entries, entry{fmt.Sprint("#", f.refs), w[3], w[4]})
	case "set map":
		for i, e := range f.entries {
			if e.key == w[3] {
				f.entries[i].value = w[4]
			}
		}
	case "del map":
		rest := f.entries[:0:0]
		for _, e := range f.entries {
			if e.key != w[3] && e.ref != w[3] {
				rest = append(rest, e)
			}
		}
		f.entries = rest
	case "enable health":
	case "add server", "set server", "del server":
		slot, name, _ := strings.Cut(w[2], "/")
		f.server(t, verb, slot, name, w)
	default:
		t.Fatalf("no such command: %v", w)
	}
}

func (f *fake) server(t *rapid.T, verb, slot, name string, w []string) {
	is, there := f.servers[slot][name]
	if there == (verb == "add server") {
		t.Fatalf("%v is refused: it is there: %v", w, there)
	}
	line := strings.Join(w, " ")
	switch {
	case verb == "del server":
		if is.status != "MAINT" || is.sessions > 0 {
			t.Fatalf("%v is refused: %+v", w, is)
		}
		delete(f.servers[slot], name)
		return
	case verb == "add server":
		is = server{status: "MAINT"}
		_, _ = fmt.Sscan(line[strings.LastIndex(line, " ")+1:], &is.weight)
		f.backups[slot+"/"+name] = strings.Contains(line, " backup ")
	case w[3] == "weight":
		_, _ = fmt.Sscan(w[4], &is.weight)
	case w[4] == "ready":
		is.status = "UP"
	default:
		is.status = strings.ToUpper(w[4])
	}
	f.servers[slot][name] = is
}

// answered says which generations a request for a host can be answered by: that of the dice first, then who stands in.
func (f *fake) answered(host string, dice int) (own, standIns map[string]bool) {
	own, standIns = map[string]bool{}, map[string]bool{}
	value, _ := f.value(host)
	fields := strings.Split(value, separator)
	for i := 0; i+1 < len(fields) && i < 2*maxShares; i += 2 {
		bound := -1
		_, _ = fmt.Sscan(fields[i], &bound)
		if bound-dice <= 0 {
			continue
		}
		for name, is := range f.servers[fields[i+1]] {
			if is.status != "UP" {
				continue
			}
			if f.backups[fields[i+1]+"/"+name] {
				standIns[generationOf(name)] = true
			} else {
				own[generationOf(name)] = true
			}
		}
		break
	}
	return own, standIns
}

// step carries out the first of the commands that are next, and reports whether there was one. Meanwhile users are answered by a
// side with a share in one of the routes, the last of which is aimed at.
func (f *fake) step(t *rapid.T, routes ...traffic.Route) bool {
	commands, err := f.toward(routes[len(routes)-1])
	if err != nil {
		t.Fatal(err)
	}
	if len(commands) == 0 {
		return false
	}
	for _, c := range commands[:rapid.IntRange(1, len(commands)).Draw(t, "carried out")] {
		_, before := f.value(routes[0].Host)
		f.do(t, c)
		if !before {
			continue
		}
		own, _ := f.answered(routes[0].Host, rapid.IntRange(0, 99).Draw(t, "dice"))
		if len(own) != 1 {
			t.Fatalf("after %s, users are answered by %v", c, own)
		}
		for g := range own {
			share := false
			for _, r := range routes {
				for _, s := range r.Sides {
					share = share || s.Generation == g && s.Weight > 0
				}
			}
			if !share {
				t.Fatalf("after %s, users are answered by %s, which has no share", c, g)
			}
		}
	}
	return true
}

// settled wants every dice to lead to the right side, and those with a share to stand in for each other.
func (f *fake) settled(t *rapid.T, r traffic.Route) {
	for dice := range 100 {
		side, other := r.Sides[0], r.Sides[1]
		if dice >= side.Weight {
			side, other = other, side
		}
		own, standIns := f.answered(r.Host, dice)
		wantStandIns := map[string]bool{side.Generation: true}
		if other.Weight > 0 {
			wantStandIns = map[string]bool{other.Generation: true}
		}
		if diff := cmp.Diff(map[string]bool{side.Generation: true}, own); diff != "" {
			t.Fatalf("dice %d (-want +got):\n%s", dice, diff)
		}
		if diff := cmp.Diff(wantStandIns, standIns); diff != "" {
			t.Fatalf("dice %d, those who stand in (-want +got):\n%s", dice, diff)
		}
	}
	if r.PreLive == "" {
		return
	}
	own, standIns := f.answered(r.PreLiveHost, 99)
	if !own[r.PreLive] || len(own) != 1 || !standIns[r.PreLive] || len(standIns) != 1 {
		t.Fatalf("the pre-live name is answered by %v, then %v", own, standIns)
	}
}
