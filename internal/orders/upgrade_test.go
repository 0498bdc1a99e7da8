package orders

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/queue"
	"ratelimiter/internal/testkit"
	"ratelimiter/migrations"
	"ratelimiter/models"
)

// work processes the messages of orders as the workers do, with a gateway that
// pays, until none is left.
func work(t *testing.T, s *Store) {
	t.Helper()
	handlers := queue.Handlers{}
	for topic, groups := range Routes {
		for _, group := range groups {
			if handlers[group] == nil {
				handlers[group] = map[string]queue.Handler{}
			}
			handlers[group][topic] = func(_ context.Context, m *queue.Message) (queue.Effect, error) {
				id, err := OrderOf(m)
				return func(ctx context.Context, tx pgx.Tx) error {
					order, err := s.Lock(ctx, tx, id)
					for _, step := range stepsOf(group, topic) {
						if err == nil {
							err = order.Apply(ctx, step, models.EventData{})
						}
					}
					return err
				}, err
			}
		}
	}
	worker, err := queue.NewWorker(s.queue, handlers, queue.Config{})
	if err == nil {
		err = worker.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := worker.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	for len(column[int64](t, s.db, `SELECT id FROM river_job WHERE state <> 'completed' LIMIT 1`)) > 0 {
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// stepsOf are the steps that a worker takes for a message. Those that the order
// doesn't need do nothing.
func stepsOf(group, topic string) []models.Step {
	switch {
	case group == GroupInventory && topic == string(models.EventOrderPlaced):
		return []models.Step{models.Progress.StockReserved}
	case group == GroupInventory:
		return []models.Step{models.Progress.StockReleased}
	case group == GroupPayment && topic == string(models.EventOrderPlaced):
		return []models.Step{models.Progress.PaymentAuthorized}
	case group == GroupPayment && (topic == string(models.EventStockReserved) || topic == string(models.EventPaymentAuthorized)):
		return []models.Step{models.Progress.CaptureBegun, models.Progress.PaymentCaptured}
	case group == GroupPayment:
		return []models.Step{models.Progress.PaymentVoided}
	}
	return []models.Step{models.Progress.EmailSent}
}

// insertOld inserts an order as the release before events does.
func insertOld(t *testing.T, db *pgxpool.Pool, id, status string, reason *string, age time.Duration) {
	t.Helper()
	_, err := db.Exec(t.Context(), `
		WITH o AS (
			INSERT INTO orders (id, owner, status, reason, email, payment_token, total_amount, total_currency, created_at, updated_at)
			VALUES ($1, 'o', $2, $3, 'a@example.com', 'tok_ok', 500, 'EUR', now() - $4::interval, now() - $4::interval + interval '1 second') RETURNING id)
		INSERT INTO order_items (order_id, position, product_id, quantity, unit_amount, currency)
		SELECT id, 0, 'prd_0y5apuf8zs', 1, 500, 'EUR' FROM o`, id, status, reason, age)
	if err != nil {
		t.Fatal(err)
	}
}

// history returns the events of an order.
func history(t *testing.T, db *pgxpool.Pool, id string) []string {
	t.Helper()
	return column[string](t, db, `SELECT seq || ' ' || type FROM order_events WHERE order_id = $1 ORDER BY seq`, id)
}

// Orders of the release before events are brought along by the migrations.
func TestMigration_existing_orders(t *testing.T) {
	db := testkit.Database(t)
	std := stdlib.OpenDBFromPool(db)
	defer func() { _ = std.Close() }()
	provider, err := goose.NewProvider(goose.DialectPostgres, std, migrations.FS, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.DownTo(t.Context(), 72); err != nil {
		t.Fatal(err)
	}
	declined := models.ReasonPaymentDeclined
	insertOld(t, db, "ord_new", "pending", nil, 23*time.Hour)
	insertOld(t, db, "ord_old", "pending", nil, 25*time.Hour)
	insertOld(t, db, "ord_confirmed", "confirmed", nil, 48*time.Hour)
	insertOld(t, db, "ord_cancelled", "cancelled", &declined, time.Hour)
	if err := postgres.Migrate(t.Context(), db, migrations.FS); err != nil {
		t.Fatal(err)
	}
	q, err := queue.New(db, Routes, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s := NewStore(db, q)
	if got := column[string](t, db, `SELECT queue || ' ' || (args ->> 'key') FROM river_job ORDER BY queue`); !slices.Equal(got, []string{"inventory ord_new", "payment ord_new"}) {
		t.Errorf("got messages %v; want those of the young order", got)
	}
	facts := column[string](t, db, `SELECT data ->> 'reason' FROM order_events WHERE type = 'order.cancelled' ORDER BY order_id`)
	if !slices.Equal(facts, []string{"payment_declined", "expired"}) {
		t.Errorf("got reasons %v", facts)
	}
	if got := column[bool](t, db, `SELECT e.at = o.created_at AND data #>> '{amount,amount}' = '500' FROM order_events e JOIN orders o ON id = order_id WHERE seq = 1`); len(got) != 4 || slices.Contains(got, false) {
		t.Errorf("the first events aren't of when the orders were placed: %v", got)
	}
	work(t, s)
	for id, want := range map[string]struct {
		status models.OrderStatus
		events []string
	}{
		"ord_old":       {models.OrderCancelled, []string{"1 order.placed", "2 order.cancelled"}},
		"ord_confirmed": {models.OrderConfirmed, []string{"1 order.placed", "2 order.confirmed"}},
		"ord_cancelled": {models.OrderCancelled, []string{"1 order.placed", "2 order.cancelled"}},
	} {
		order, err := s.Get(t.Context(), "o", id)
		if got := history(t, db, id); err != nil || order.Status != want.status || !slices.Equal(got, want.events) {
			t.Errorf("%s: got %+v with %v, error %v", id, order, got, err)
		}
	}
	wantConfirmed(t, s, "ord_new")
}

// wantConfirmed checks that an order is finished, and its events.
func wantConfirmed(t *testing.T, s *Store, id string) {
	t.Helper()
	got, err := s.Read(t.Context(), id)
	if want := (models.Progress{Status: models.OrderConfirmed, Stock: models.StockHeld, Payment: models.PaymentCaptured}); err != nil || got.Progress != want {
		t.Errorf("%s: got %+v, error %v; want %+v", id, got.Progress, err, want)
	}
	events := history(t, s.db, id)
	for i := range events {
		if n := fmt.Sprint(i+1, " "); len(events) != 6 || events[i][:2] != n || events[0] != "1 order.placed" || events[5] != "6 email.sent" {
			t.Errorf("%s: got events %v", id, events)
			break
		}
	}
}
