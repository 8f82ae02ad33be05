package record

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// Store keeps the record in one file. Any number of goroutines and processes may use the same file at once; each call is one
// transaction, on the disk when the call returns. Errors are faults: Failed for a full or read-only disk, Unavailable when
// others kept the file busy for too long, Invalid for what is not in the record, Interrupted when the context ended.
type Store struct {
	db     *sql.DB
	path   string
	sealer sealer
}

// Open opens the record, which is made if need be, readable by its owner alone, and brings it up to what this program knows.
// It fails with code Invalid when a newer program has been at it.
func Open(ctx context.Context, path string) (*Store, error) {
	s := &Store{path: path}
	if err := makePrivate(path); err != nil {
		return nil, s.fail("open", err)
	}
	var err error
	if s.sealer, err = newSealer(path + ".key"); fault.HintOf(err) != "" {
		return nil, err
	} else if err != nil {
		return nil, s.fail("open", err)
	}
	db, err := openSQLite(path)
	if err != nil {
		return nil, s.fail("open", err)
	}
	s.db = db
	if err := s.migrate(ctx, migrationFiles); err != nil {
		db.Close()
		return nil, err
	}
	return s, nil
}

// Close closes the record. Nothing else may be called afterwards.
func (s *Store) Close() error {
	if err := s.db.Close(); err != nil {
		return s.fail("close", err)
	}
	return nil
}

// makePrivate makes the file, if need be, before the database does it with the rights of the umask.
func makePrivate(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// exec runs one statement and returns how many rows it changed.
func (s *Store) exec(ctx context.Context, statement string, args ...any) (int64, error) {
	result, err := s.db.ExecContext(ctx, statement, args...)
	if err != nil {
		return 0, s.fail("write", err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return 0, s.fail("write", err)
	}
	return n, nil
}

// scanner is a row or rows.
type scanner interface{ Scan(into ...any) error }

// one reads one row; what says what was looked for.
func one[T any](s *Store, row *sql.Row, scan func(scanner) (T, error), what string) (T, error) {
	v, err := scan(row)
	if errors.Is(err, sql.ErrNoRows) {
		return v, fault.New(fault.Invalid, "cannot find %s in the record", what)
	}
	if err != nil {
		return v, s.fail("read", err)
	}
	return v, nil
}

// many reads all rows of a query.
func many[T any](ctx context.Context, s *Store, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, s.fail("read", err)
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, s.fail("read", err)
		}
		all = append(all, v)
	}
	if err := rows.Err(); err != nil {
		return nil, s.fail("read", err)
	}
	return all, nil
}

// nanoseconds is how a time is stored; 0 for the zero time.
func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromNanoseconds(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}
