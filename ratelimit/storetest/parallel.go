package storetest

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"ratelimiter/ratelimit"
)

// workers is how many goroutines the parallel cases run.
const workers = 8

var parallelCases = all(
	eachAlgorithm("exactly the capacity passes", func(h *harness, p ratelimit.Policy) {
		p.Limit = 500
		q := h.quota(p)
		var passed atomic.Int64
		together(func(int) {
			var r ratelimit.Reservation
			for range 200 {
				if err := h.limiter.Reserve(ctx, &r, q, "", 1); err != nil {
					h.Error(err)
				} else if r.Decision.Allowed {
					passed.Add(1)
				}
			}
		})
		if passed.Load() != 500 {
			h.Fatalf("%d of 500 passed", passed.Load())
		}
	}),
	eachAlgorithm("one of many releases works", func(h *harness, p ratelimit.Policy) {
		q := h.quota(p)
		h.pass(q, 3)
		for range 50 {
			r := h.pass(q, 2)
			var worked atomic.Int64
			together(func(i int) {
				var err error
				switch i % 3 {
				case 0:
					err = r.Release(ctx)
				case 1:
					err = r.Commit(ctx, 0)
				default:
					err = r.Settle(ctx, ratelimit.Failed)
				}
				if err == nil {
					worked.Add(1)
				} else if !errors.Is(err, ratelimit.ErrSettled) {
					h.Error(err)
				}
			})
			if worked.Load() != 1 {
				h.Fatalf("%d endings of one reservation worked", worked.Load())
			}
			h.remaining(q, left(p, 3))
		}
	}),
	[]testCase{
		{"crossing keys and owners", crossing},
		{"takes and refunds at once leave nothing behind", takesAndRefunds},
	},
)

// together runs f in every worker at once and waits for all.
func together(f func(worker int)) {
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// crossing takes from pairs of subjects in all orders: nothing may block, and
// the owners' sums must come out exactly.
func crossing(h *harness) {
	const names, rounds = 7, 200
	policies := []ratelimit.Policy{
		{Name: "mine", Algorithm: ratelimit.FixedWindow, Limit: 1 << 20, Period: "1h"},
		{Name: "ours", Algorithm: ratelimit.FixedWindow, Limit: 1 << 20, Period: "1h", Per: ratelimit.PerOwner},
	}
	quota := func(key, owner int) *ratelimit.Quota {
		return h.quotaFor(ratelimit.Subjects{Key: string(rune('a' + key)), Owner: string(rune('a' + owner))}, policies...)
	}
	together(func(w int) {
		var r ratelimit.Reservation
		for i := range rounds * names {
			if err := h.limiter.Reserve(ctx, &r, quota((i+w)%names, (i*3)%names), "", 1); err != nil {
				h.Error(err)
			}
		}
	})
	for i := range names {
		h.remaining(quota(i, i), 1<<20-workers*rounds, 1<<20-workers*rounds)
	}
}

func takesAndRefunds(h *harness) {
	policies := everyAlgorithm()
	for i := range policies {
		if policies[i].Algorithm == ratelimit.LeakyBucket {
			policies[i].Mode = ratelimit.Shadow // gives back its end only
		}
		if i%2 == 1 {
			policies[i].Per = ratelimit.PerOwner
		}
	}
	q := h.quota(policies...)
	together(func(w int) {
		var r ratelimit.Reservation
		for i := range 300 {
			if err := h.limiter.Reserve(ctx, &r, q, "", int64(i%3+1)); err != nil {
				h.Error(err)
				return
			}
			if r.Decision.Allowed {
				if err := r.Release(ctx); err != nil {
					h.Error(err)
				}
			}
		}
	})
	h.remaining(q, 10, 10, 10, 10, 10, 10)
	h.advance(time.Minute)
	h.remaining(q, 10, 10, 10, 10, 10, 10)
}
