package record

import (
	"context"
	"encoding/json"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// PutSet records which versions a run has verified together. Recording it again for the same run replaces it.
func (s *Store) PutSet(ctx context.Context, set Set) error {
	versions, err := json.Marshal(set.Versions)
	if err != nil {
		return fault.New(fault.Failed, "cannot record what %s has verified: %w", set.Run, err)
	}
	_, err = s.exec(ctx, "INSERT INTO sets (environment, generation, run, versions, verified) VALUES (?, ?, ?, ?, ?) "+
		"ON CONFLICT (environment, run) DO UPDATE SET generation = excluded.generation, versions = excluded.versions, verified = excluded.verified",
		set.Environment, set.Generation, set.Run, string(versions), nanoseconds(set.At))
	return err
}

// Sets returns what was verified together in an environment, the latest first and at most so many.
func (s *Store) Sets(ctx context.Context, environment string, limit int) ([]Set, error) {
	return many(ctx, s, scanSet,
		"SELECT environment, generation, run, versions, verified FROM sets WHERE environment = ? ORDER BY verified DESC, run DESC LIMIT ?", environment, limit)
}

func scanSet(row scanner) (Set, error) {
	var set Set
	var versions string
	var at int64
	if err := row.Scan(&set.Environment, &set.Generation, &set.Run, &versions, &at); err != nil {
		return set, err
	}
	set.At = fromNanoseconds(at)
	return set, json.Unmarshal([]byte(versions), &set.Versions)
}
