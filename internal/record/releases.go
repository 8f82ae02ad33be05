package record

import (
	"context"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

const releaseColumns = "environment, generation, service, version, tag, manifests, good, run, released, verified"

// PutRelease records that a run released a service into a generation. Recording it again changes its version and manifests, and
// never takes back that it was good.
func (s *Store) PutRelease(ctx context.Context, r Release) error {
	_, err := s.exec(ctx, "INSERT INTO releases ("+releaseColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "+
		"ON CONFLICT (environment, generation, service, run) DO UPDATE SET version = excluded.version, tag = excluded.tag, manifests = excluded.manifests",
		r.Environment, r.Generation, r.Service, r.Version, r.Tag, r.Manifests, r.Good, r.Run, nanoseconds(r.At), nanoseconds(r.Verified))
	return err
}

// MarkGood records that a recorded release, given by its environment, generation, service and run, was verified in production, at the time of its
// At. Recording it again does not change that time.
func (s *Store) MarkGood(ctx context.Context, r Release) error {
	n, err := s.exec(ctx, "UPDATE releases SET verified = CASE WHEN good THEN verified ELSE ? END, good = TRUE "+
		"WHERE environment = ? AND generation = ? AND service = ? AND run = ?",
		nanoseconds(r.At), r.Environment, r.Generation, r.Service, r.Run)
	if err == nil && n == 0 {
		return fault.New(fault.Invalid, "cannot find the release of %s into %s by %s in the record", r.Service, r.Generation, r.Run)
	}
	return err
}

// Good returns the latest good release of every service of an environment that has one, by service.
func (s *Store) Good(ctx context.Context, environment string) (map[string]Release, error) {
	latest, err := many(ctx, s, scanRelease, "SELECT "+releaseColumns+" FROM ("+
		"SELECT "+releaseColumns+", ROW_NUMBER() OVER (PARTITION BY service ORDER BY released DESC, run DESC) AS place "+
		"FROM releases WHERE environment = ? AND good) AS ranked WHERE place = 1", environment)
	if err != nil {
		return nil, err
	}
	good := make(map[string]Release, len(latest))
	for _, r := range latest {
		good[r.Service] = r
	}
	return good, nil
}

// Releases returns the releases of a service in an environment, or in all when it is "", the latest first.
func (s *Store) Releases(ctx context.Context, environment, service string) ([]Release, error) {
	return many(ctx, s, scanRelease,
		"SELECT "+releaseColumns+" FROM releases WHERE (environment = ? OR ? = '') AND service = ? ORDER BY released DESC, run DESC",
		environment, environment, service)
}

func scanRelease(row scanner) (Release, error) {
	var r Release
	var at, verified int64
	err := row.Scan(&r.Environment, &r.Generation, &r.Service, &r.Version, &r.Tag, &r.Manifests, &r.Good, &r.Run, &at, &verified)
	r.At, r.Verified = fromNanoseconds(at), fromNanoseconds(verified)
	return r, err
}
