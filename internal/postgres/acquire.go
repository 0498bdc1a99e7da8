package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/models"
)

// acquireLimits bounds the wait for a free connection, and how many connections administrative
// requests hold at once, so that slow reads of operators leave connections to the requests of
// callers. The pool has no settings for these, but it acquires with the context that its tracer
// returns, and queries with the caller's context. A transaction holds its place until it ends.
type acquireLimits struct {
	timeout time.Duration
	admin   chan struct{} // semaphore of administrative requests
}

var (
	_ pgxpool.AcquireTracer = (*acquireLimits)(nil)
	_ pgxpool.ReleaseTracer = (*acquireLimits)(nil)
	_ pgx.QueryTracer       = (*acquireLimits)(nil)
)

// adminShare returns how many of a pool's connections administrative requests may hold: 6 of 16.
func adminShare(conns int32) int32 { return max(1, conns*3/8) }

// AdminShare returns how many connections of a pool administrative requests hold,
// and how many they may hold.
func AdminShare(pool *pgxpool.Pool) (held, most int) {
	if limits, ok := pool.Config().ConnConfig.Tracer.(*acquireLimits); ok {
		return len(limits.admin), cap(limits.admin)
	}
	return 0, 0
}

// acquisition is one wait for a connection.
type acquisition struct {
	cancel context.CancelFunc
	admin  bool // it has a place in acquireLimits.admin
}

// acquisitionKey is the context key of an acquisition.
type acquisitionKey struct{}

// inAdminShare is the key of a connection's custom data while it has a place in
// acquireLimits.admin.
const inAdminShare = "ratelimiter/internal/postgres.inAdminShare"

// TraceAcquireStart starts the deadline, and within it waits for a place if the request is
// administrative.
func (l *acquireLimits) TraceAcquireStart(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireStartData) context.Context {
	administrative := models.RequestFrom(ctx).Administrative
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	a := &acquisition{cancel: cancel}
	if administrative {
		select {
		case l.admin <- struct{}{}:
			a.admin = true
		case <-ctx.Done(): // the pool returns its error
		}
	}
	return context.WithValue(ctx, acquisitionKey{}, a)
}

// TraceAcquireEnd ends the deadline. The connection keeps the place.
func (l *acquireLimits) TraceAcquireEnd(ctx context.Context, _ *pgxpool.Pool, end pgxpool.TraceAcquireEndData) {
	a, ok := ctx.Value(acquisitionKey{}).(*acquisition)
	if !ok {
		return
	}
	a.cancel()
	switch {
	case !a.admin:
	case end.Conn == nil:
		<-l.admin
	default:
		end.Conn.PgConn().CustomData()[inAdminShare] = true
	}
}

// TraceRelease gives back the connection's place.
func (l *acquireLimits) TraceRelease(_ *pgxpool.Pool, released pgxpool.TraceReleaseData) {
	custom := released.Conn.PgConn().CustomData()
	if _, admin := custom[inAdminShare]; admin {
		delete(custom, inAdminShare)
		<-l.admin
	}
}

// TraceQueryStart does nothing. A tracer of a connection must have it.
func (*acquireLimits) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

// TraceQueryEnd does nothing.
func (*acquireLimits) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
