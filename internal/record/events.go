package record

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"
)

const eventColumns = "seq, run, event_key, step, kind, message, who, happened, detail"

// Append records an event of a recorded run and says whether it was new: the same key again changes nothing, whatever else it
// says. Events get their Seq in the order in which they become visible, so that a reader who asks for what came after the
// last one it saw misses none. The Seq of the given event is not looked at.
func (s *Store) Append(ctx context.Context, e Event) (bool, error) {
	var seq int64
	err := s.db.QueryRowContext(ctx, "INSERT INTO events ("+eventColumns+") "+
		"SELECT COALESCE(MAX(seq), 0) + 1, ?, ?, ?, ?, ?, ?, ?, ? FROM events WHERE TRUE ON CONFLICT (run, event_key) DO NOTHING RETURNING seq",
		e.Run, e.Key, e.Step, e.Kind, e.Message, e.By, nanoseconds(e.At), string(e.Detail)).Scan(&seq)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, s.fail("write", err)
	}
	return true, nil
}

// Events returns the events of a run after the given Seq, in order; 0 for all.
func (s *Store) Events(ctx context.Context, run string, after int64) ([]Event, error) {
	return many(ctx, s, scanEvent, "SELECT "+eventColumns+" FROM events WHERE run = ? AND seq > ? ORDER BY seq", run, after)
}

// followInterval is how often Follow looks whether anything was committed; a look takes microseconds.
const followInterval = 50 * time.Millisecond

// Follow calls the function for every event of a run after the given Seq, in order: those there are, and those to come. It
// returns nil when the run has ended and all its events were told, and the function's error as it is when there is one.
func (s *Store) Follow(ctx context.Context, run string, after int64, tell func(Event) error) error {
	return s.FollowAll(ctx, []string{run}, after, tell)
}

// FollowAll is Follow for several runs at once: it returns nil when all of them have ended.
func (s *Store) FollowAll(ctx context.Context, runs []string, after int64, tell func(Event) error) error {
	for _, run := range runs {
		if _, err := s.Run(ctx, run); err != nil {
			return err
		}
	}
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return s.fail("read", err)
	}
	defer conn.Close()
	names, err := json.Marshal(runs)
	if err != nil {
		return err
	}
	tick := time.NewTicker(followInterval)
	defer tick.Stop()
	for seen := int64(-1); ; {
		now, err := changes(ctx, conn) // before the events, so that none can slip in between
		if err != nil {
			return s.fail("read", err)
		}
		if now != seen {
			seen = now
			var ended bool
			if after, ended, err = s.catchUp(ctx, string(names), after, tell); ended || err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return s.fail("read", ctx.Err())
		case <-tick.C:
		}
	}
}

// catchUp tells the events of runs, a list in JSON, after the given Seq and returns the last one's, and whether all the runs had ended before
// them.
func (s *Store) catchUp(ctx context.Context, runs string, after int64, tell func(Event) error) (int64, bool, error) {
	var open int
	err := s.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM runs WHERE ended = 0 AND id IN (SELECT value FROM json_each(?))", runs).Scan(&open)
	if err != nil {
		return after, false, s.fail("read", err)
	}
	events, err := many(ctx, s, scanEvent, "SELECT "+eventColumns+" FROM events WHERE run IN (SELECT value FROM json_each(?)) AND seq > ? ORDER BY seq", runs, after)
	if err != nil {
		return after, false, err
	}
	for _, e := range events {
		if err := tell(e); err != nil {
			return after, false, err
		}
		after = e.Seq
	}
	return after, open == 0, nil
}

func scanEvent(row scanner) (Event, error) {
	var e Event
	var at int64
	var detail string
	err := row.Scan(&e.Seq, &e.Run, &e.Key, &e.Step, &e.Kind, &e.Message, &e.By, &at, &detail)
	e.At, e.Detail = fromNanoseconds(at), document(detail)
	return e, err
}
