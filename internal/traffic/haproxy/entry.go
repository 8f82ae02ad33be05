package haproxy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// The map has entries of three forms, whose fields the lines of the configuration pick by their number:
//
//	LIVE HOST      BOUND|SLOT|BOUND|SLOT|BOUND|SLOT|BOUND|SLOT|DETAILS
//	PRE-LIVE HOST  100|SLOT|LIVE HOST
//	SLOT           -|ROLE|GENERATION|INTERVAL|LIVE HOST|PATH
//
// A request is led to the first slot whose bound is greater than its dice, 0 to 99. The bound 0 alone stands for no live side.
// DETAILS are JSON, for us. The - is no number, so that a client that names a slot as its host is led nowhere.

const (
	separator = "|"
	// maxShares is how many slots the configuration looks at.
	maxShares = 4
	// liveFields is the number of fields in the entry of a live host.
	liveFields = 2*maxShares + 1
)

// role says what leads to a slot.
type role string

const (
	live    role = "live"
	preLive role = "prelive"
)

// layout is a route with the slots that it uses.
type layout struct {
	route   traffic.Route
	slots   map[string]string // of the live name, by generation
	preLive string            // the slot of the pre-live name, or ""
}

// details are what the entry of a route says beside the shares.
type details struct {
	Host        string        `json:"host"`
	PreLiveHost string        `json:"preLiveHost,omitempty"`
	Path        string        `json:"path,omitempty"`
	Interval    string        `json:"interval,omitempty"`
	Drain       string        `json:"drain,omitempty"`
	Sides       []sideDetails `json:"sides"`
}

type sideDetails struct {
	Generation string   `json:"generation"`
	Slot       string   `json:"slot"`
	Endpoints  []string `json:"endpoints,omitempty"`
}

// value renders the entry of the live host.
func (l layout) value() (string, error) {
	d := details{
		Host: l.route.Host, PreLiveHost: l.route.PreLiveHost, Path: l.route.Health.Path,
		Interval: text(l.route.Health.Interval), Drain: text(l.route.Drain),
	}
	fields := make([]string, 0, liveFields)
	bound := 0
	for _, s := range l.route.Sides {
		if s.Weight > 0 {
			bound += s.Weight
			fields = append(fields, strconv.Itoa(bound), l.slots[s.Generation])
		}
		d.Sides = append(d.Sides, sideDetails{s.Generation, l.slots[s.Generation], s.Endpoints})
	}
	if bound == 0 {
		fields = append(fields, "0")
	}
	for len(fields) < liveFields-1 {
		fields = append(fields, "")
	}
	var raw bytes.Buffer
	encoder := json.NewEncoder(&raw)
	encoder.SetEscapeHTML(false) // its backslashes would be HAProxy's
	if err := encoder.Encode(d); err != nil {
		return "", err
	}
	return strings.Join(append(fields, strings.TrimSpace(raw.String())), separator), nil
}

// text renders a duration, and nothing as nothing.
func text(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

// parse reads the entry of a live host.
func parse(value string) (layout, error) {
	fields := strings.SplitN(value, separator, liveFields)
	if len(fields) != liveFields {
		return layout{}, fmt.Errorf("it has %d fields, not %d", len(fields), liveFields)
	}
	var d details
	if err := json.Unmarshal([]byte(fields[liveFields-1]), &d); err != nil {
		return layout{}, err
	}
	shares, err := parseShares(fields[:liveFields-1])
	if err != nil {
		return layout{}, err
	}
	l := layout{slots: map[string]string{}}
	l.route = traffic.Route{Host: d.Host, PreLiveHost: d.PreLiveHost, Health: traffic.Health{Path: d.Path}}
	for _, s := range d.Sides {
		l.slots[s.Generation] = s.Slot
		l.route.Sides = append(l.route.Sides, traffic.Side{Generation: s.Generation, Endpoints: s.Endpoints, Weight: shares[s.Slot]})
		delete(shares, s.Slot)
	}
	for slot := range shares {
		return layout{}, fmt.Errorf("%s is the slot of no side", slot)
	}
	if l.route.Health.Interval, err = duration(d.Interval); err == nil {
		l.route.Drain, err = duration(d.Drain)
	}
	return l, err
}

// parseShares reads pairs of bounds and slots: which slot has how many percent.
func parseShares(fields []string) (map[string]int, error) {
	shares := map[string]int{}
	from := 0
	for i := 0; i < len(fields) && fields[i] != "" && fields[i+1] != ""; i += 2 {
		bound, err := strconv.Atoi(fields[i])
		if err != nil || bound <= from || bound > 100 {
			return nil, fmt.Errorf("the bound %q is none between %d and 100", fields[i], from)
		}
		shares[fields[i+1]] += bound - from
		from = bound
	}
	if from != 100 && !(from == 0 && fields[0] == "0") {
		return nil, fmt.Errorf("its bounds end at %d", from)
	}
	return shares, nil
}

func duration(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	return time.ParseDuration(text)
}

// preLiveValue renders the entry of a pre-live host.
func preLiveValue(slot, host string) string {
	return strings.Join([]string{"100", slot, host}, separator)
}

// parsePreLive reads the entry of a pre-live host; ok is false for entries of other forms.
func parsePreLive(value string) (slot, host string, ok bool) {
	fields := strings.Split(value, separator)
	if len(fields) != 3 {
		return "", "", false
	}
	return fields[1], fields[2], true
}

// claim renders the entry of a slot.
func claim(r traffic.Route, as role, generation string) string {
	interval := fmt.Sprintf("%dms", r.Health.Interval.Milliseconds())
	return strings.Join([]string{"-", string(as), generation, interval, r.Host, r.Health.Path}, separator)
}

// parseClaim reads whose a slot is; ok is false for entries of other forms.
func parseClaim(value string) (generation, host string, ok bool) {
	fields := strings.SplitN(value, separator, 6)
	if len(fields) != 6 || fields[0] != "-" {
		return "", "", false
	}
	return fields[2], fields[4], true
}

// current returns the route of a host as the map has it, or nil. One that is not of our form is an error.
func (s *state) current(host string) (*layout, error) {
	value, found := s.value(host)
	if !found {
		return nil, nil //nolint:nilnil // documented
	}
	l, err := parse(value)
	if err != nil {
		return nil, fault.New(fault.Failed, "the entry %s of its map %s was changed by other hands: %w", host, s.table, err).
			WithHint("delete it there (del map %s %s), then run this again", s.table, host)
	}
	if slot, owner, ok := s.preLiveOf(l.route.PreLiveHost); ok && owner == host {
		l.preLive = slot
		l.route.PreLive, _, _ = s.owner(slot)
	}
	return &l, nil
}

// preLiveOf returns where a pre-live name leads, and for which live host.
func (s *state) preLiveOf(host string) (slot, owner string, ok bool) {
	if host == "" {
		return "", "", false
	}
	value, _ := s.value(host)
	return parsePreLive(value)
}

// owner returns the generation and the host that a slot belongs to.
func (s *state) owner(slot string) (generation, host string, ok bool) {
	value, _ := s.value(slot)
	return parseClaim(value)
}
