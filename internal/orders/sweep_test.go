package orders

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ratelimiter/models"
)

// sweep runs one sweep at a time from now and returns the messages that wait then.
func sweep(t *testing.T, s *Store, want int) []string {
	t.Helper()
	if n, err := s.Sweep(t.Context()); n != want || err != nil {
		t.Errorf("Sweep = %d, %v; want %d", n, err, want)
	}
	return column[string](t, s.db, `SELECT queue || ' ' || (args ->> 'topic') FROM river_job WHERE state <> 'completed' ORDER BY 1`)
}

// lose makes an order old and its messages lost.
func lose(t *testing.T, s *Store, id string) {
	t.Helper()
	for _, sql := range []string{
		`UPDATE river_job SET state = 'completed', finalized_at = now() WHERE args ->> 'key' = $1`,
		`UPDATE orders SET created_at = now() - interval '11 minutes', updated_at = now() - interval '11 minutes' WHERE id = $1`,
	} {
		if _, err := s.db.Exec(t.Context(), sql, id); err != nil {
			t.Fatal(err)
		}
	}
}

// An order whose messages were lost is finished from every state.
func TestStore_Sweep_finishes(t *testing.T) {
	reserved, authorized, begun := models.Progress.StockReserved, models.Progress.PaymentAuthorized, models.Progress.CaptureBegun
	cancelled, released, voided := models.Progress.CancelledByCaller, models.Progress.StockReleased, models.Progress.PaymentVoided
	s, _ := newStore(t)
	for name, c := range map[string]struct {
		steps     []models.Step
		want      []string // messages; nil: the order isn't resumed
		confirmed bool
	}{
		"placed":              {nil, []string{"inventory order.placed", "payment order.placed"}, true},
		"reserved":            {[]models.Step{reserved}, []string{"inventory order.placed", "payment order.placed"}, true},
		"authorized":          {[]models.Step{authorized}, []string{"inventory order.placed", "payment order.placed"}, true},
		"both":                {[]models.Step{reserved, authorized}, []string{"payment stock.reserved"}, true},
		"capturing":           {[]models.Step{reserved, authorized, begun}, []string{"payment stock.reserved"}, true},
		"cancelled":           {[]models.Step{reserved, authorized, cancelled}, []string{"inventory payment.declined", "payment stock.rejected"}, false},
		"cancelled, released": {[]models.Step{reserved, authorized, cancelled, released}, []string{"payment stock.rejected"}, false},
		"cancelled, voided":   {[]models.Step{reserved, authorized, cancelled, voided}, []string{"inventory payment.declined"}, false},
		"cancelled, finished": {[]models.Step{reserved, authorized, cancelled, released, voided}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			id := place(t, s).ID
			if err := s.apply(t, id, c.steps...); err != nil {
				t.Fatal(err)
			}
			lose(t, s, id)
			swept := min(1, len(c.want))
			if got := sweep(t, s, swept); !slices.Equal(got, c.want) && len(c.want)+len(got) > 0 {
				t.Fatalf("got messages %v; want %v", got, c.want)
			}
			sweep(t, s, 0) // it has messages
			work(t, s)
			if c.confirmed {
				wantConfirmed(t, s, id)
				return
			}
			order, err := s.Read(t.Context(), id)
			if err != nil || order.Status != models.OrderCancelled || order.Progress.Stock != models.StockReleased || order.Progress.Payment != models.PaymentVoided {
				t.Errorf("got %+v, error %v; want a cancelled order, released and voided", order.Progress, err)
			}
		})
	}
}

// Orders that are young, changed lately, have a message or a dead letter, or are
// being changed, are left alone.
func TestStore_Sweep_leaves(t *testing.T) {
	s, db := newStore(t)
	young, changed, waiting, dead, locked := place(t, s).ID, place(t, s).ID, place(t, s).ID, place(t, s).ID, place(t, s).ID
	for _, id := range []string{young, changed, dead, locked} {
		lose(t, s, id)
	}
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := db.Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec(`UPDATE orders SET created_at = now() WHERE id = $1`, young)
	exec(`UPDATE orders SET updated_at = now() WHERE id = $1`, changed)
	exec(`UPDATE orders SET created_at = now() - interval '1 day', updated_at = created_at WHERE id = $1`, waiting)
	exec(`UPDATE river_job SET state = 'scheduled' WHERE state <> 'completed'`)
	exec(`INSERT INTO dead_letters ("group", topic, message, reason, attempts) VALUES ('payment', 'order.placed', jsonb_build_object('key', $1::text), 'r', 8)`, dead)
	tx, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lock(t.Context(), tx, locked); err != nil {
		t.Fatal(err)
	}
	if got := sweep(t, s, 0); len(got) != 2 {
		t.Errorf("got messages %v; want those of the waiting order", got)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	exec(`DELETE FROM dead_letters`)
	sweep(t, s, 2) // dead and locked
}

// Of sweeps at the same time, one resumes an order, and none does again for some
// minutes, although a broker may have taken the messages.
func TestStore_Sweep_once(t *testing.T) {
	s, db := newStore(t)
	id := place(t, s).ID
	lose(t, s, id)
	var resumed atomic.Int64
	var sweeps sync.WaitGroup
	for range 4 {
		sweeps.Go(func() {
			n, err := s.Sweep(t.Context())
			if err != nil {
				t.Error(err)
			}
			resumed.Add(int64(n))
		})
	}
	sweeps.Wait()
	if got := column[string](t, db, `SELECT args ->> 'id' FROM river_job WHERE state <> 'completed'`); len(got) != 2 || resumed.Load() != 1 {
		t.Errorf("the order was resumed %d times; got the messages %v", resumed.Load(), got)
	}
	if _, err := db.Exec(t.Context(), `DELETE FROM river_job`); err != nil {
		t.Fatal(err)
	}
	sweep(t, s, 0)
	if _, err := db.Exec(t.Context(), `UPDATE orders SET resumed_at = resumed_at - interval '11 minutes'`); err != nil {
		t.Fatal(err)
	}
	sweep(t, s, 1)
}

// An instance of the previous release writes neither events nor messages.
func TestStore_Sweep_order_of_previous_release(t *testing.T) {
	s, db := newStore(t)
	insertOld(t, db, "ord_swept", "pending", nil, time.Hour)
	insertOld(t, db, "ord_cancelled", "pending", nil, time.Hour)
	if _, err := s.Cancel(t.Context(), "o", "ord_cancelled"); err != nil {
		t.Fatal(err)
	}
	if got := history(t, db, "ord_cancelled"); !slices.Equal(got, []string{"1 order.placed", "2 order.cancelled"}) {
		t.Errorf("got events %v of the cancelled order", got)
	}
	if got := column[bool](t, db, `SELECT e.at = o.created_at AND data #>> '{amount,amount}' = '500' FROM order_events e JOIN orders o ON id = order_id WHERE seq = 1`); !slices.Equal(got, []bool{true}) {
		t.Error("the first event isn't of when the order was placed")
	}
	sweep(t, s, 1)
	if got := history(t, db, "ord_swept"); !slices.Equal(got, []string{"1 order.placed"}) {
		t.Errorf("got events %v of the order that was found", got)
	}
	work(t, s)
	wantConfirmed(t, s, "ord_swept")
}
