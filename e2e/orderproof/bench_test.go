package orderproof

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/models"
)

// defaults are two servers with the default settings.
var defaults = servers{names: []string{server1, server2}}

// durations are sorted by quantile.
type durations []time.Duration

func (d durations) quantile(q float64) time.Duration {
	slices.Sort(d)
	return d[min(int(q*float64(len(d))), len(d)-1)]
}

func (d durations) String() string {
	return fmt.Sprintf("p50 %s, p95 %s, p99 %s of %d", d.quantile(0.5).Round(100*time.Microsecond), d.quantile(0.95).Round(100*time.Microsecond), d.quantile(0.99).Round(100*time.Microsecond), len(d))
}

// steadily calls do at a steady rate per second, whether or not earlier calls have
// returned, and waits for all of them.
func steadily(rate float64, more func(n int) bool, do func(n int)) {
	var running sync.WaitGroup
	began := time.Now()
	for n := 0; more(n); n++ {
		time.Sleep(time.Until(began.Add(time.Duration(float64(n) / rate * float64(time.Second)))))
		running.Go(func() { do(n) })
	}
	running.Wait()
}

// benchOrder returns an order of one product that is confirmed.
func benchOrder(key string, n int, products []string) planned {
	return planned{Key: key, Buyer: n % 4, Token: "tok_ok", CancelAfter: -1, Items: []models.NewItem{{ProductID: products[n%len(products)], Quantity: 1}}}
}

// BenchmarkFlow measures the time from the acceptance of an order to its confirmation,
// by the times of its events, at steady rates in turns.
func BenchmarkFlow(b *testing.B) {
	const rounds, seconds = 4, 10
	s, products := openBench(b)
	took := map[int]durations{}
	for round := range rounds {
		for _, rate := range []int{50, 200} {
			prefix := fmt.Sprintf("flow-%d-%d-", round, rate)
			var mu sync.Mutex
			var ids []string
			began := time.Now()
			steadily(float64(rate), func(n int) bool { return n < rate*seconds }, func(n int) {
				if a, ok := s.place(benchOrder(fmt.Sprint(prefix, n), n, products)); ok {
					mu.Lock()
					ids = append(ids, a.ID)
					mu.Unlock()
				}
			})
			accepted := float64(len(ids)) / time.Since(began).Seconds()
			s.settle(false)
			list := query(s, pgx.RowTo[time.Duration], `
				SELECT c.at - p.at FROM order_events p JOIN order_events c USING (order_id)
				WHERE p.type = 'order.placed' AND c.type = 'order.confirmed' AND order_id = ANY($1)`, ids)
			if len(list) != len(ids) {
				b.Errorf("%d of %d orders are confirmed", len(list), len(ids))
			}
			b.Logf("round %d, %d orders/s: %.0f accepted/s, %s, all done after %s", round+1, rate, accepted, durations(list), time.Since(began).Round(time.Second))
			if round > 0 { // the first warms up
				took[rate] = append(took[rate], list...)
			}
		}
	}
	for rate, list := range took {
		b.Logf("%d orders/s, accepted to confirmed: %s", rate, list)
		b.ReportMetric(float64(list.quantile(0.5).Milliseconds()), fmt.Sprint("p50-ms@", rate))
		b.ReportMetric(float64(list.quantile(0.95).Milliseconds()), fmt.Sprint("p95-ms@", rate))
	}
}

// BenchmarkProducts measures GET /v1/products/{id} at a steady rate while a server is
// idle and while it works off orders as fast as it can, in turns.
func BenchmarkProducts(b *testing.B) {
	const rounds, rate, backlog = 4, 100, 2000
	s, products := openBench(b)
	get := func(more func(n int) bool) (list durations) {
		var mu sync.Mutex
		steadily(rate, more, func(n int) {
			began := time.Now()
			status, answer := s.send(http.MethodGet, s.api[server1]+"/v1/products/"+products[n%len(products)], s.buyers[n%4], nil)
			took := time.Since(began)
			mu.Lock()
			defer mu.Unlock()
			list = append(list, took)
			if status != http.StatusOK {
				b.Errorf("got status %d, %s", status, answer)
			}
		})
		return list
	}
	var idle, busy durations
	var ratios, rates []float64
	for round := range rounds {
		without := get(func(n int) bool { return n < 10*rate })
		s.setPaused(true)
		s.fill(fmt.Sprintf("products-%d-", round), backlog, products)
		began := time.Now()
		s.setPaused(false)
		with := get(func(n int) bool {
			return n%rate != rate-1 || s.count(`SELECT count(*) FROM orders WHERE status = 'pending'`) > 0
		})
		done := query(s, pgx.RowTo[time.Duration], `SELECT max(at) - $1::timestamptz FROM order_events WHERE type = 'order.confirmed'`, began)[0]
		b.Logf("round %d: idle %s; working off %.0f orders/s: %s", round+1, without, backlog/done.Seconds(), with)
		s.settle(false)
		if round > 0 { // the first warms up
			idle, busy = append(idle, without...), append(busy, with...)
			ratios = append(ratios, with.quantile(0.99).Seconds()/without.quantile(0.99).Seconds())
			rates = append(rates, backlog/done.Seconds())
		}
	}
	slices.Sort(ratios)
	b.Logf("idle %s; busy %s; ratios of p99 %.1f to %.1f", idle, busy, ratios[0], ratios[len(ratios)-1])
	b.ReportMetric(idle.quantile(0.99).Seconds()*1000, "idle-p99-ms")
	b.ReportMetric(busy.quantile(0.99).Seconds()*1000, "busy-p99-ms")
	b.ReportMetric(ratios[len(ratios)/2], "p99-ratio")
	b.ReportMetric(slices.Max(rates), "orders/s")
}

// openBench opens a shop with two servers and much of each product.
func openBench(b *testing.B) (*shop, []string) {
	b.Helper()
	s := openShop(b)
	s.reopen(b, defaults)
	s.exec(`UPDATE products SET stock = 1000000`)
	return s, query(s, pgx.RowTo[string], `SELECT id FROM products ORDER BY id`)
}

// setPaused pauses or resumes the groups of workers.
func (s *shop) setPaused(paused bool) {
	s.Helper()
	action := "resume"
	if paused {
		action = "pause"
	}
	for _, group := range []string{"inventory", "payment", "email"} {
		s.call(server1, http.MethodPost, "/v1/admin/queues/"+group+"/"+action, nil, http.StatusOK, nil)
	}
	if paused {
		s.await("no delivery", patience, func() bool {
			return s.count(`SELECT count(*) FROM river_job WHERE state = 'running' AND kind = 'delivery'`) == 0
		})
	}
}

// fill places orders by several buyers at once.
func (s *shop) fill(prefix string, n int, products []string) {
	plans := make(chan planned, n)
	for i := range n {
		plans <- benchOrder(fmt.Sprint(prefix, i), i, products)
	}
	close(plans)
	var running sync.WaitGroup
	for range 16 {
		running.Go(func() {
			for o := range plans {
				s.place(o)
			}
		})
	}
	running.Wait()
}
