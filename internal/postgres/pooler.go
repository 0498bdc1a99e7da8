package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// sessionParameters are the startup parameters that a pooler in transaction mode, such as PgBouncer,
// refuses or ignores, because its server connections are shared. InTx sets them for each transaction
// instead.
var sessionParameters = []string{"statement_timeout", "idle_in_transaction_session_timeout", "default_transaction_isolation"}

// transactionSettings is the key of a connection's custom data that marks a connection through a
// pooler. The value is the statement that sets sessionParameters for a transaction.
const transactionSettings = "ratelimiter/internal/postgres.transactionSettings"

// pooler adapts the connections of a pool whose URL may be a pooler's, which it finds out once.
type pooler struct {
	found atomic.Pointer[bool] // nil: not known yet
}

// beforeConnect changes the configuration of a connection through a pooler: without sessionParameters,
// and without named prepared statements, which would belong to one of the pooler's server connections.
func (p *pooler) beforeConnect(ctx context.Context, cfg *pgx.ConnConfig) error {
	found := p.found.Load()
	if found != nil && !*found {
		return nil
	}
	pooled, set := cfg.Copy(), []string(nil)
	for _, name := range sessionParameters {
		if value, ok := pooled.RuntimeParams[name]; ok {
			set = append(set, "set_config('"+name+"', '"+strings.ReplaceAll(value, "'", "''")+"', true)")
			delete(pooled.RuntimeParams, name)
		}
	}
	if found == nil {
		answers, err := isPooler(ctx, pooled)
		if err != nil {
			return err
		}
		p.found.Store(&answers)
		if !answers {
			return nil
		}
	}
	pooled.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	pooled.AfterConnect = func(_ context.Context, conn *pgconn.PgConn) error {
		if len(set) > 0 {
			conn.CustomData()[transactionSettings] = "SELECT " + strings.Join(set, ", ")
		} else {
			conn.CustomData()[transactionSettings] = ""
		}
		return nil
	}
	*cfg = *pooled
	return nil
}

// isPooler connects and reports whether a pooler answers: the process that runs queries isn't the
// one that accepted the connection.
func isPooler(ctx context.Context, cfg *pgx.ConnConfig) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(cfg.ConnectTimeout, connectTimeout))
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close(ctx) }()
	var pid uint32
	err = conn.QueryRow(ctx, "SELECT pg_backend_pid()", pgx.QueryExecModeExec).Scan(&pid)
	return pid != conn.PgConn().PID(), err
}

// throughPooler reports whether a connection of a pool, or one made like it, reaches Postgres through
// a pooler.
func throughPooler(conn *pgx.Conn) bool {
	_, found := conn.PgConn().CustomData()[transactionSettings]
	return found
}

// limits returns the statement that sets sessionParameters for a transaction through a pooler; "":
// none is needed.
func limits(conn *pgx.Conn) string {
	set, _ := conn.PgConn().CustomData()[transactionSettings].(string)
	return set
}

// ErrOtherDatabase reports two URLs of which each is of another database.
var ErrOtherDatabase = errors.New("DATABASE_LISTEN_URL: is not the database of DATABASE_URL")

// CheckSame fails with ErrOtherDatabase if two pools are of different databases.
func CheckSame(ctx context.Context, a, b *pgxpool.Pool) error {
	if a == b {
		return nil
	}
	var identities [2]string
	for i, pool := range []*pgxpool.Pool{a, b} {
		err := pool.QueryRow(ctx, `
			SELECT concat(extract(epoch FROM pg_postmaster_start_time()), ' ', oid) FROM pg_database WHERE datname = current_database()`).
			Scan(&identities[i])
		if err != nil {
			return fmt.Errorf("compare the databases: %w", err)
		}
	}
	if identities[0] != identities[1] {
		return ErrOtherDatabase
	}
	return nil
}
