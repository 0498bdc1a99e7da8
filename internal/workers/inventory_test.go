package workers

import (
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/catalog"
	"ratelimiter/internal/orders"
	"ratelimiter/internal/postgres"
	"ratelimiter/internal/queue"
	"ratelimiter/models"
)

// inventory runs the group inventory of two instances.
func (s *shop) inventory() {
	s.Helper()
	for range 2 {
		s.work(queue.Handlers{orders.GroupInventory: NewInventory(s.orders).Handlers()})
	}
}

func TestInventory_last_pieces(t *testing.T) {
	s := newShop(t)
	s.exec(`UPDATE products SET stock = 10 WHERE id = $1`, cups)
	ids := make([]string, 100)
	for i := range ids {
		ids[i] = s.place(1)
	}
	s.inventory()
	s.idle(orders.GroupInventory)
	outcomes := map[string]int{}
	for _, id := range ids {
		order := s.read(id)
		outcome := string(order.Status) + " " + string(order.Progress.Stock) + " " + order.Progress.Reason + " " + strings.Join(s.events(id), " ")
		outcomes[outcome]++
	}
	if s.stock() != 0 || outcomes["pending held  stock.reserved"] != 10 ||
		outcomes["cancelled rejected out_of_stock stock.rejected order.cancelled"] != 90 || len(s.letters("")) != 0 {
		t.Errorf("got %d left, orders %v, dead letters %v; want 10 held and 90 rejected", s.stock(), outcomes, s.letters(""))
	}
}

func TestInventory_release(t *testing.T) {
	s := newShop(t)
	s.inventory()
	held := func(s *shop) string {
		id := s.place(2, 1)
		s.await("stock is held", func() bool { return s.read(id).Progress.Stock == models.StockHeld })
		return id
	}
	for name, test := range map[string]struct {
		step models.Step
		want string // events
	}{
		"declined":            {models.Progress.PaymentDeclined, "stock.reserved payment.declined order.cancelled stock.released"},
		"cancelled by caller": {models.Progress.CancelledByCaller, "stock.reserved order.cancelled stock.released"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &shop{t, s.db, s.queue, s.orders, s.attempts}
			id := held(s)
			if s.stock() != 997 {
				t.Errorf("held: got %d in stock; want 997", s.stock())
			}
			s.apply(id, test.step)
			s.idle(orders.GroupInventory)
			if got := strings.Join(s.events(id), " "); s.stock() != 1000 || got != test.want {
				t.Errorf("got %d in stock, events %s; want 1000, %s", s.stock(), got, test.want)
			}
		})
	}
	t.Run("before the stock was held", func(t *testing.T) {
		s := newShop(t)
		id := s.place(1)
		s.apply(id, models.Progress.CancelledByCaller)
		s.inventory()
		s.idle(orders.GroupInventory)
		if got := s.events(id); s.stock() != 1000 || !slices.Equal(got, []string{"order.cancelled"}) {
			t.Errorf("got %d in stock, events %v", s.stock(), got)
		}
	})
}

// The stock is taken between the moment in which it is read and the one in which it
// is locked. That costs no attempt.
func TestInventory_stock_changed(t *testing.T) {
	s := newShop(t)
	s.attempts = 1
	s.exec(`UPDATE products SET stock = 1 WHERE id = $1`, cups)
	id := s.place(1)
	reached := false
	err := postgres.InTx(t.Context(), s.db, func(other pgx.Tx) error {
		if held, err := catalog.Hold(t.Context(), other, []models.OrderItem{{ProductID: cups, Quantity: 1}}); err != nil || !held {
			t.Fatalf("got %v, %v", held, err)
		}
		s.inventory()
		s.await("the effect waits for the product", func() bool {
			return column[int](s, `SELECT count(*)::int FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database() AND query LIKE '%NO KEY UPDATE%'`)[0] > 0
		})
		reached = true
		return nil
	})
	if err != nil || !reached {
		t.Fatal(err)
	}
	s.idle(orders.GroupInventory)
	if got := s.events(id); s.stock() != 0 || !slices.Equal(got, []string{"stock.rejected", "order.cancelled"}) || len(s.letters("")) != 0 {
		t.Errorf("got %d in stock, events %v, dead letters %v", s.stock(), got, s.letters(""))
	}
}

// A message about an order that doesn't exist is set aside at once. Its payload has
// only the order's id.
func TestInventory_missing_order(t *testing.T) {
	s := newShop(t)
	id := s.place(1)
	s.exec(`DELETE FROM orders WHERE id = $1`, id)
	s.inventory()
	s.await("a dead letter", func() bool { return len(s.letters(orders.GroupInventory)) == 1 })
	if d := s.letters(orders.GroupInventory)[0]; d.Attempts != 1 || string(d.Message.Payload) != `{"order_id": "`+id+`"}` {
		t.Errorf("got %+v with payload %s", d, d.Message.Payload)
	}
}
