package orders

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/queue"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// roundTrips counts how often a connection that was written to is read.
type roundTrips struct {
	net.Conn
	n       *atomic.Int64
	written bool
}

func (c *roundTrips) Write(b []byte) (int, error) {
	c.written = true
	return c.Conn.Write(b)
}

func (c *roundTrips) Read(b []byte) (int, error) {
	if c.written {
		c.n.Add(1)
		c.written = false
	}
	return c.Conn.Read(b)
}

// TestStore_Create_round_trips also shows that River's inserts can be part of a
// batch.
func TestStore_Create_round_trips(t *testing.T) {
	var n atomic.Int64
	db, err := postgres.Open(t.Context(), testkit.DatabaseURL(t), postgres.WithMaxConns(1), func(c *pgxpool.Config) {
		dial := c.ConnConfig.DialFunc
		c.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			return &roundTrips{Conn: conn, n: &n}, err
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	q, err := queue.New(db, Routes, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s := NewStore(db, q)
	spec := models.NewOrder{Owner: "o", Email: "a@example.com", PaymentToken: "tok_ok", Items: []models.NewItem{
		{ProductID: "prd_0y5apuf8zs", Quantity: 2}, {ProductID: "prd_0y5apuf8zs", Quantity: 3},
	}}
	create := func(key, product string) (models.Order, int64, error) {
		t.Helper()
		spec.IdempotencyKey, spec.Items[1].ProductID = key, product
		before := n.Load()
		order, _, err := s.Create(t.Context(), spec)
		return order, n.Load() - before, err
	}
	const cup, unknown = "prd_0y5apuf8zs", "prd_unknown"
	for range 2 { // the connection prepares the statements
		_, _, _ = create("", cup)
		_, _, _ = create("warm", cup)
	}
	for _, c := range []struct {
		name, key, product string
		want               int64
		invalid            bool
	}{
		{"without a key", "", cup, 2, false},
		{"with a new key", "k", cup, 2, false},
		{"replayed", "k", cup, 4, false}, // the order and its items
		{"rejected", "r", unknown, 2, true},
		{"replayed rejection", "r", unknown, 2, true},
		{"rejected without a key", "", unknown, 2, true}, // the second is the rollback
	} {
		order, trips, err := create(c.key, c.product)
		if trips != c.want || errors.Is(err, models.ErrUnavailable) || (err != nil) != c.invalid {
			t.Errorf("%s: %d round trips, error %v; want %d", c.name, trips, err, c.want)
		}
		if c.invalid {
			continue
		}
		jobs := column[string](t, db, `SELECT queue FROM river_job WHERE args ->> 'key' = $1 AND args ->> 'topic' = 'order.placed' ORDER BY queue`, order.ID)
		events := column[string](t, db, `SELECT type || data::text FROM order_events WHERE order_id = $1`, order.ID)
		if len(jobs) != 2 || len(events) != 1 || order.CreatedAt.IsZero() || order.UpdatedAt != order.CreatedAt || order.ItemCount != 2 {
			t.Errorf("%s: got order %+v, jobs %v, events %v", c.name, order, jobs, events)
		}
		stored, err := s.Get(t.Context(), "o", order.ID)
		if err != nil || len(stored.Items) != 2 || stored.Items[1] != order.Items[1] || stored.Total != order.Total {
			t.Errorf("%s: stored %+v, error %v", c.name, stored, err)
		}
	}
	if held := db.Stat().AcquiredConns(); held != 0 {
		t.Errorf("%d connections are still acquired", held)
	}
}
