package orders

import (
	"context"
	"strconv"
	"testing"

	"ratelimiter/models"
)

// BenchmarkStore_Create measures an order without an idempotency key, with a new
// key, and replayed, on a database without fsync.
func BenchmarkStore_Create(b *testing.B) {
	orders, _ := newStore(b)
	spec := models.NewOrder{Owner: "o", Email: "a@example.com", PaymentToken: "t", Items: []models.NewItem{{ProductID: "prd_0y5apuf8zs", Quantity: 1}}}
	n := 0
	for _, kind := range []struct {
		name string
		key  func() string
	}{
		{"no_key", func() string { return "" }},
		{"new_key", func() string { n++; return strconv.Itoa(n) }},
		{"replayed", func() string { return "again" }},
	} {
		b.Run(kind.name, func(b *testing.B) {
			for b.Loop() {
				spec.IdempotencyKey = kind.key()
				if _, _, err := orders.Create(context.Background(), spec); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
