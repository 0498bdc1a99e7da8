package instances_test

import (
	"log/slog"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/instances"
	"ratelimiter/internal/testkit"
)

// start returns a started counter, and its count is checked.
func start(t *testing.T, db *pgxpool.Pool, want int) *instances.Counter {
	t.Helper()
	c := instances.New(db, slog.New(slog.DiscardHandler))
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(t, c, want)
	return c
}

func check(t *testing.T, c *instances.Counter, want int) {
	t.Helper()
	if n := c.Count(); n != want {
		t.Errorf("Count = %d, want %d", n, want)
	}
}

// beat sends a heartbeat and checks the count.
func beat(t *testing.T, c *instances.Counter, want int) {
	t.Helper()
	if err := instances.Heartbeat(c, t.Context()); err != nil {
		t.Fatal(err)
	}
	check(t, c, want)
}

func TestCounter(t *testing.T) {
	db := testkit.Database(t)
	a := start(t, db, 1)
	b := start(t, db, 2)
	beat(t, a, 2)

	// A crashed instance is counted until its last heartbeat is 30 s old.
	for _, crashed := range []struct {
		age  string
		want int
	}{{"29 s", 3}, {"31 s", 2}} {
		if _, err := db.Exec(t.Context(), `INSERT INTO instances (id, seen_at) VALUES ('crashed', now() - $1::interval)
			ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at`, crashed.age); err != nil {
			t.Fatal(err)
		}
		beat(t, a, crashed.want)
	}
	beat(t, b, 2)
	var rows int
	if err := db.QueryRow(t.Context(), `SELECT count(*) FROM instances`).Scan(&rows); err != nil || rows != 2 {
		t.Errorf("%d rows, error %v; want that of the crashed instance deleted", rows, err)
	}

	if err := b.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	beat(t, a, 1)
	if err := a.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestCounter_Postgres_down(t *testing.T) {
	db := testkit.Database(t)
	a, b := start(t, db, 1), start(t, db, 2)
	beat(t, a, 2)
	db.Close()
	if err := instances.Heartbeat(a, t.Context()); err == nil {
		t.Error("a heartbeat succeeds without Postgres")
	}
	check(t, a, 2)

	// Start doesn't need Postgres.
	c := start(t, db, 1)
	for _, counter := range []*instances.Counter{a, b, c} {
		if err := counter.Stop(t.Context()); err == nil {
			t.Error("Stop reports no error, want that it couldn't remove its row")
		}
	}
}
