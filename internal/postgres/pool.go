// Package postgres provides what the services share around the database: the connection pool,
// transactions, migrations, LISTEN connections and the classification of errors. It knows no table
// of the product.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

// MinMajor is the oldest supported major version of Postgres.
const MinMajor = 14

// Defaults of the pool. Parameters of the URL and options override them.
const (
	// defaultMaxConns fits several instances into Postgres's default of 100 connections.
	defaultMaxConns = 16
	// connectTimeout bounds opening one connection, including authentication.
	connectTimeout = 5 * time.Second
	// acquireTimeout bounds the wait for a free connection: after that, a 503 serves the caller
	// better.
	acquireTimeout = 5 * time.Second
	// statementTimeout bounds every statement, in the server.
	statementTimeout = 15 * time.Second
	// idleTransactionTimeout bounds how long an open transaction may be idle: it delays vacuum and
	// every feed that is ordered by transaction.
	idleTransactionTimeout = 15 * time.Second
	// maxConnLifetime and its jitter let connections move to another server after a failover.
	maxConnLifetime       = time.Hour
	maxConnLifetimeJitter = 6 * time.Minute
	maxConnIdleTime       = 10 * time.Minute
)

// Option changes a setting of a pool.
type Option func(*pgxpool.Config)

// WithMaxConns sets the maximum number of connections, at least 1.
func WithMaxConns(n int32) Option {
	return func(c *pgxpool.Config) { c.MaxConns = max(1, n) }
}

// WithApplicationName sets the name shown in pg_stat_activity. The default is "ratelimiter".
func WithApplicationName(name string) Option {
	return func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["application_name"] = name }
}

// WithStatementTimeout sets the longest time that a statement may take; 0 means no limit.
func WithStatementTimeout(d time.Duration) Option {
	return func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["statement_timeout"] = milliseconds(d) }
}

// WithAcquireTimeout sets the longest wait for a free connection, after which a query fails with
// context.DeadlineExceeded.
func WithAcquireTimeout(d time.Duration) Option {
	return func(c *pgxpool.Config) { c.ConnConfig.Tracer = &acquireLimits{timeout: d} }
}

// WithBeforeConnect sets a function that completes the configuration of each new connection.
func WithBeforeConnect(fn func(context.Context, *pgx.ConnConfig) error) Option {
	return func(c *pgxpool.Config) { c.BeforeConnect = fn }
}

// Open is NewPool followed by Check: a wrong URL, a server that is down and one that is too old are
// errors here and not in the first request. The caller closes the pool.
func Open(ctx context.Context, url string, options ...Option) (*pgxpool.Pool, error) {
	pool, err := NewPool(url, options...)
	if err != nil {
		return nil, err
	}
	if err := Check(ctx, pool); err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}

// NewPool returns a bounded pool that hasn't connected. Parameters of the URL (pool_max_conns,
// statement_timeout, application_name, connect_timeout) override the defaults, and options override
// both. No error contains the password. The caller closes the pool.
func NewPool(url string, options ...Option) (*pgxpool.Pool, error) {
	cfg, err := poolConfig(url, options)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg) // without a minimum of connections, it doesn't connect
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	return pool, nil
}

// Check connects once and rejects a server that is older than MinMajor.
func Check(ctx context.Context, pool *pgxpool.Pool) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect to the database: %w", err)
	}
	defer conn.Release()
	return checkVersion(conn.Conn().PgConn().ParameterStatus("server_version"))
}

// Writable reports whether the database accepts writes: it is no standby and not
// read-only. It is cheap enough for a readiness probe. A connection that doesn't
// is closed, because a new one may reach the primary.
func Writable(ctx context.Context, pool *pgxpool.Pool) (bool, error) {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return false, Classify("connect to the database", err)
	}
	defer conn.Release()
	var readOnly bool
	err = conn.QueryRow(ctx, "SELECT current_setting('transaction_read_only')::boolean").Scan(&readOnly)
	if readOnly {
		_ = conn.Conn().Close(ctx)
	}
	return !readOnly && err == nil, Classify("check for writes", err)
}

// Now returns the time by the database's clock.
func Now(ctx context.Context, pool *pgxpool.Pool) (now time.Time, err error) {
	err = pool.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&now)
	return now, Classify("read the database's clock", err)
}

// poolConfig parses the URL and applies defaults and options.
func poolConfig(url string, options []Option) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("DATABASE_URL: %w", err)
	}
	if !strings.Contains(url, "pool_max_conns") {
		cfg.MaxConns = defaultMaxConns
	}
	cfg.MaxConnLifetime, cfg.MaxConnLifetimeJitter = maxConnLifetime, maxConnLifetimeJitter
	cfg.MaxConnIdleTime = maxConnIdleTime
	if !strings.Contains(url, "connect_timeout") {
		cfg.ConnConfig.ConnectTimeout = connectTimeout
	}
	cfg.ConnConfig.Tracer = &acquireLimits{timeout: acquireTimeout}
	cfg.AfterConnect = scanTimesInUTC
	cfg.ConnConfig.OnPgError = keepConnection
	for name, value := range map[string]string{
		"application_name":                    "ratelimiter",
		"statement_timeout":                   milliseconds(statementTimeout),
		"idle_in_transaction_session_timeout": milliseconds(idleTransactionTimeout),
		"timezone":                            "UTC",
		// Statements wait for each other's rows instead of failing.
		"default_transaction_isolation": "read committed",
	} {
		if _, set := cfg.ConnConfig.RuntimeParams[name]; !set {
			cfg.ConnConfig.RuntimeParams[name] = value
		}
	}
	for _, option := range options {
		option(cfg)
	}
	if cfg.BeforeConnect == nil { // otherwise the address is a private Postgres's
		cfg.BeforeConnect = new(pooler).beforeConnect
	}
	if limits, ok := cfg.ConnConfig.Tracer.(*acquireLimits); ok {
		limits.admin = make(chan struct{}, adminShare(cfg.MaxConns))
	}
	return cfg, nil
}

// keepConnection closes a connection on fatal errors, as is pgx's default, and
// when its server has become read-only: after a failover, a new connection may
// reach the primary.
func keepConnection(_ *pgconn.PgConn, err *pgconn.PgError) bool {
	return !strings.EqualFold(err.Severity, "FATAL") && err.Code != readOnly
}

// scanTimesInUTC makes a connection scan times in UTC instead of the machine's time zone.
func scanTimesInUTC(_ context.Context, conn *pgx.Conn) error {
	types := conn.TypeMap()
	types.RegisterType(&pgtype.Type{Name: "timestamptz", OID: pgtype.TimestamptzOID, Codec: &pgtype.TimestamptzCodec{ScanLocation: time.UTC}})
	return nil
}

// milliseconds formats a duration for a setting of Postgres.
func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// checkVersion rejects a server version, such as "15.4 (Debian 15.4-1)", that is older than MinMajor.
func checkVersion(version string) error {
	digits := version[:len(version)-len(strings.TrimLeft(version, "0123456789"))]
	major, err := strconv.Atoi(digits)
	if err != nil {
		return errors.New("the database doesn't report its version: is it Postgres?")
	}
	if major < MinMajor {
		return fmt.Errorf("the database is Postgres %s; this program needs %d or newer", version, MinMajor)
	}
	return nil
}
