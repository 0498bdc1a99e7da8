package workers

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/orders"
	"ratelimiter/internal/postgres"
	"ratelimiter/internal/queue"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// cups is the product that tests order.
const cups = "prd_0y5apuf8zs"

// shop is a database with orders, and the workers of the test.
type shop struct {
	*testing.T
	db     *pgxpool.Pool
	queue  *queue.Queue
	orders *orders.Store

	attempts int // after which a message becomes a dead letter
}

func newShop(t *testing.T) *shop {
	t.Helper()
	db := testkit.Database(t)
	q, err := queue.New(db, orders.Routes, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return &shop{t, db, q, orders.NewStore(db, q, nil), 3}
}

// work runs workers until the test ends.
func (s *shop) work(handlers queue.Handlers) {
	s.Helper()
	w, err := queue.NewWorker(s.queue, handlers, queue.Config{Retry: queue.RetryPolicy{Base: time.Millisecond, Cap: time.Millisecond, MaxAttempts: s.attempts}})
	if err != nil {
		s.Fatal(err)
	}
	if err := w.Start(s.Context()); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = w.Stop(s.Context()) })
}

// place places an order of cups.
func (s *shop) place(quantities ...int64) string {
	s.Helper()
	spec := models.NewOrder{Owner: "o", Email: "a@example.com", PaymentToken: "tok_ok"}
	for _, q := range quantities {
		spec.Items = append(spec.Items, models.NewItem{ProductID: cups, Quantity: q})
	}
	order, _, err := s.orders.Create(s.Context(), spec)
	if err != nil {
		s.Fatal(err)
	}
	return order.ID
}

// apply takes steps of an order.
func (s *shop) apply(id string, steps ...models.Step) {
	s.Helper()
	err := postgres.InTx(s.Context(), s.db, func(tx pgx.Tx) error {
		order, err := s.orders.Lock(s.Context(), tx, id)
		for _, step := range steps {
			if err == nil {
				err = order.Apply(s.Context(), step, models.EventData{})
			}
		}
		return err
	})
	if err != nil {
		s.Fatal(err)
	}
}

// confirm takes an order to its good end.
func (s *shop) confirm(id string) {
	s.Helper()
	s.apply(id, models.Progress.StockReserved, models.Progress.PaymentAuthorized, models.Progress.CaptureBegun, models.Progress.PaymentCaptured)
}

func (s *shop) read(id string) orders.Work {
	s.Helper()
	work, err := s.orders.Read(s.Context(), id)
	if err != nil {
		s.Fatal(err)
	}
	return work
}

// events returns the events of an order after its placement, with their Message-IDs.
func (s *shop) events(id string) []string {
	s.Helper()
	return column[string](s, `SELECT type || COALESCE(' ' || (data ->> 'message_id'), '') FROM order_events WHERE order_id = $1 AND seq > 1 ORDER BY seq`, id)
}

// letters returns the dead letters of a group.
func (s *shop) letters(group string) []queue.DeadLetter {
	s.Helper()
	page, err := s.queue.DeadLetters(s.Context(), queue.Filter{Group: group}, nil, 10)
	if err != nil {
		s.Fatal(err)
	}
	return page.Data
}

// await polls until a condition holds.
func (s *shop) await(what string, holds func() bool) {
	s.Helper()
	testkit.Await(s, 20*time.Second, what, holds)
}

// idle waits until a group has no message.
func (s *shop) idle(group string) {
	s.Helper()
	s.await(group+" is idle", func() bool {
		stats, err := s.queue.Stats(s.Context())
		i := slices.IndexFunc(stats, func(g queue.GroupStats) bool { return g.Group == group })
		return err == nil && i >= 0 && stats[i].Ready+stats[i].Delayed+stats[i].InFlight == 0
	})
}

func (s *shop) stock() int64 {
	s.Helper()
	return column[int64](s, `SELECT stock FROM products WHERE id = $1`, cups)[0]
}

func (s *shop) exec(sql string, args ...any) {
	s.Helper()
	if _, err := s.db.Exec(s.Context(), sql, args...); err != nil {
		s.Fatal(err)
	}
}

func column[T any](s *shop, query string, args ...any) []T {
	s.Helper()
	rows, _ := s.db.Query(s.Context(), query, args...)
	list, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		s.Fatal(err)
	}
	return list
}
