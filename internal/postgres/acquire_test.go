package postgres_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// administrative is the context of an administrative request. It counts the
// acquisitions that have begun.
type administrative struct {
	context.Context
	begun *atomic.Int64
}

func (c administrative) Value(key any) any {
	if key == models.RequestKey {
		c.begun.Add(1)
		return &models.Request{Administrative: true}
	}
	return c.Context.Value(key)
}

// TestAdminShare blocks 32 administrative queries by a lock: the other
// connections of the pool stay free, twice, because the pool serves in order.
func TestAdminShare(t *testing.T) {
	const conns, share, requests = 16, 6, 32
	url := testkit.DatabaseURL(t)
	pool, other := open(t, url, postgres.WithMaxConns(conns)), open(t, url)
	lock, err := other.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Exec(t.Context(), "LOCK TABLE api_keys"); err != nil {
		t.Fatal(err)
	}
	ctx := administrative{t.Context(), new(atomic.Int64)}
	var running sync.WaitGroup
	for range requests {
		running.Go(func() {
			var n int
			if err := pool.QueryRow(ctx, "SELECT count(*) FROM api_keys").Scan(&n); err != nil {
				t.Error(err)
			}
		})
	}
	for deadline := time.Now().Add(20 * time.Second); ctx.begun.Load() < requests || pool.Stat().AcquiredConns() < share; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the administrative queries didn't begin")
		}
	}
	for range 2 {
		if n := pool.Stat().AcquiredConns(); n != share {
			t.Errorf("administrative requests hold %d connections, want %d", n, share)
		}
		var held []*pgxpool.Conn
		for range conns - share {
			conn, err := pool.Acquire(t.Context())
			if err != nil {
				t.Fatalf("no connection for another request: %v", err)
			}
			held = append(held, conn)
		}
		for _, conn := range held {
			conn.Release()
		}
	}
	if err := lock.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	running.Wait() // every place was given back
}

// TestAdminShare_places checks that failed acquisitions, transactions and closed
// connections give their places back: each pool has one.
func TestAdminShare_places(t *testing.T) {
	pool := open(t, testkit.DatabaseURL(t), postgres.WithMaxConns(2))
	ctx := models.WithRequest(t.Context(), &models.Request{Administrative: true})
	tx, err := pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	waiting, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := pool.Exec(waiting, "SELECT 1"); err == nil {
		t.Error("a second administrative connection while a transaction holds the place")
	}
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		conn, err := pool.Acquire(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Conn().Close(ctx)
		conn.Release()
	}
	refused, err := postgres.NewPool("postgres://127.0.0.1:1/none?sslmode=disable", postgres.WithMaxConns(2))
	if err != nil {
		t.Fatal(err)
	}
	defer refused.Close()
	for range 2 {
		if _, err := refused.Exec(ctx, "SELECT 1"); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a server that refuses connections: %v, want an error without a wait", err)
		}
	}
}
