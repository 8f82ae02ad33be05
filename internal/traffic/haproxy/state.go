package haproxy

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

const (
	// mapName is the base name of the map's file.
	mapName = "crossfade.map"
	// slotPrefix begins the names of the backends that are for Crossfade.
	slotPrefix = "crossfade-"
	// manual is where the lines are that a configuration needs.
	manual = "add the lines in docs/concepts/haproxy.md to its configuration"
)

// state is what an HAProxy has that concerns us.
type state struct {
	table   string                       // the map, by the name of its file
	entries []entry                      // of the map, in their order; of several with one key, the first is in force
	slots   []string                     // in the order of the configuration
	servers map[string]map[string]server // by slot and name
}

// entry is one of the map.
type entry struct{ ref, key, value string }

// server is one of a slot. Its name is GENERATION:HOST:PORT, or GENERATION_:HOST:PORT for the same endpoint without a check.
type server struct {
	status   string // UP, DOWN, MAINT, DRAIN, no check, with details
	weight   int    // 0 to 256, among the servers of its slot
	sessions int64  // requests and streams under way
}

// out reports whether a server was taken out of service by somebody: by us, as it is not needed, or by an operator.
func (s server) out() bool {
	return strings.HasPrefix(s.status, "MAINT") || strings.HasPrefix(s.status, "DRAIN")
}

// well reports whether a server gets requests.
func (s server) well() bool { return strings.HasPrefix(s.status, "UP") || s.status == "no check" }

// read reads all of it. A configuration without what we need is an error of code Invalid.
func (r *Router) read(ctx context.Context) (*state, error) {
	s := &state{servers: map[string]map[string]server{}}
	for _, step := range []struct {
		command string
		take    func(string) error
	}{{"show map", s.takeMaps}, {"", s.takeEntries}, {"show stat -1 6 -1", s.takeServers}} {
		command := step.command
		if command == "" {
			command = "show map " + s.table
		}
		answer, err := r.call(ctx, command)
		if err != nil {
			return nil, err
		}
		if err := step.take(answer); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// takeMaps finds our map in lines of the form: ID (FILE) DESCRIPTION.
func (s *state) takeMaps(answer string) error {
	for line := range strings.Lines(answer) {
		_, rest, _ := strings.Cut(line, "(")
		file, _, found := strings.Cut(rest, ")")
		if !found || filepath.Base(file) != mapName {
			continue
		}
		if s.table != "" {
			return fault.New(fault.Invalid, "its configuration has two maps of the name %s: %s and %s", mapName, s.table, file).WithHint("use one file everywhere")
		}
		s.table = file
	}
	if s.table == "" {
		return fault.New(fault.Invalid, "its configuration uses no map %s", mapName).WithHint(manual)
	}
	return nil
}

// takeEntries reads lines of the form: REFERENCE KEY VALUE.
func (s *state) takeEntries(answer string) error {
	for line := range strings.Lines(answer) {
		ref, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if key, value, found := strings.Cut(rest, " "); found {
			s.entries = append(s.entries, entry{"#" + ref, key, value})
		}
	}
	return nil
}

// takeServers reads the statistics of backends and servers, a CSV with a line of titles.
func (s *state) takeServers(answer string) error {
	in := csv.NewReader(strings.NewReader(strings.TrimPrefix(answer, "# ")))
	in.FieldsPerRecord, in.LazyQuotes = -1, true
	lines, err := in.ReadAll()
	if err != nil {
		return fmt.Errorf("its statistics are not CSV: %w", err)
	}
	if len(lines) == 0 {
		return errors.New("it has no statistics")
	}
	for _, fields := range lines[1:] {
		line := map[string]string{}
		for i, title := range lines[0] {
			if i < len(fields) {
				line[title] = fields[i]
			}
		}
		if err := s.takeServer(line); err != nil {
			return err
		}
	}
	if len(s.slots) == 0 {
		return fault.New(fault.Invalid, "its configuration has no backends %s1, %[1]s2, ...", slotPrefix).WithHint(manual)
	}
	return nil
}

func (s *state) takeServer(line map[string]string) error {
	slot, name := line["pxname"], line["svname"]
	switch {
	case !strings.HasPrefix(slot, slotPrefix):
		return nil
	case name == "BACKEND":
		s.slots = append(s.slots, slot)
		if line["mode"] != "http" || line["algo"] != "roundrobin" {
			return fault.New(fault.Invalid, "its backend %s has the mode %s and the balance %s, not http and roundrobin", slot, line["mode"], line["algo"]).WithHint(manual)
		}
		return nil
	}
	weight, err := strconv.Atoi(line["uweight"])
	if err != nil {
		return fmt.Errorf("the weight of %s/%s: %w", slot, name, err)
	}
	sessions, err := strconv.ParseInt(line["scur"], 10, 64)
	if err != nil {
		return fmt.Errorf("the sessions of %s/%s: %w", slot, name, err)
	}
	if s.servers[slot] == nil {
		s.servers[slot] = map[string]server{}
	}
	s.servers[slot][name] = server{status: line["status"], weight: weight, sessions: sessions}
	return nil
}

// value returns the entry of a key that is in force, and whether there is one.
func (s *state) value(key string) (string, bool) {
	i := slices.IndexFunc(s.entries, func(e entry) bool { return e.key == key })
	if i < 0 {
		return "", false
	}
	return s.entries[i].value, true
}
