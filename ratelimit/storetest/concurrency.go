package storetest

import (
	"context"
	"errors"
	"slices"
	"time"

	"ratelimiter/ratelimit"
)

var parallelTwo = ratelimit.Policy{Name: "parallel", Algorithm: ratelimit.Concurrency, Limit: 2, Hold: "60s"}

var concurrencyCases = []testCase{
	{"abandoned_slot_expires_after_hold", func(h *harness) {
		q := h.quota(parallelTwo)
		lost := h.mustAllow(q, 1)
		h.advance(10 * time.Second)
		h.mustAllow(q, 1)
		h.mustRefuse(q, 1, "parallel")
		h.advance(50*time.Second - 1)
		h.mustRefuse(q, 1, "parallel")
		h.advance(1)
		h.mustAllow(q, 1)
		h.mustRefuse(q, 1, "parallel")
		// Another request has the slot now and must keep it.
		h.noError(lost.Release(ctx))
		h.mustRefuse(q, 1, "parallel")
	}},
	{"renew", func(h *harness) {
		q := h.quota(parallelTwo)
		r := h.mustAllow(q, 1)
		for range 10 {
			h.advance(50 * time.Second)
			h.noError(r.Renew(ctx))
		}
		h.wantRemaining(q, 1)
		h.noError(r.Release(ctx))
		h.wantRemaining(q, 2)
		h.wantError(r.Renew(ctx), ratelimit.ErrSettled)
	}},
	{"renew_after_expiry", func(h *harness) {
		q := h.quota(parallelTwo)
		r := h.mustAllow(q, 1)
		h.advance(time.Minute)
		h.wantError(r.Renew(ctx), ratelimit.ErrExpired)
		h.wantRemaining(q, 2)
	}},
	{"every_end_frees_the_slot", func(h *harness) {
		q := h.quota(parallelTwo)
		for _, end := range []func(*ratelimit.Reservation) error{
			func(r *ratelimit.Reservation) error { return r.Release(ctx) },
			func(r *ratelimit.Reservation) error { return r.Commit(ctx, 1) },
			func(r *ratelimit.Reservation) error { return r.Commit(ctx, 0) },
			func(r *ratelimit.Reservation) error { return r.Settle(ctx, ratelimit.Succeeded) },
			func(r *ratelimit.Reservation) error { return r.Settle(ctx, ratelimit.Rejected) },
			func(r *ratelimit.Reservation) error { return r.Settle(ctx, ratelimit.Failed) },
		} {
			r := h.mustAllow(q, 1)
			h.wantRemaining(q, 1)
			h.noError(end(r))
			h.wantRemaining(q, 2)
		}
	}},
	{"deferred_release_after_panic", func(h *harness) {
		q := h.quota(parallelTwo)
		for range 5 {
			func() {
				defer func() { _ = recover() }()
				r := h.mustAllow(q, 1)
				defer func() { h.noError(r.Release(ctx)) }()
				panic("handler failed")
			}()
		}
		h.wantRemaining(q, 2)
	}},
	{"settle_units_keeps_the_slot", func(h *harness) {
		q := h.quota(parallelTwo, ratelimit.Policy{Name: "w", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "10s"})
		r := h.mustAllow(q, 3)
		h.noError(r.SettleUnits(ctx, ratelimit.Failed))
		h.wantRemaining(q, 1, 10)
		h.noError(r.Renew(ctx))
		h.wantError(r.Settle(ctx, ratelimit.Failed), ratelimit.ErrSettled)
		h.noError(r.Release(ctx))
		h.wantRemaining(q, 2, 10)
		h.wantError(r.Release(ctx), ratelimit.ErrSettled)
	}},
	{"refusal_holds_no_slot", func(h *harness) {
		q := h.quota(parallelTwo, ratelimit.Policy{Name: "w", Algorithm: ratelimit.FixedWindow, Limit: 1, Period: "10s"})
		h.noError(h.mustAllow(q, 1).Commit(ctx, 1))
		for range 5 {
			h.mustRefuse(q, 1, "w")
		}
		h.wantRemaining(q, 2, 0)
	}},
	{"freed_after_a_lost_answer", func(h *harness) {
		q := h.quota(parallelTwo)
		h.mustAllow(q, 1)
		lossy := &lossyStore{Store: h.store}
		var r ratelimit.Reservation
		h.wantError(ratelimit.New(lossy, ratelimit.WithClock(h.now)).Reserve(ctx, &r, q, "", 1), errLost)
		h.wantRemaining(q, 0)
		lossy.lost.Steps[0].Give = 1
		for range 2 { // the second one finds nothing to free
			h.noError(h.store.Give(ctx, &lossy.lost))
			h.wantRemaining(q, 1)
		}
	}},
}

// lossyStore is a store whose takes take effect and lose their answer.
type lossyStore struct {
	ratelimit.Store
	lost ratelimit.Batch // as it was before the take
}

var errLost = errors.New("the answer was lost")

// Take implements ratelimit.Store.
func (s *lossyStore) Take(ctx context.Context, b *ratelimit.Batch) error {
	s.lost = *b
	s.lost.Steps = slices.Clone(b.Steps)
	taken := s.lost
	taken.Steps = slices.Clone(b.Steps)
	return errors.Join(errLost, s.Store.Take(ctx, &taken))
}
