package orderproof

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/models"
)

// proveCancels cancels orders while they are processed: each ends confirmed and
// captured, or cancelled and voided with its stock back.
func proveCancels(t *testing.T, s *shop, rng *rand.Rand) {
	s.reopen(t, twoServers)
	p := newProof(s, rng, *proofCancels)
	plans := make(chan planned, len(p.todo))
	for _, o := range p.todo {
		if o.Token == "tok_down" || o.Token == "tok_declined" {
			o.Token = "tok_ok"
		}
		plans <- o
	}
	close(plans)
	var running sync.WaitGroup
	delay := 100 * time.Millisecond // until the cancellation; it adapts so that as many are too late as not
	for range 12 {
		running.Go(func() {
			for o := range plans {
				a, ok := s.place(o)
				if !ok {
					continue
				}
				p.mu.Lock()
				now := delay
				p.mu.Unlock()
				time.Sleep(now/2 + rand.N(now))
				s.cancel(&a)
				p.mu.Lock()
				if delay += delay / 10; a.Cancelled == http.StatusConflict {
					delay = delay * 9 / 11
				}
				p.acknowledged = append(p.acknowledged, &a)
				p.mu.Unlock()
			}
		})
	}
	running.Wait()
	s.settle(true)
	o := s.observe(p.acknowledged, p.initial)
	s.report(o, o.faults())
	ended := map[models.OrderStatus]int{}
	for _, order := range o.Orders {
		ended[order.Status]++
	}
	t.Logf("%d orders cancelled while they were processed: %v", len(o.Orders), ended)
	if ended[models.OrderConfirmed] == 0 || ended[models.OrderCancelled] == 0 || ended[models.OrderPending] > 0 {
		t.Errorf("got %v; want orders confirmed, orders cancelled, and none pending", ended)
	}
}

// proveLastPieces has 100 buyers of the last 10 pieces of a product.
func proveLastPieces(t *testing.T, s *shop) {
	const buyers, pieces = 100, 10
	s.reopen(t, twoServers)
	product := query(s, pgx.RowTo[string], `SELECT id FROM products ORDER BY id LIMIT 1`)[0]
	s.exec(`UPDATE products SET stock = $2 WHERE id = $1`, product, pieces)
	var mu sync.Mutex
	var acks []*acknowledged
	var running sync.WaitGroup
	for n := range buyers {
		running.Go(func() {
			a, _ := s.place(planned{
				Key: fmt.Sprint("last-", n), Buyer: n % len(s.buyers), Token: "tok_ok", CancelAfter: -1,
				Items: []models.NewItem{{ProductID: product, Quantity: 1}},
			})
			mu.Lock()
			defer mu.Unlock()
			acks = append(acks, &a)
		})
	}
	running.Wait()
	s.settle(true)
	o := s.observe(acks, map[string]int64{product: pieces})
	s.report(o, o.faults())
	ended := map[models.Progress]int{}
	for _, order := range o.Orders {
		ended[order.Progress]++
	}
	confirmed := ended[models.Progress{Status: models.OrderConfirmed, Stock: models.StockHeld, Payment: models.PaymentCaptured}]
	rejected := 0
	for p, n := range ended {
		if p.Status == models.OrderCancelled && p.Reason == models.ReasonOutOfStock {
			rejected += n
		}
	}
	if confirmed != pieces || rejected != buyers-pieces {
		t.Errorf("got %v; want %d confirmed and %d out of stock", ended, pieces, buyers-pieces)
	}
	var answer models.Product
	s.call(server1, http.MethodGet, "/v1/products/"+product, nil, http.StatusOK, &answer)
	if answer.Stock != 0 {
		t.Errorf("got %d pieces left; want 0", answer.Stock)
	}
}
