package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// rollbackTimeout bounds a rollback, which runs even if the caller's context has ended.
const rollbackTimeout = 2 * time.Second

// Beginner begins a transaction. Pools and connections implement it, and so do transactions, which
// begin a savepoint.
type Beginner interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// commitHooks is the key of a connection's custom data that holds the functions to
// call after the commit of its transaction.
const commitHooks = "ratelimiter/internal/postgres.commitHooks"

// OnCommit has fn called once the transaction that InTx or InBatches began is committed,
// before they return. It isn't called if the transaction is rolled back, or if the commit's outcome
// is unknown. fn must not block.
func OnCommit(tx pgx.Tx, fn func()) {
	data := tx.Conn().PgConn().CustomData()
	hooks, _ := data[commitHooks].([]func())
	data[commitHooks] = append(hooks, fn)
}

// takeHooks returns the functions to call after the commit, and forgets them.
func takeHooks(tx pgx.Tx) []func() {
	data := tx.Conn().PgConn().CustomData()
	hooks, _ := data[commitHooks].([]func())
	delete(data, commitHooks)
	return hooks
}

// InTx runs fn in a transaction, which is committed if fn returns nil and rolled back if fn panics
// or returns an error. InTx returns fn's error unchanged. If the connection is lost during the
// commit, its outcome is unknown.
func InTx(ctx context.Context, db Beginner, fn func(pgx.Tx) error) error {
	tx, err := db.Begin(ctx)
	if err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	defer rollback(ctx, tx)
	if set := limits(tx.Conn()); set != "" {
		if _, err := tx.Exec(ctx, set); err != nil {
			return fmt.Errorf("begin a transaction: %w", err)
		}
	}
	if _, savepoint := db.(pgx.Tx); savepoint { // its functions are called after the transaction's commit
		if err := fn(tx); err != nil {
			return err
		}
		return commit(ctx, tx)
	}
	takeHooks(tx) // of a transaction that was rolled back
	if err := fn(tx); err != nil {
		return err
	}
	hooks := takeHooks(tx) // before the connection returns to its pool
	if err := commit(ctx, tx); err != nil {
		return err
	}
	for _, hook := range hooks {
		hook()
	}
	return nil
}

func commit(ctx context.Context, tx pgx.Tx) error {
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// rollback rolls back tx unless it has ended. With a cancelled context it would close the connection.
func rollback(ctx context.Context, tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
	defer cancel()
	if err := tx.Rollback(ctx); err != nil && !errors.Is(err, pgx.ErrTxClosed) {
		_ = tx.Conn().Close(ctx) // its state is unknown: the pool must not reuse it
	}
}

// InBatches is InTx in two round trips: one batch of reads, sent with BEGIN, and one of writes, sent
// with COMMIT. read queues the reads, whose callbacks take the results. write queues the writes
// after that; it may also use tx. If it returns an error, or a statement fails, the transaction is
// rolled back. Callbacks of writes must not fail: they may run after the commit. What write queues in after runs after the commit, and its errors are ignored. That is for
// NOTIFY: transactions with one commit one after another.
func InBatches(ctx context.Context, db *pgxpool.Pool, read func(*pgx.Batch), write func(tx pgx.Tx, writes, after *pgx.Batch) error) error {
	conn, err := db.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	defer conn.Release()
	reads, writes, after := &pgx.Batch{}, &pgx.Batch{}, &pgx.Batch{}
	reads.BeginTx(pgx.TxOptions{})
	if set := limits(conn.Conn()); set != "" {
		reads.Queue(set)
	}
	read(reads)
	results := conn.SendBatch(ctx, reads)
	tx := results.Tx()
	defer func() {
		if conn.Conn().PgConn().TxStatus() != idle {
			rollback(ctx, tx)
		}
	}()
	if err := results.Close(); err != nil {
		return err
	}
	takeHooks(tx) // of a transaction that was rolled back
	if err := write(tx, writes, after); err != nil {
		return err
	}
	hooks := takeHooks(tx)
	committed := false
	writes.Queue("COMMIT").Exec(func(tag pgconn.CommandTag) error {
		if committed = tag.String() == "COMMIT"; !committed {
			return pgx.ErrTxCommitRollback // write ignored an error of tx
		}
		return nil
	})
	writes.QueuedQueries = append(writes.QueuedQueries, after.QueuedQueries...)
	if err := conn.SendBatch(ctx, writes).Close(); err != nil && !committed {
		return err
	}
	for _, hook := range hooks {
		hook()
	}
	return nil
}

// idle is the status of a connection without a transaction.
const idle = 'I'
