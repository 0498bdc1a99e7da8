package catalog

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

const cups, filters = "prd_0y5apuf8zs", "prd_0p4fmzh9ta"

func item(id string, quantity int64) models.OrderItem {
	return models.OrderItem{ProductID: id, Quantity: quantity}
}

func setStock(t *testing.T, db *pgxpool.Pool, stock int64) {
	t.Helper()
	if _, err := db.Exec(t.Context(), `UPDATE products SET stock = $1`, stock); err != nil {
		t.Fatal(err)
	}
}

func stockOf(t *testing.T, db *pgxpool.Pool, id string) (stock int64) {
	t.Helper()
	if err := db.QueryRow(t.Context(), `SELECT stock FROM products WHERE id = $1`, id).Scan(&stock); err != nil {
		t.Fatal(err)
	}
	return stock
}

// hold holds items in a transaction of its own.
func hold(ctx context.Context, db *pgxpool.Pool, items ...models.OrderItem) (held bool, err error) {
	err = postgres.InTx(ctx, db, func(tx pgx.Tx) (err error) {
		held, err = Hold(ctx, tx, items)
		return err
	})
	return held, err
}

func TestHold(t *testing.T) {
	db := testkit.Database(t)
	for name, test := range map[string]struct {
		items         []models.OrderItem
		held          bool
		cups, filters int64 // left of 10
	}{
		"some":                {[]models.OrderItem{item(cups, 3), item(filters, 1)}, true, 7, 9},
		"all":                 {[]models.OrderItem{item(cups, 10)}, true, 0, 10},
		"too many":            {[]models.OrderItem{item(cups, 11)}, false, 10, 10},
		"too many of one":     {[]models.OrderItem{item(filters, 1), item(cups, 11)}, false, 10, 10},
		"too many together":   {[]models.OrderItem{item(cups, 6), item(filters, 1), item(cups, 5)}, false, 10, 10},
		"several of the same": {[]models.OrderItem{item(cups, 6), item(cups, 4)}, true, 0, 10},
		"an unknown product":  {[]models.OrderItem{item(cups, 1), item("prd_none", 1)}, false, 10, 10},
	} {
		t.Run(name, func(t *testing.T) {
			setStock(t, db, 10)
			var enough bool
			err := postgres.InTx(t.Context(), db, func(tx pgx.Tx) (err error) {
				enough, err = Available(t.Context(), tx, test.items)
				return err
			})
			if err != nil || enough != test.held {
				t.Errorf("available: got %v, %v", enough, err)
			}
			held, err := hold(t.Context(), db, test.items...)
			if err != nil || held != test.held || stockOf(t, db, cups) != test.cups || stockOf(t, db, filters) != test.filters {
				t.Errorf("got held %v, error %v, %d cups, %d filters", held, err, stockOf(t, db, cups), stockOf(t, db, filters))
			}
			if !held {
				return
			}
			if err := postgres.InTx(t.Context(), db, func(tx pgx.Tx) error { return Release(t.Context(), tx, test.items) }); err != nil {
				t.Fatal(err)
			}
			if stockOf(t, db, cups) != 10 || stockOf(t, db, filters) != 10 {
				t.Errorf("released: got %d cups, %d filters; want 10", stockOf(t, db, cups), stockOf(t, db, filters))
			}
		})
	}
}

// Many transactions hold and release products in different orders: none
// deadlocks, and the stock is right.
func TestHold_concurrent(t *testing.T) {
	db := testkit.Database(t)
	setStock(t, db, 20)
	ids := []string{cups, filters, "prd_11b6gwc4vj", "prd_02hq7mxa4k"}
	var mu sync.Mutex
	taken := map[string]int64{}
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for range 25 {
				items := make([]models.OrderItem, 0, len(ids))
				for _, i := range rand.Perm(len(ids))[:3] {
					items = append(items, item(ids[i], 1+rand.Int64N(2)))
				}
				held, err := hold(t.Context(), db, items...)
				if err != nil {
					t.Error(err)
					return
				}
				if !held {
					continue
				}
				if rand.IntN(3) > 0 {
					err := postgres.InTx(t.Context(), db, func(tx pgx.Tx) error { return Release(t.Context(), tx, items) })
					if err != nil {
						t.Error(err)
						return
					}
					continue
				}
				mu.Lock()
				for _, i := range items {
					taken[i.ProductID] += i.Quantity
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	for _, id := range ids {
		if left := stockOf(t, db, id); left != 20-taken[id] || left < 0 {
			t.Errorf("%s: got %d left; want %d", id, left, 20-taken[id])
		}
	}
}

// A held product can be ordered: new orders don't wait for its lock.
func TestHold_lets_orders_in(t *testing.T) {
	db := testkit.Database(t)
	err := postgres.InTx(t.Context(), db, func(tx pgx.Tx) error {
		if _, err := Hold(t.Context(), tx, []models.OrderItem{item(cups, 1)}); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := db.Exec(ctx, `
			WITH o AS (INSERT INTO orders (id, owner, email, payment_token, total_amount, total_currency) VALUES ('o', 'o', 'e', 't', 1, 'EUR') RETURNING id)
			INSERT INTO order_items (order_id, position, product_id, quantity, unit_amount, currency, sku, name) SELECT id, 0, $1, 1, 1, 'EUR', 's', 'n' FROM o`, cups)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
