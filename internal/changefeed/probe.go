package changefeed

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
)

// Probe sends a notification through db on a channel of its own, and returns how
// long it took to arrive at a direct connection. ok is false if it didn't arrive
// within Bound.
func Probe(ctx context.Context, db, direct *pgxpool.Pool) (took time.Duration, ok bool, err error) {
	channel := "ratelimiter_probe_" + rand.Text()
	listener, err := postgres.Listen(ctx, direct, channel)
	if err != nil {
		return 0, false, err
	}
	defer listener.Close()
	began := time.Now()
	if _, err := db.Exec(ctx, `SELECT pg_notify($1, '')`, channel); err != nil {
		return 0, false, fmt.Errorf("notify: %w", err)
	}
	_, ok, err = listener.Wait(ctx, Bound)
	return time.Since(began), ok, err
}
