package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Bounds of what a Listening does on the network, so that a connection that is silently gone is
// noticed.
const (
	// listenTimeout bounds connecting and the LISTEN.
	listenTimeout = 2 * time.Second
	// pingTimeout bounds the answer to a ping; a Postgres that takes longer counts as lost.
	pingTimeout = time.Second
	// goodbyeTimeout bounds an orderly end.
	goodbyeTimeout = 500 * time.Millisecond
)

// Listening is a connection of its own that listens to one channel. It is for one goroutine.
//
// It belongs to no pool: a pool that is exhausted, or whose connections hang, doesn't keep what is
// said from being heard. Its owner makes it anew after an error, and then catches up from a table,
// for what was said meanwhile is lost.
type Listening struct {
	conn *pgx.Conn
}

// Listen connects to where pool connects now and listens to channel, in two seconds at most. The
// caller closes it.
func Listen(ctx context.Context, pool *pgxpool.Pool, channel string) (*Listening, error) {
	ctx, cancel := context.WithTimeout(ctx, listenTimeout)
	defer cancel()
	cfg := pool.Config()
	if cfg.BeforeConnect != nil {
		if err := cfg.BeforeConnect(ctx, cfg.ConnConfig); err != nil {
			return nil, fmt.Errorf("listen to %s: %w", channel, err)
		}
	}
	cfg.ConnConfig.RuntimeParams["application_name"] = "ratelimiter listens to " + channel
	conn, err := pgx.ConnectConfig(ctx, cfg.ConnConfig)
	if err != nil {
		return nil, fmt.Errorf("listen to %s: %w", channel, err)
	}
	l := &Listening{conn}
	if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{channel}.Sanitize()); err != nil {
		l.Close()
		return nil, fmt.Errorf("listen to %s: %w", channel, err)
	}
	return l, nil
}

// Wait returns the payload of the next notification; heard is false when none came within d. After
// an error the connection is of no use.
func (l *Listening) Wait(ctx context.Context, d time.Duration) (payload string, heard bool, err error) {
	waiting, cancel := context.WithTimeout(ctx, max(d, time.Millisecond))
	defer cancel()
	n, err := l.conn.WaitForNotification(waiting)
	switch {
	case err == nil && n != nil:
		return n.Payload, true, nil
	case err == nil || errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil && !l.conn.IsClosed():
		return "", false, nil // a wait that ends by its time leaves the connection as it was
	default:
		return "", false, fmt.Errorf("wait for a notification: %w", err)
	}
}

// Ping asks Postgres for a sign of life: silence alone says nothing.
func (l *Listening) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	if err := l.conn.Ping(ctx); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	return nil
}

// Conn is the connection, for queries between two waits: what is said meanwhile is kept for the
// next one.
func (l *Listening) Conn() *pgx.Conn { return l.conn }

// Close ends the connection.
func (l *Listening) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), goodbyeTimeout)
	defer cancel()
	_ = l.conn.Close(ctx) // it is ended either way
}
