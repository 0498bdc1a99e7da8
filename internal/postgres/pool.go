package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres/pgbin"
)

// The pool's bounds where no option and no parameter of the URL says otherwise.
const (
	// defaultMaxConns fits several instances into Postgres's default of 100 connections.
	defaultMaxConns = 16
	// connectTimeout bounds one connection's making, the password exchange included.
	connectTimeout = 5 * time.Second
	// acquireTimeout bounds the wait for a free connection: longer, and the caller of the API is
	// better served with a 503.
	acquireTimeout = 5 * time.Second
	// statementTimeout bounds every statement, in the server.
	statementTimeout = 15 * time.Second
	// idleTransactionTimeout bounds how long an open transaction may do nothing: it holds back
	// clean-up and every feed that is ordered by transaction.
	idleTransactionTimeout = 15 * time.Second
	// maxConnLifetime and its jitter let connections move to another server after a failover.
	maxConnLifetime       = time.Hour
	maxConnLifetimeJitter = 6 * time.Minute
	maxConnIdleTime       = 10 * time.Minute
)

// Option changes one bound of the pool that Open makes.
type Option func(*pgxpool.Config)

// WithMaxConns sets how many connections the pool has at most; at least 1.
func WithMaxConns(n int32) Option {
	return func(c *pgxpool.Config) { c.MaxConns = max(1, n) }
}

// WithApplicationName sets the name that pg_stat_activity shows; "ratelimiter" without it.
func WithApplicationName(name string) Option {
	return func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["application_name"] = name }
}

// WithStatementTimeout sets the longest that a statement may take; 0 for no bound.
func WithStatementTimeout(d time.Duration) Option {
	return func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["statement_timeout"] = milliseconds(d) }
}

// WithAcquireTimeout sets the longest wait for a free connection, after which a query fails with
// context.DeadlineExceeded.
func WithAcquireTimeout(d time.Duration) Option {
	return func(c *pgxpool.Config) { c.ConnConfig.Tracer = acquireDeadline(d) }
}

// WithBeforeConnect sets a function that completes the configuration of each new
// connection.
func WithBeforeConnect(complete func(context.Context, *pgx.ConnConfig) error) Option {
	return func(c *pgxpool.Config) { c.BeforeConnect = complete }
}

// NewPool returns a bounded pool without connecting. Parameters of the URL
// (pool_max_conns, statement_timeout, application_name, connect_timeout)
// override the defaults, and options override both. No error contains the
// password. The caller closes the pool.
func NewPool(url string, options ...Option) (*pgxpool.Pool, error) {
	cfg, err := poolConfig(url, options)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	return pool, nil
}

// Open is NewPool followed by CheckVersion.
func Open(ctx context.Context, url string, options ...Option) (*pgxpool.Pool, error) {
	pool, err := NewPool(url, options...)
	if err != nil {
		return nil, err
	}
	if err := CheckVersion(ctx, pool); err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}

// poolConfig reads the URL and applies defaults and options.
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
	cfg.ConnConfig.Tracer = acquireDeadline(acquireTimeout)
	cfg.AfterConnect = readTimesInUTC
	for name, value := range map[string]string{
		"application_name":                    "ratelimiter",
		"statement_timeout":                   milliseconds(statementTimeout),
		"idle_in_transaction_session_timeout": milliseconds(idleTransactionTimeout),
		"timezone":                            "UTC",
	} {
		if _, set := cfg.ConnConfig.RuntimeParams[name]; !set {
			cfg.ConnConfig.RuntimeParams[name] = value
		}
	}
	for _, option := range options {
		option(cfg)
	}
	return cfg, nil
}

// readTimesInUTC makes a connection scan times in UTC, not in the zone of the machine: the API's
// times are UTC, and the same everywhere.
func readTimesInUTC(_ context.Context, conn *pgx.Conn) error {
	types := conn.TypeMap()
	types.RegisterType(&pgtype.Type{Name: "timestamptz", OID: pgtype.TimestamptzOID, Codec: &pgtype.TimestamptzCodec{ScanLocation: time.UTC}})
	return nil
}

// milliseconds writes a duration as Postgres's settings take it.
func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// CheckVersion connects, and fails if the server is older than Postgres 14.
func CheckVersion(ctx context.Context, pool *pgxpool.Pool) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect to the database: %w", err)
	}
	defer conn.Release()
	return supported(conn.Conn().PgConn().ParameterStatus("server_version"))
}

// supported refuses the version that a server reports, like "15.4 (Debian 15.4-1)", if too old.
func supported(version string) error {
	digits := version[:len(version)-len(strings.TrimLeft(version, "0123456789"))]
	major, err := strconv.Atoi(digits)
	if err != nil {
		return errors.New("the database does not report its version: is it Postgres?")
	}
	if major < pgbin.MinMajor {
		return fmt.Errorf("the database is Postgres %s; this program needs %d or newer", version, pgbin.MinMajor)
	}
	return nil
}
