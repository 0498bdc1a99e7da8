package orders

import (
	"log/slog"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/queue"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

func newStore(t testing.TB) (*Store, *pgxpool.Pool) {
	t.Helper()
	db := testkit.Database(t)
	q, err := queue.New(db, Routes, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return NewStore(db, q, nil), db
}

// place places an order of two cups.
func place(t *testing.T, s *Store) models.Order {
	t.Helper()
	order, _, err := s.Create(t.Context(), models.NewOrder{
		Owner: "o", Email: "a@example.com", PaymentToken: "tok_ok", Items: []models.NewItem{{ProductID: "prd_0y5apuf8zs", Quantity: 2}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return order
}

func (s *Store) apply(t *testing.T, id string, steps ...models.Step) (err error) {
	t.Helper()
	return postgres.InTx(t.Context(), s.db, func(tx pgx.Tx) error {
		order, err := s.Lock(t.Context(), tx, id)
		for _, step := range steps {
			if err == nil {
				err = order.Apply(t.Context(), step, models.EventData{})
			}
		}
		return err
	})
}

func column[T any](t *testing.T, db *pgxpool.Pool, query string, args ...any) []T {
	t.Helper()
	rows, _ := db.Query(t.Context(), query, args...)
	list, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// A step stores the progress, the events and the messages, or nothing at all.
func TestLocked_Apply(t *testing.T) {
	s, db := newStore(t)
	order := place(t, s)
	if err := s.apply(t, order.ID, models.Progress.StockReserved, models.Progress.PaymentAuthorized); err != nil {
		t.Fatal(err)
	}
	if err := s.apply(t, order.ID, models.Progress.StockReserved); err != nil { // already taken
		t.Fatal(err)
	}
	failed := postgres.InTx(t.Context(), db, func(tx pgx.Tx) error {
		locked, err := s.Lock(t.Context(), tx, order.ID)
		if err == nil {
			err = locked.Apply(t.Context(), models.Progress.CancelledByCaller, models.EventData{})
		}
		if err != nil {
			t.Fatal(err)
		}
		return models.ErrOverloaded
	})
	if failed == nil {
		t.Fatal("got no error")
	}
	work, err := s.Read(t.Context(), order.ID)
	want := models.Progress{Status: models.OrderPending, Stock: models.StockHeld, Payment: models.PaymentAuthorized}
	if err != nil || work.Progress != want || work.PaymentToken != "tok_ok" || len(work.Items) != 1 || work.Items[0].Quantity != 2 || !work.UpdatedAt.After(order.UpdatedAt) {
		t.Fatalf("got %+v, %v", work, err)
	}
	events := column[string](t, db, `SELECT seq || ' ' || type FROM order_events WHERE order_id = $1 ORDER BY seq`, order.ID)
	if !slices.Equal(events, []string{"1 order.placed", "2 stock.reserved", "3 payment.authorized"}) {
		t.Errorf("got events %v", events)
	}
	topics := column[string](t, db, `SELECT queue || ' ' || (args ->> 'topic') FROM river_job WHERE args ->> 'key' = $1 ORDER BY id`, order.ID)
	if !slices.Equal(topics, []string{"inventory order.placed", "payment order.placed", "payment stock.reserved", "payment payment.authorized"}) {
		t.Errorf("got messages %v", topics)
	}
}

// The feed's position of an order's events never decreases, also when the later
// change belongs to the older transaction.
func TestLocked_Apply_older_transaction(t *testing.T) {
	s, db := newStore(t)
	order := place(t, s)
	err := postgres.InTx(t.Context(), db, func(old pgx.Tx) error {
		if _, err := old.Exec(t.Context(), `SELECT pg_current_xact_id()`); err != nil {
			return err
		}
		if err := s.apply(t, order.ID, models.Progress.StockReserved); err != nil {
			return err
		}
		locked, err := s.Lock(t.Context(), old, order.ID)
		if err != nil {
			return err
		}
		return locked.Apply(t.Context(), models.Progress.CancelledByCaller, models.EventData{})
	})
	if err != nil {
		t.Fatal(err)
	}
	feed := column[int64](t, db, `SELECT feed FROM order_events WHERE order_id = $1 ORDER BY seq`, order.ID)
	if len(feed) != 3 || !slices.IsSorted(feed) || feed[1] != feed[2] {
		t.Errorf("got positions %v; want the last two equal", feed)
	}
}
