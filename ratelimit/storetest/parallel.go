package storetest

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ratelimiter/ratelimit"
)

// workers is the number of goroutines of the parallel cases.
const workers = 8

var parallelCases = slices.Concat(
	perAlgorithm("exact_capacity", func(h *harness, p ratelimit.Policy) {
		p.Limit = 500
		q := h.quota(p)
		var passed atomic.Int64
		runWorkers(func(int) {
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
			h.Fatalf("%d takes are allowed, want 500", passed.Load())
		}
	}),
	perAlgorithm("only_one_end_succeeds", func(h *harness, p ratelimit.Policy) {
		q := h.quota(p)
		h.mustAllow(q, 3)
		for range 50 {
			r := h.mustAllow(q, 2)
			var succeeded atomic.Int64
			runWorkers(func(i int) {
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
					succeeded.Add(1)
				} else if !errors.Is(err, ratelimit.ErrSettled) {
					h.Error(err)
				}
			})
			if succeeded.Load() != 1 {
				h.Fatalf("%d ends of one reservation succeeded, want 1", succeeded.Load())
			}
			h.wantRemaining(q, remainingAfter(p, 3))
		}
	}),
	[]testCase{
		{"crossing_keys_and_owners", crossingKeysAndOwners},
		{"takes_and_releases", takesAndReleases},
	},
)

// runWorkers runs f concurrently in every worker and waits for all.
func runWorkers(f func(worker int)) {
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// crossingKeysAndOwners takes concurrently from all pairs of a key and an owner.
// The takes must not deadlock, and every counter must be exact.
func crossingKeysAndOwners(h *harness) {
	const names, rounds = 7, 200
	policies := []ratelimit.Policy{
		{Name: "per_key", Algorithm: ratelimit.FixedWindow, Limit: 1 << 20, Period: "1h"},
		{Name: "per_owner", Algorithm: ratelimit.FixedWindow, Limit: 1 << 20, Period: "1h", Per: ratelimit.PerOwner},
	}
	quota := func(key, owner int) *ratelimit.Quota {
		return h.quotaFor(ratelimit.Subjects{Key: string(rune('a' + key)), Owner: string(rune('a' + owner)), Slot: "all"}, policies...)
	}
	runWorkers(func(w int) {
		var r ratelimit.Reservation
		for i := range rounds * names {
			if err := h.limiter.Reserve(ctx, &r, quota((i+w)%names, (i*3)%names), "", 1); err != nil {
				h.Error(err)
			}
		}
	})
	for i := range names {
		h.wantRemaining(quota(i, i), 1<<20-workers*rounds, 1<<20-workers*rounds)
	}
}

func takesAndReleases(h *harness) {
	policies := everyAlgorithm()
	for i := range policies {
		if policies[i].Algorithm == ratelimit.LeakyBucket {
			policies[i].Mode = ratelimit.Shadow // gives back only the last request in the queue
		}
		if i%2 == 1 {
			policies[i].Per = ratelimit.PerOwner
		}
	}
	q := h.quota(policies...)
	runWorkers(func(w int) {
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
	h.wantRemaining(q, 10, 10, 10, 10, 10, 10)
	h.advance(time.Minute)
	h.wantRemaining(q, 10, 10, 10, 10, 10, 10)
}
