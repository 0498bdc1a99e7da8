package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
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

// OnCommit has fn called once the transaction that InTx began is committed, before InTx
// returns. It isn't called if the transaction is rolled back, or if the commit's outcome
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
	// After a commit this does nothing. A rollback with a cancelled context would close the
	// connection.
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
		defer cancel()
		if err := tx.Rollback(ctx); err != nil && !errors.Is(err, pgx.ErrTxClosed) {
			_ = tx.Conn().Close(ctx) // its state is unknown: the pool must not reuse it
		}
	}()
	if err := limitTransaction(ctx, tx); err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
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
