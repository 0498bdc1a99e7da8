package shop

import (
	"context"
	"strconv"
	"testing"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// BenchmarkCreate is what an order costs without an idempotency key, with a new
// one, and when it is replayed, on a database that doesn't wait for its disk.
func BenchmarkCreate(b *testing.B) {
	orders := NewOrders(testkit.Database(b))
	spec := models.NewOrder{Owner: "o", Email: "a@example.com", PaymentToken: "t", Items: []models.NewItem{{ProductID: "prd_0y5apuf8zs", Quantity: 1}}}
	n := 0
	for _, kind := range []struct {
		name string
		key  func() string
	}{
		{"without a key", func() string { return "" }},
		{"with a new key", func() string { n++; return strconv.Itoa(n) }},
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
