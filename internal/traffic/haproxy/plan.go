package haproxy

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

const (
	// fastInterval is the time between the checks of an endpoint that failed one, or could not be connected to.
	fastInterval = 500 * time.Millisecond
	// maxWeight is HAProxy's.
	maxWeight = 256
)

// need is a server that a slot should have.
type need struct {
	address   string
	backup    bool
	unwatched bool // it has no check, though its route has one
	weight    int
}

// serverName says whose an endpoint is. HAProxy takes colons in names, and no brackets.
func serverName(generation, endpoint string) string {
	return generation + ":" + strings.NewReplacer("[", "", "]", "").Replace(endpoint)
}

// unwatchedMark ends the generation in the name of a server without a check. No generation has it in its name.
const unwatchedMark = "_"

// generationOf is that of a server.
func generationOf(name string) string {
	generation, _, _ := strings.Cut(name, ":")
	return strings.TrimSuffix(generation, unwatchedMark)
}

// needs says which servers the slots of a route should have, by slot and name. A slot that has a share needs those that stand in.
func (l *layout) needs() map[string]map[string]need {
	all := map[string]map[string]need{}
	if l == nil {
		return all
	}
	for _, side := range l.route.Sides {
		servers := map[string]need{}
		for _, e := range side.Endpoints {
			servers[serverName(side.Generation, e)] = need{address: e, weight: 1}
		}
		if side.Generation == l.route.PreLive && l.preLive != "" {
			all[l.preLive] = maps.Clone(servers)
			maps.Copy(all[l.preLive], unwatched(l.route, side))
		}
		if side.Weight > 0 {
			others := standIns(l.route, side.Generation)
			if len(others) == 0 {
				others = unwatched(l.route, side)
			}
			maps.Copy(servers, others)
		}
		all[l.slots[side.Generation]] = servers
	}
	return all
}

// unwatched are the endpoints of a side as they stand in where nobody else does: without their checks. A check that fails everywhere says
// more of itself, or of the load, than of the endpoints; those that are really gone refuse the connection.
func unwatched(r traffic.Route, s traffic.Side) map[string]need {
	servers := map[string]need{}
	if r.Health.Path == "" {
		return servers
	}
	for _, e := range s.Endpoints {
		servers[serverName(s.Generation+unwatchedMark, e)] = need{address: e, backup: true, unwatched: true, weight: 1}
	}
	return servers
}

// standIns are the endpoints of the other sides with a share, in the proportion of those shares.
func standIns(r traffic.Route, generation string) map[string]need {
	shares := map[string]float64{} // of one endpoint, by generation
	most := 0.0
	for _, o := range r.Sides {
		if o.Generation != generation && o.Weight > 0 {
			shares[o.Generation] = float64(o.Weight) / float64(len(o.Endpoints))
			most = max(most, shares[o.Generation])
		}
	}
	servers := map[string]need{}
	for _, o := range r.Sides {
		if share, ok := shares[o.Generation]; ok {
			for _, e := range o.Endpoints {
				weight := max(1, int(math.Round(maxWeight*share/most)))
				servers[serverName(o.Generation, e)] = need{address: e, backup: true, weight: weight}
			}
		}
	}
	return servers
}

// toward returns the commands that bring an HAProxy nearer to a route, and none when it carries it. They are safe to be stopped
// at any place: only the last of them moves users, and what is left over is cleared away after that.
func (s *state) toward(route traffic.Route) ([]string, error) {
	if err := s.free(route); err != nil {
		return nil, err
	}
	now, err := s.current(route.Host)
	if err != nil {
		return nil, err
	}
	want, claims := s.choose(route, now)
	if commands := s.sweep(route.Host, now, want); len(commands) > 0 {
		return commands, nil
	}
	if len(claims) > 0 {
		return s.acquire(claims)
	}
	if commands := s.prepare(now, want); len(commands) > 0 {
		return commands, nil
	}
	commands, err := s.enter(want)
	if err != nil || len(commands) > 0 {
		return commands, err
	}
	return s.clear(want), nil
}

