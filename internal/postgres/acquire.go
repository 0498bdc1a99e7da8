package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// acquireDeadline bounds the wait for a free connection. The pool has no setting for it, but it
// acquires with the context that its tracer returns, and queries with the caller's context.
type acquireDeadline time.Duration

var (
	_ pgxpool.AcquireTracer = acquireDeadline(0)
	_ pgx.QueryTracer       = acquireDeadline(0)
)

// cancelKey is the context key of the deadline's cancel function.
type cancelKey struct{}

// TraceAcquireStart starts the deadline.
func (d acquireDeadline) TraceAcquireStart(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireStartData) context.Context {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(d))
	return context.WithValue(ctx, cancelKey{}, cancel)
}

// TraceAcquireEnd ends the deadline.
func (d acquireDeadline) TraceAcquireEnd(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireEndData) {
	if cancel, ok := ctx.Value(cancelKey{}).(context.CancelFunc); ok {
		cancel()
	}
}

// TraceQueryStart does nothing. A tracer of a connection must have it.
func (d acquireDeadline) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

// TraceQueryEnd does nothing.
func (d acquireDeadline) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
