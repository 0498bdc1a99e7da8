package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Network timeouts of a Listener, so that it notices a connection that is lost silently.
const (
	// listenTimeout bounds connecting and LISTEN.
	listenTimeout = 2 * time.Second
	// pingTimeout bounds a ping. A Postgres that takes longer is treated as lost.
	pingTimeout = time.Second
	// closeTimeout bounds an orderly close.
	closeTimeout = 500 * time.Millisecond
)

// Notification is what was sent with NOTIFY.
type Notification struct{ Channel, Payload string }

// Listener is a connection that listens to channels. It is for use by one goroutine.
//
// It isn't part of a pool, so an exhausted pool doesn't delay notifications. After an error its
// owner closes it, makes a new one, and reads what it missed from a table: notifications aren't
// stored.
type Listener struct {
	conn *pgx.Conn
}

// Listen connects to the current address of pool and listens to channels, at least one. It takes two
// seconds at most. The caller closes the Listener.
func Listen(ctx context.Context, pool *pgxpool.Pool, channels ...string) (*Listener, error) {
	ctx, cancel := context.WithTimeout(ctx, listenTimeout)
	defer cancel()
	cfg := pool.Config()
	if cfg.BeforeConnect != nil {
		if err := cfg.BeforeConnect(ctx, cfg.ConnConfig); err != nil {
			return nil, fmt.Errorf("listen to %s: %w", channels[0], err)
		}
	}
	cfg.ConnConfig.RuntimeParams["application_name"] = "ratelimiter listens to " + channels[0]
	conn, err := pgx.ConnectConfig(ctx, cfg.ConnConfig)
	if err != nil {
		return nil, fmt.Errorf("listen to %s: %w", channels[0], err)
	}
	l := &Listener{conn}
	if l.Polling() {
		return l, nil
	}
	for _, channel := range channels {
		if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{channel}.Sanitize()); err != nil {
			l.Close()
			return nil, fmt.Errorf("listen to %s: %w", channel, err)
		}
	}
	return l, nil
}

// Polling reports whether no notifications arrive, because the connection is a pooler's.
func (l *Listener) Polling() bool { return throughPooler(l.conn) }

// Wait returns the next notification. ok is false if none arrived within d. After an error the Listener
// is unusable.
func (l *Listener) Wait(ctx context.Context, d time.Duration) (news Notification, ok bool, err error) {
	waiting, cancel := context.WithTimeout(ctx, max(d, time.Millisecond))
	defer cancel()
	n, err := l.conn.WaitForNotification(waiting)
	switch {
	case err == nil && n != nil:
		return Notification{n.Channel, n.Payload}, true, nil
	case err == nil || errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil && !l.conn.IsClosed():
		return Notification{}, false, nil // a timeout leaves the connection usable
	default:
		return Notification{}, false, fmt.Errorf("wait for a notification: %w", err)
	}
}

// Ping checks that Postgres responds: a lost connection looks the same as one without notifications.
func (l *Listener) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	if err := l.conn.Ping(ctx); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	return nil
}

// Conn returns the connection, for queries between two calls of Wait. Notifications that arrive
// during a query are kept for the next Wait.
func (l *Listener) Conn() *pgx.Conn { return l.conn }

// Close closes the connection.
func (l *Listener) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = l.conn.Close(ctx) // it is closed even if this fails
}
