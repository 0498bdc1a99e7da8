// Package postgres is how the rest of the server comes by a database: the private Postgres that
// runs as a child process when no DATABASE_URL is given, the pool of connections, transactions and
// the migration runner. It knows no table of the product.
package postgres

import (
	"log/slog"
	"path/filepath"
	"time"

	"ratelimiter/internal/postgres/pgbin"
)

const (
	// superuser owns the private Postgres. The product never connects as it.
	superuser = "postgres"
	// role and database are what the product connects with: no superuser, so that a hole in a
	// query can't reach the operating system through COPY ... PROGRAM.
	role     = "ratelimiter"
	database = "ratelimiter"

	// loopback is the only address that the private Postgres listens on.
	loopback = "127.0.0.1"
)

// Config says which private Postgres to run.
type Config struct {
	// DataDir is the folder (DATA_DIR) that holds the data, the password and the owner's lock.
	// It is made when missing, readable by this user alone.
	DataDir string
	// Log receives what the private Postgres reports; nil for slog.Default().
	Log *slog.Logger
	// StartTimeout bounds one start, the recovery after a crash included; 0 for two minutes.
	// Looking for the programs is apart: a download has deadlines of its own.
	StartTimeout time.Duration
	// Settings are further server settings, or others than the package's own.
	Settings map[string]string
	// CreateDB gives the product's role the right to create databases, as tests need. It counts
	// when the data folder is made.
	CreateDB bool
	// Brief says that this process wants the database for one short command. Others wait for a
	// brief owner to finish, and never attach to what it is about to stop.
	Brief bool
	// Finder looks for the programs; nil for the machine's own.
	Finder *pgbin.Finder
}

// withDefaults fills in what is unset and makes DataDir absolute.
func (c Config) withDefaults() (Config, error) {
	dir, err := filepath.Abs(c.DataDir)
	if err != nil {
		return c, err
	}
	c.DataDir = dir
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.StartTimeout == 0 {
		c.StartTimeout = 2 * time.Minute
	}
	if c.Finder == nil {
		system := pgbin.System()
		c.Finder = &system
	}
	return c, nil
}

// durable tells whether the settings leave fsync on: without it, initdb need not sync either.
func (c Config) durable() bool { return c.Settings["fsync"] != "off" }
