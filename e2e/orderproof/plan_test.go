package orderproof

import (
	"fmt"
	"math/rand/v2"

	"ratelimiter/models"
)

// planned is an order to place.
type planned struct {
	Key         string // Idempotency-Key
	Buyer       int    // index of the owner's key
	Token       string
	Items       []models.NewItem
	CancelAfter int // acknowledgements of the same buyer until it cancels the order; -1: never
}

// tokens are the payment tokens by how many of 100 orders have them. Those that take
// the gateway's time are few, because it is that of all orders.
var tokens = []struct {
	name  string
	share int
}{
	{"tok_ok", 68}, {"tok_declined", 10}, {"tok_flaky", 12}, {"tok_slow", 5}, {"tok_down", 5},
}

func randomToken(rng *rand.Rand) string {
	at := rng.IntN(100)
	for _, t := range tokens {
		if at -= t.share; at < 0 {
			return t.name
		}
	}
	return tokens[0].name
}

// planOrders returns n orders of the buyers. One in eight is cancelled sometime.
func planOrders(rng *rand.Rand, n, buyers int, products []string) []planned {
	list := make([]planned, n)
	for i := range list {
		o := planned{Key: fmt.Sprintf("order-%d", i), Buyer: rng.IntN(buyers), Token: randomToken(rng), CancelAfter: -1}
		for _, p := range rng.Perm(len(products))[:1+rng.IntN(3)] {
			o.Items = append(o.Items, models.NewItem{ProductID: products[p], Quantity: 1 + rng.Int64N(3)})
		}
		if rng.IntN(8) == 0 {
			o.CancelAfter = rng.IntN(8)
		}
		list[i] = o
	}
	return list
}

// stocks returns how many units there are of each product: of every sixth one,
// fewer than n orders ask for.
func stocks(n int, products []string) map[string]int64 {
	units := map[string]int64{}
	for i, p := range products {
		units[p] = 1_000_000
		if i%6 == 0 {
			units[p] = int64(1 + n*4/len(products)/(2+i)) // n orders ask for 4 n units of all products
		}
	}
	return units
}
