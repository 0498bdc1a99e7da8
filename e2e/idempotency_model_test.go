package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ratelimiter/internal/orders"
	"ratelimiter/internal/testkit"
)

// keyModel models the idempotency keys of one owner.
type keyModel struct {
	first  map[string]exchange // by idempotency key
	orders int
	stored bool // the product prd_late exists
}

type exchange struct{ order, response string }

// modelOrder returns one of three orders. The last one has the product prd_late.
func modelOrder(i int) string {
	if i == 2 {
		return strings.Replace(order1, "prd_0y5apuf8zs", "prd_late", 1)
	}
	return strings.Replace(order1, `"quantity":1`, fmt.Sprintf(`"quantity":%d`, i+1), 1)
}

// send sends an order and compares the response with the model.
func (m *keyModel) send(t *rapid.T, caller *testkit.Client, key string, i int) {
	order := modelOrder(i)
	got := caller.Post("/v1/orders", order, idempotencyKey, key)
	first, known := m.first[key]
	want, replayed := http.StatusCreated, ""
	switch {
	case known && first.order != order:
		want = http.StatusUnprocessableEntity
	case known:
		replayed = "true"
		if text := fmt.Sprint(got.Status, got.Header.Get("Location"), string(got.Body)); text != first.response {
			t.Fatalf("got replay %s; want %s", text, first.response)
		}
		want = got.Status
	case i == 2 && !m.stored:
		want = http.StatusUnprocessableEntity
	default:
		m.orders++
	}
	if got.Status != want || got.Header.Get("Idempotency-Replayed") != replayed {
		t.Fatalf("key %s, order %d: got status %d, replayed %q; want %d, %q", key, i, got.Status, got.Header.Get("Idempotency-Replayed"), want, replayed)
	}
	if !known {
		m.first[key] = exchange{order, fmt.Sprint(got.Status, got.Header.Get("Location"), string(got.Body))}
	}
}

// Random sequences of orders, expiring keys, changes of orders, a new product and
// pruning must match the model.
func TestIdempotency_model(t *testing.T) {
	app := newApp(t)
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		app.exec(`DELETE FROM idempotency_keys`)
		app.exec(`DELETE FROM orders`)
		app.exec(`DELETE FROM products WHERE id = 'prd_late'`)
		owners := map[string]*keyModel{"a": {first: map[string]exchange{}}, "b": {first: map[string]exchange{}}}
		callers := map[string]*testkit.Client{}
		for owner := range owners {
			callers[owner] = app.of(fmt.Sprint(owner, run))
		}
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			owner := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "owner")
			key := rapid.SampledFrom([]string{"k1", "k2"}).Draw(t, "key")
			switch m := owners[owner]; rapid.IntRange(0, 9).Draw(t, "action") {
			case 0:
				delete(m.first, key)
				app.exec(`UPDATE idempotency_keys SET created_at = now() - interval '25 hours' WHERE owner = $1 AND key = $2`, fmt.Sprint(owner, run), key)
			case 1:
				app.exec(`UPDATE orders SET status = 'confirmed', updated_at = now()`)
			case 2:
				owners["a"].stored, owners["b"].stored = true, true
				app.exec(`INSERT INTO products (id, sku, name, description, price_amount, price_currency, stock)
					VALUES ('prd_late', 'late', 'n', 'd', 1, 'EUR', 1) ON CONFLICT DO NOTHING`)
			case 3:
				if _, err := orders.NewStore(app.db, nil, nil).PruneIdempotencyKeys(app.t.Context()); err != nil {
					t.Fatal(err)
				}
			default:
				m.send(t, callers[owner], key, rapid.IntRange(0, 2).Draw(t, "order"))
			}
		}
		for owner, m := range owners {
			if n := app.ordersOf(fmt.Sprint(owner, run)); n != m.orders {
				t.Fatalf("got %d orders of %s; want %d", n, owner, m.orders)
			}
		}
	})
}
