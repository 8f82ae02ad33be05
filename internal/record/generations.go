package record

import (
	"context"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

const generationColumns = "environment, name, phase, verified, run, created, changed"

// PutGeneration records a generation as it is now, new or not. Who made it and when stays as it was first recorded.
func (s *Store) PutGeneration(ctx context.Context, g Generation) error {
	_, err := s.exec(ctx, "INSERT INTO generations ("+generationColumns+") VALUES (?, ?, ?, ?, ?, ?, ?) "+
		"ON CONFLICT (environment, name) DO UPDATE SET phase = excluded.phase, verified = excluded.verified, changed = excluded.changed",
		g.Environment, g.Name, g.Phase, g.Verified, g.Run, nanoseconds(g.Created), nanoseconds(g.Changed))
	return err
}

// SetPhase records that a recorded generation got into a phase at the given time. Setting the phase it is in changes nothing.
func (s *Store) SetPhase(ctx context.Context, environment, name string, phase Phase, at time.Time) error {
	n, err := s.exec(ctx, "UPDATE generations SET changed = CASE WHEN phase = ? THEN changed ELSE ? END, phase = ? WHERE environment = ? AND name = ?",
		phase, nanoseconds(at), phase, environment, name)
	if err == nil && n == 0 {
		return fault.New(fault.Invalid, "cannot find the generation %s of %s in the record", name, environment)
	}
	return err
}

// Generation returns one generation. The error is of code Invalid when there is none of that name.
func (s *Store) Generation(ctx context.Context, environment, name string) (Generation, error) {
	row := s.db.QueryRowContext(ctx, "SELECT "+generationColumns+" FROM generations WHERE environment = ? AND name = ?", environment, name)
	return one(s, row, scanGeneration, "the generation "+name+" of "+environment)
}

// Generations returns the generations of an environment, or of all when it is "", the latest first.
func (s *Store) Generations(ctx context.Context, environment string) ([]Generation, error) {
	return many(ctx, s, scanGeneration,
		"SELECT "+generationColumns+" FROM generations WHERE environment = ? OR ? = '' ORDER BY created DESC, name DESC", environment, environment)
}

func scanGeneration(row scanner) (Generation, error) {
	var g Generation
	var created, changed int64
	err := row.Scan(&g.Environment, &g.Name, &g.Phase, &g.Verified, &g.Run, &created, &changed)
	g.Created, g.Changed = fromNanoseconds(created), fromNanoseconds(changed)
	return g, err
}