// free says whether the names of a route are nobody else's.
func (s *state) free(r traffic.Route) error {
	if _, owner, ok := s.preLiveOf(r.Host); ok {
		return fault.New(fault.Invalid, "its map %s has the name as the pre-live name of %s", s.table, owner).WithHint("give one of the routes another name")
	}
	value, taken := s.value(r.PreLiveHost)
	if _, owner, ok := parsePreLive(value); taken && (!ok || owner != r.Host) {
		return fault.New(fault.Invalid, "the pre-live name %s is taken: its map %s leads it to %s", r.PreLiveHost, s.table, value).
			WithHint("give the route another pre-live name")
	}
	return nil
}

// choose finds the slots for a route: those that it has, or that were prepared for it. The claims are of sides that have none yet.
func (s *state) choose(r traffic.Route, now *layout) (want *layout, claims []string) {
	want = &layout{route: r, slots: map[string]string{}}
	find := func(as role, generation, has string) string {
		value := claim(r, as, generation)
		candidates := append([]string{has}, s.slots...)
		i := slices.IndexFunc(candidates, func(slot string) bool { v, _ := s.value(slot); return v == value })
		if i < 0 {
			claims = append(claims, value)
			return ""
		}
		return candidates[i]
	}
	if now == nil {
		now = &layout{}
	}
	for _, side := range r.Sides {
		want.slots[side.Generation] = find(live, side.Generation, now.slots[side.Generation])
	}
	if r.PreLive != "" && r.PreLiveHost != "" {
		want.preLive = find(preLive, r.PreLive, now.preLive)
	}
	return want, claims
}

// has reports whether a slot is one of a route.
func (l *layout) has(slot string) bool {
	return l != nil && (l.preLive == slot || slices.Contains(slices.Collect(maps.Values(l.slots)), slot))
}

// sweep gives up the slots of a host that are in neither of two layouts, as far as no request is under way in them.
func (s *state) sweep(host string, now, want *layout) []string {
	var commands []string
	for _, slot := range s.slots {
		if _, owner, ok := s.owner(slot); !ok || owner != host || now.has(slot) || want.has(slot) {
			continue
		}
		if len(s.servers[slot]) == 0 {
			commands = append(commands, fmt.Sprintf("del map %s %s", s.table, slot))
		}
		for _, name := range names(s.servers[slot]) {
			commands = append(commands, s.drop(slot, name)...)
		}
	}
	return append(commands, s.withdraw(host)...)
}

// withdraw takes back claims of a host to slots that somebody else was faster to claim.
func (s *state) withdraw(host string) []string {
	var commands []string
	seen := map[string]bool{}
	for _, e := range s.entries {
		if _, owner, ok := parseClaim(e.value); ok && owner == host && seen[e.key] {
			commands = append(commands, fmt.Sprintf("del map %s %s", s.table, e.ref))
		}
		seen[e.key] = true
	}
	return commands
}

// drop takes a server out of service, or away when it is out and has no request.
func (s *state) drop(slot, name string) []string {
	switch is := s.servers[slot][name]; {
	case !strings.HasPrefix(is.status, "MAINT"):
		return []string{fmt.Sprintf("set server %s/%s state maint", slot, name)}
	case is.sessions == 0:
		return []string{fmt.Sprintf("del server %s/%s", slot, name)}
	}
	return nil
}

// acquire claims unused slots.
func (s *state) acquire(claims []string) ([]string, error) {
	var commands []string
	for _, slot := range s.slots {
		_, taken := s.value(slot)
		if taken || len(s.servers[slot]) > 0 || len(commands) == len(claims) {
			continue
		}
		commands = append(commands, fmt.Sprintf("add map %s %s %s", s.table, slot, claims[len(commands)]))
	}
	if len(commands) < len(claims) {
		return nil, fault.New(fault.Invalid, "its configuration has %d backends %s*, and %d more are needed", len(s.slots), slotPrefix, len(claims)-len(commands)).
			WithHint("add more of them and reload it (docs/concepts/haproxy.md); slots that were given up are used again once their requests have ended")
	}
	return commands, nil
}

