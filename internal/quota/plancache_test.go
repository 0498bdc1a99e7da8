package quota

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// queryCounter counts the queries of a pool.
type queryCounter struct{ queries atomic.Int64 }

func (c *queryCounter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.queries.Add(1)
	return ctx
}

func (*queryCounter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func TestPlanCache_unknown_names(t *testing.T) {
	cfg, err := pgxpool.ParseConfig(testkit.DatabaseURL(t))
	if err != nil {
		t.Fatal(err)
	}
	counter := &queryCounter{}
	cfg.ConnConfig.Tracer = counter
	db, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	plans, err := NewPlanCache(db, NewEnforcementMode(db, noInvalidator{}), CacheConfig{TTL: time.Hour, Stale: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(plans.Close)
	for i := range 100 {
		if _, err := plans.Quota(t.Context(), fmt.Sprint("none-", i)); !errors.Is(err, models.ErrNotFound) {
			t.Fatalf("an unknown plan: %v; want models.ErrNotFound", err)
		}
	}
	if n := counter.queries.Load(); n != 1 {
		t.Errorf("%d queries for 100 unknown names, want 1", n)
	}
	if _, err := db.Exec(t.Context(), `INSERT INTO plans (name, policies) VALUES ('none-7', '[]')`); err != nil {
		t.Fatal(err)
	}
	plans.Invalidate(models.ChangeEvent{Kind: models.ChangedPlan, ID: "none-7", Version: 1})
	if _, err := plans.Quota(t.Context(), "none-7"); err != nil {
		t.Errorf("a plan that was created: %v", err)
	}
}
