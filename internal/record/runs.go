package record

import (
	"context"
	"time"
)

const runColumns = "id, operation, environment, service, generation, previous, who, state, reason, plan, started, ended"

// PutRun records a new run. Recording the same id again changes nothing.
func (s *Store) PutRun(ctx context.Context, r Run) error {
	_, err := s.exec(ctx, "INSERT INTO runs ("+runColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
		r.ID, r.Operation, r.Environment, r.Service, r.Generation, r.Previous, r.By, r.State, r.Reason, string(r.Plan), nanoseconds(r.Started), endNanoseconds(r.Ended))
	return err
}

// UpdateRun records where a run is now: its generations, state, reason and end. What it was begun as stays. The run must have
// been recorded. A run that has ended is not changed any more, so that a late repetition cannot open it again.
func (s *Store) UpdateRun(ctx context.Context, r Run) error {
	n, err := s.exec(ctx, "UPDATE runs SET generation = ?, previous = ?, state = ?, reason = ?, ended = ? WHERE id = ? AND ended = 0",
		r.Generation, r.Previous, r.State, r.Reason, endNanoseconds(r.Ended), r.ID)
	if err != nil || n > 0 {
		return err
	}
	_, err = s.Run(ctx, r.ID)
	return err
}

// Run returns the run with the id. The error is of code Invalid when there is none.
func (s *Store) Run(ctx context.Context, id string) (Run, error) {
	return one(s, s.db.QueryRowContext(ctx, "SELECT "+runColumns+" FROM runs WHERE id = ?", id), scanRun, "the run "+id)
}

// Runs returns the runs of an environment, or of all when it is "", the latest first and at most so many. They come without
// their plans.
func (s *Store) Runs(ctx context.Context, environment string, limit int) ([]Run, error) {
	const columns = "id, operation, environment, service, generation, previous, who, state, reason, '', started, ended"
	return many(ctx, s, scanRun, "SELECT "+columns+" FROM runs WHERE environment = ? OR ? = '' ORDER BY started DESC, id DESC LIMIT ?",
		environment, environment, limit)
}

func scanRun(row scanner) (Run, error) {
	var r Run
	var plan string
	var started, ended int64
	err := row.Scan(&r.ID, &r.Operation, &r.Environment, &r.Service, &r.Generation, &r.Previous, &r.By, &r.State, &r.Reason, &plan, &started, &ended)
	r.Plan, r.Started = document(plan), fromNanoseconds(started)
	if ended != 0 {
		at := fromNanoseconds(ended)
		r.Ended = &at
	}
	return r, err
}

func endNanoseconds(t *time.Time) int64 {
	if t == nil {
		return 0
	}
	return nanoseconds(*t)
}

// document returns stored JSON, nil for none.
func document(stored string) []byte {
	if stored == "" {
		return nil
	}
	return []byte(stored)
}
