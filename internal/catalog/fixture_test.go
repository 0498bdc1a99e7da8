package catalog

import (
	"context"
	"encoding/json"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// cups is a product of the migrations.
const cups = "prd_0y5apuf8zs"

// shop is Products on a database, with the clock's offset in the test's hands and a
// count of its queries.
type shop struct {
	*Products
	t       *testing.T
	db      *pgxpool.Pool
	ahead   atomic.Int64 // of the real time
	queries atomic.Int64
	events  []models.ChangeEvent // announced
}

func newShop(t *testing.T, database string) *shop {
	t.Helper()
	s := &shop{t: t}
	cfg, err := pgxpool.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	cfg.ConnConfig.Tracer = s
	if s.db, err = pgxpool.NewWithConfig(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.db.Close)
	if s.Products, err = New(s.db, Config{Stale: time.Minute, Encode: encode, Invalidator: invalidator{s}}); err != nil {
		t.Fatal(err)
	}
	s.now = func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }
	t.Cleanup(s.Close)
	return s
}

// encode is not that of package handlers, which this package doesn't know.
func encode(p models.Product) (models.Representation, error) {
	body, err := json.Marshal(p)
	return models.Representation{Body: body, ETag: []string{strconv.FormatInt(p.Version, 10)}}, err
}

// TraceQueryStart counts queries of products.
func (s *shop) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	s.queries.Add(1)
	return ctx
}

// TraceQueryEnd does nothing.
func (*shop) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// invalidator records what is announced.
type invalidator struct{ *shop }

func (i invalidator) Invalidate(_ context.Context, event models.ChangeEvent) {
	i.events = append(i.events, event)
}

// get returns a product, which must exist.
func (s *shop) get(id string) models.Product {
	s.t.Helper()
	sent, err := s.Get(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	var p models.Product
	if err := json.Unmarshal(sent.Body, &p); err != nil {
		s.t.Fatal(err)
	}
	return p
}

// names returns the names of the products in the list.
func (s *shop) names() (names []string) {
	s.t.Helper()
	page, err := s.List(s.t.Context(), nil, 100)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, p := range page.Data {
		names = append(names, p.Name)
	}
	return names
}

// count returns the number of queries that run makes.
func (s *shop) count(run func()) int64 {
	before := s.queries.Load()
	run()
	return s.queries.Load() - before
}

func (s *shop) wait(d time.Duration) { s.ahead.Add(int64(d)) }

func (s *shop) exec(sql string, args ...any) {
	s.t.Helper()
	if _, err := s.db.Exec(s.t.Context(), sql, args...); err != nil {
		s.t.Fatal(err)
	}
}

// rename changes a name.
func (s *shop) rename(id, name string) models.Product {
	s.t.Helper()
	p, err := s.Change(actor(s.t), id, models.Precondition{}, func(p *models.Product) error { p.Name = name; return nil })
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// stock sets the stock.
func (s *shop) stock(id string, units int64) models.Product {
	s.t.Helper()
	p, err := s.Change(actor(s.t), id, models.Precondition{}, func(p *models.Product) error { p.Stock = units; return nil })
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// feed hands the change log to s, as changefeed.Watcher does, and empties it.
func (s *shop) feed() []models.ChangeEvent {
	s.t.Helper()
	rows, err := s.db.Query(s.t.Context(), `DELETE FROM changes WHERE kind = 'product' RETURNING kind, id, version`)
	if err != nil {
		s.t.Fatal(err)
	}
	events, err := pgx.CollectRows(rows, pgx.RowToStructByPos[models.ChangeEvent])
	if err != nil {
		s.t.Fatal(err)
	}
	for _, event := range events {
		s.Invalidate(event)
	}
	return events
}

func actor(t *testing.T) context.Context { return models.WithActor(t.Context(), "test") }

// audits returns the recorded actions, oldest first.
func (s *shop) audits() (actions []string) {
	s.t.Helper()
	rows, err := s.db.Query(s.t.Context(), `SELECT action || ' ' || COALESCE(before ->> 'version', '-') || ' ' || COALESCE(after ->> 'version', '-') FROM audit_log ORDER BY id`)
	if err != nil {
		s.t.Fatal(err)
	}
	if actions, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		s.t.Fatal(err)
	}
	return actions
}

func database(t *testing.T) string { return testkit.DatabaseURL(t) }
