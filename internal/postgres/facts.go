package postgres

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pressly/goose/v3"
)

// Facts is what a database and the connection to it report.
type Facts struct {
	Version          string // of Postgres
	Encoding         string
	Standby          bool
	ReadOnly         bool          // also on a standby
	Off              []string      // settings of durability that are off
	StatementTimeout string        // "0": none; through a pooler, that of the role or the database
	Pooler           bool          // the connection is a pooler's
	ClockAhead       time.Duration // the database's clock compared with the local one
	ClockError       time.Duration // of ClockAhead, at most
	Connections      int           // open ones of all clients
	MaxConnections   int           // that clients without privileges can open
	Oldest           time.Duration // age of the oldest transaction that the role may see
	OldestPID        int           // of its server process
}

// Inspect asks a database for its facts. It changes nothing.
func Inspect(ctx context.Context, pool *pgxpool.Pool) (Facts, error) {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return Facts{}, fmt.Errorf("inspect the database: %w", err)
	}
	defer conn.Release()
	f := Facts{Pooler: throughPooler(conn.Conn())}
	var now time.Time
	began := time.Now()
	err = conn.QueryRow(ctx, `
		SELECT clock_timestamp(), current_setting('server_version'), current_setting('server_encoding'), pg_is_in_recovery(),
			current_setting('transaction_read_only')::boolean, current_setting('statement_timeout'),
			ARRAY(SELECT name FROM unnest('{fsync,synchronous_commit,full_page_writes}'::text[]) name WHERE current_setting(name) = 'off'),
			current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
				- COALESCE(current_setting('reserved_connections', true)::int, 0), -- since Postgres 16
			(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
			COALESCE(oldest.age, '0'), COALESCE(oldest.pid, 0)
		FROM (SELECT) one LEFT JOIN (
			SELECT now() - xact_start AS age, pid FROM pg_stat_activity
			WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
			ORDER BY xact_start LIMIT 1) oldest ON true`,
		pgx.QueryExecModeExec). // in one round trip
		Scan(&now, &f.Version, &f.Encoding, &f.Standby, &f.ReadOnly, &f.StatementTimeout, &f.Off, &f.MaxConnections, &f.Connections, &f.Oldest, &f.OldestPID)
	if err != nil {
		return Facts{}, fmt.Errorf("inspect the database: %w", err)
	}
	f.ClockError = time.Since(began) / 2
	f.ClockAhead = now.Sub(began.Add(f.ClockError))
	return f, nil
}

// DurabilityWarnings returns a line for each setting that lets a crash lose what was committed.
func (f *Facts) DurabilityWarnings() []string {
	var lines []string
	for _, name := range f.Off {
		lines = append(lines, "the database has "+name+" off: a crash may lose calendar quotas and orders")
	}
	return lines
}

// SchemaVersions returns the number of the newest migration that was applied to a migrated database,
// and that of the newest of the files.
func SchemaVersions(ctx context.Context, pool *pgxpool.Pool, files fs.FS) (applied, known int64, err error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return 0, 0, err
	}
	for _, name := range names {
		version, err := goose.NumericComponent(name)
		if err != nil {
			return 0, 0, fmt.Errorf("migration %s: %w", name, err)
		}
		known = max(known, version)
	}
	if err := pool.QueryRow(ctx, "SELECT max(version_id) FROM goose_db_version").Scan(&applied); err != nil {
		return 0, 0, fmt.Errorf("read the schema's version: %w", err)
	}
	return applied, known, nil
}
