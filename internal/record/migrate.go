package record

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// migrationFiles are numbered from 1 without a gap; one that was released never changes.
//
//go:embed migrations/*.sql
var migrationFiles embed.FS

const versionTable = `CREATE TABLE IF NOT EXISTS schema_version (version BIGINT PRIMARY KEY, applied BIGINT NOT NULL)`

// migrate brings the database up to the last migration: each in a transaction of its own together with its number, so that a
// program that is killed, or two that start at once, leave every one applied once.
func (s *Store) migrate(ctx context.Context, files fs.FS) error {
	names, err := fs.Glob(files, "migrations/*.sql") // sorted
	if err != nil {
		return s.fail("migrate", err)
	}
	if _, err := s.db.ExecContext(ctx, versionTable); err != nil {
		return s.fail("migrate", err)
	}
	for i, name := range names {
		number, _, _ := strings.Cut(strings.TrimPrefix(name, "migrations/"), "_")
		if n, err := strconv.Atoi(number); err != nil || n != i+1 {
			return fault.New(fault.Failed, "cannot migrate the record: %s is not number %d", name, i+1)
		}
		script, err := fs.ReadFile(files, name)
		if err != nil {
			return s.fail("migrate", err)
		}
		if err := s.apply(ctx, i+1, string(script)); err != nil {
			return s.fail("migrate", err)
		}
	}
	return s.refuseNewer(ctx, len(names))
}

// apply runs one migration unless it was.
func (s *Store) apply(ctx context.Context, version int, script string) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after the commit
	var done int
	err = tx.QueryRowContext(ctx, "SELECT version FROM schema_version WHERE version = ?", version).Scan(&done)
	if err == nil {
		return nil
	} else if !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if _, err := tx.ExecContext(ctx, script); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO schema_version (version, applied) VALUES (?, ?)", version, time.Now().UnixNano()); err != nil {
		return err
	}
	return tx.Commit()
}

func (s *Store) refuseNewer(ctx context.Context, known int) error {
	var version int
	if err := s.db.QueryRowContext(ctx, "SELECT MAX(version) FROM schema_version").Scan(&version); err != nil {
		return s.fail("migrate", err)
	}
	if version > known {
		return fault.New(fault.Invalid, "cannot use the record %s: it has version %d, and this program knows %d", s.path, version, known).
			WithHint("use the newer crossfade that wrote it")
	}
	return nil
}
