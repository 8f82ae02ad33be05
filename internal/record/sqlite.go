package record

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// All that is particular to SQLite is in this file and in the migrations: how it is opened, how a change by others is noticed,
// and what its errors mean.

// openSQLite opens the database file: every commit synced, transactions that take the write lock at their start (so that two
// of them never deadlock), and ten seconds of patience with other writers.
func openSQLite(path string) (*sql.DB, error) {
	options := url.Values{
		"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)"},
		"_txlock": {"immediate"},
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	file := url.URL{Scheme: "file", Path: absolute, RawQuery: options.Encode()}
	db, err := sql.Open("sqlite", file.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxIdleConns(4) // their number is not bounded: every Follow keeps one
	return db, nil
}

// changes returns a number that differs when anybody else has committed since the last call on the same connection.
func changes(ctx context.Context, c *sql.Conn) (n int64, err error) {
	err = c.QueryRowContext(ctx, "PRAGMA data_version").Scan(&n)
	return n, err
}

// fail makes an error of the store one that a person understands.
func (s *Store) fail(verb string, err error) *fault.Error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fault.New(fault.Interrupted, "cannot %s the record %s: %w", verb, s.path, err)
	}
	code := 0
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		code = e.Code() & 0xff // the primary code, https://sqlite.org/rescode.html
	}
	switch code {
	case sqlite3.SQLITE_FULL:
		return s.noRoom(verb, fmt.Errorf("%w: %w", syscall.ENOSPC, err))
	case sqlite3.SQLITE_IOERR:
		return s.noRoom(verb, fmt.Errorf("the disk is full or broken: %w", err))
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		return s.inaccessible(verb, err)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fault.New(fault.Unavailable, "cannot %s the record %s: others keep it busy: %w", verb, s.path, err)
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		return fault.New(fault.Failed, "cannot %s the record %s: the file is damaged: %w", verb, s.path, err).
			WithHint("restore it from a backup, or move it away to begin a new record")
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return s.noRoom(verb, err)
	}
	if errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist) {
		return s.inaccessible(verb, err)
	}
	return fault.New(fault.Failed, "cannot %s the record %s: %w", verb, s.path, err)
}

func (s *Store) noRoom(verb string, err error) *fault.Error {
	return fault.New(fault.Failed, "cannot %s the record %s: %w", verb, s.path, err).
		WithHint("make room on the disk, then run the same command again: it goes on where it stopped")
}

func (s *Store) inaccessible(verb string, err error) *fault.Error {
	return fault.New(fault.Failed, "cannot %s the record %s: %w", verb, s.path, err).
		WithHint("make the file and its directory writable for you, or choose another state directory with --state DIR")
}