// prepare brings all servers into service that a route needs and does not have. What an operator did to one that is in service
// already stays.
func (s *state) prepare(now, want *layout) []string {
	var commands []string
	before := now.needs()
	for slot, servers := range sorted(want.needs()) {
		for name, n := range sorted(servers) {
			is, there := s.servers[slot][name]
			had, inService := before[slot][name]
			if !there {
				commands = append(commands, add(want.route.Health, slot+"/"+name, n))
				continue
			}
			if is.weight != n.weight && (!inService || had.weight != n.weight) {
				commands = append(commands, fmt.Sprintf("set server %s/%s weight %d", slot, name, n.weight))
			}
			if is.out() && !inService {
				commands = append(commands, enable(want.route.Health, slot+"/"+name, n))
			}
		}
	}
	return commands
}

// add renders the commands for a new server, in one line: it is there and in service, or not there. Its connections are closed
// after each request, so that the Service behind a node port chooses a pod anew, pods that are leaving get no more requests,
// and none meets a connection that its pod is just closing.
func add(h traffic.Health, server string, n need) string {
	words := []string{"add server", server, n.address, "pool-max-conn 0"}
	if h.Path != "" && !n.unwatched {
		words = append(words, fmt.Sprintf("check inter %dms fastinter %dms fall 2 rise 1 observe layer4 error-limit 1 on-error fastinter",
			h.Interval.Milliseconds(), min(h.Interval, fastInterval).Milliseconds()))
	}
	if n.backup {
		words = append(words, "backup")
	}
	words = append(words, fmt.Sprintf("weight %d", n.weight))
	return strings.Join(words, " ") + "; " + enable(h, server, n)
}

func enable(h traffic.Health, server string, n need) string {
	if h.Path == "" || n.unwatched {
		return "set server " + server + " state ready"
	}
	return "enable health " + server + "; set server " + server + " state ready"
}

// enter leads the names of a route to its slots.
func (s *state) enter(want *layout) ([]string, error) {
	value, err := want.value()
	if err != nil {
		return nil, err
	}
	commands := s.leave(want.route.Host, want)
	if want.preLive != "" {
		commands = append(commands, s.put(want.route.PreLiveHost, preLiveValue(want.preLive, want.route.Host))...)
	}
	return append(commands, s.put(want.route.Host, value)...), nil
}

// put gives an entry its value.
func (s *state) put(key, value string) []string {
	switch is, there := s.value(key); {
	case !there:
		return []string{fmt.Sprintf("add map %s %s %s", s.table, key, value)}
	case is != value:
		return []string{fmt.Sprintf("set map %s %s %s", s.table, key, value)}
	}
	return nil
}

// leave takes away the pre-live names of a host, but the one that a layout keeps.
func (s *state) leave(host string, keeps *layout) []string {
	var commands []string
	for _, e := range s.entries {
		_, owner, ok := parsePreLive(e.value)
		kept := keeps != nil && keeps.preLive != "" && e.key == keeps.route.PreLiveHost
		if ok && owner == host && !kept {
			commands = append(commands, fmt.Sprintf("del map %s %s", s.table, e.key))
		}
	}
	return commands
}

// clear takes servers away that a route does not need any more. In slots without a share those that stood in may stay: requests
// that were led there before could still need them.
func (s *state) clear(want *layout) []string {
	var commands []string
	needs := want.needs()
	known := map[string]bool{}
	idle := map[string]bool{}
	for _, side := range want.route.Sides {
		for _, e := range side.Endpoints {
			known[serverName(side.Generation, e)] = true
			known[serverName(side.Generation+unwatchedMark, e)] = true
		}
		idle[want.slots[side.Generation]] = side.Weight == 0
	}
	for slot, servers := range sorted(needs) {
		for _, name := range names(s.servers[slot]) {
			if _, needed := servers[name]; !needed && !(idle[slot] && known[name]) {
				commands = append(commands, s.drop(slot, name)...)
			}
		}
	}
	return commands
}

// without returns the commands that bring an HAProxy nearer to having no route of a host.
func (s *state) without(host string) []string {
	commands := s.leave(host, nil)
	if _, there := s.value(host); there {
		commands = append(commands, fmt.Sprintf("del map %s %s", s.table, host))
	}
	if len(commands) > 0 {
		return commands
	}
	return s.sweep(host, nil, nil)
}

func names(servers map[string]server) []string { return slices.Sorted(maps.Keys(servers)) }

// sorted goes through a map in the order of its keys.
func sorted[V any](m map[string]V) func(yield func(string, V) bool) {
	return func(yield func(string, V) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}
