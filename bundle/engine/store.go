package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"go.temporal.io/server/common/config"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/schema/sqlite"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	clusterName = "active"    // Temporal's own name for the only cluster there is
	namespace   = "crossfade" // where all workflows of Crossfade are
	// retention is how long the histories of closed workflows are kept, for looking into what happened. What must be
	// kept for ever is in Crossfade's record.
	retention = 30 * 24 * time.Hour
)

// sqlConfig describes the SQLite file to Temporal. The attribute "setup" must stay away: it would set the schema up in place.
func sqlConfig(file string, pragmas map[string]string) *config.SQL {
	attributes := map[string]string{"mode": "rwc"}
	for name, value := range pragmas {
		attributes[name] = value
	}
	return &config.SQL{PluginName: sqliteplugin.PluginName, DatabaseName: file, ConnectAttributes: attributes}
}

// databaseConfig is the database while serving: every commit is on the disk before Temporal answers.
func databaseConfig(d directory) *config.SQL {
	return sqlConfig(d.file(database), map[string]string{
		"journal_mode": "wal", "synchronous": "full", "busy_timeout": "10000", "cache_size": "-8192", // kibibytes
	})
}

// prepareDatabase makes the database when there is none. A kill at any instant leaves either no database or a complete one:
// the schema is set up in a draft, and the draft's copy gets its name when it is on the disk. (A copy, because Temporal never
// closes its connection to the draft.)
func prepareDatabase(d directory) error {
	if _, err := os.Stat(d.file(database)); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot look for the database: %w", err)
	}
	for _, left := range []string{databaseDraft, databaseDraft + "-journal", databaseReady} {
		if err := os.Remove(d.file(left)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot remove the draft of the database: %w", err)
		}
	}
	if err := draftDatabase(sqlConfig(d.file(databaseDraft), map[string]string{"journal_mode": "memory", "synchronous": "off"})); err != nil {
		return err
	}
	if err := copySynced(d.file(databaseDraft), d.file(databaseReady)); err != nil {
		return fmt.Errorf("cannot copy the draft of the database: %w", err)
	}
	if err := os.Rename(d.file(databaseReady), d.file(database)); err != nil {
		return fmt.Errorf("cannot put the database in place: %w", err)
	}
	if err := os.Remove(d.file(databaseDraft)); err != nil {
		return fmt.Errorf("cannot remove the draft of the database: %w", err)
	}
	return syncDirectory(d)
}

func draftDatabase(cfg *config.SQL) error {
	if err := sqlite.SetupSchema(cfg); err != nil {
		return fmt.Errorf("cannot set up the database: %w", err)
	}
	ns, err := sqlite.NewNamespaceConfig(clusterName, namespace, false, nil)
	if err != nil {
		return fmt.Errorf("cannot describe the namespace %s: %w", namespace, err)
	}
	ns.Detail.Config.Retention = durationpb.New(retention)
	if err := sqlite.CreateNamespaces(cfg, ns); err != nil {
		return fmt.Errorf("cannot create the namespace %s: %w", namespace, err)
	}
	return nil
}

// copySynced copies a file and returns when the copy is on the disk.
func copySynced(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

// syncDirectory makes renames and removals in the directory durable.
func syncDirectory(d directory) error {
	f, err := os.Open(string(d))
	if err != nil {
		return fmt.Errorf("cannot sync the engine's directory: %w", err)
	}
	return errors.Join(f.Sync(), f.Close())
}
