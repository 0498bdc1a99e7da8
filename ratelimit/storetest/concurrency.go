package storetest

import (
	"errors"
	"time"

	"ratelimiter/ratelimit"
)

var parallelTwo = ratelimit.Policy{Name: "parallel", Algorithm: ratelimit.Concurrency, Limit: 2, Hold: "60s"}

var concurrencyCases = []testCase{
	{"a lost holder's slot is freed after its hold", func(h *harness) {
		q := h.quota(parallelTwo)
		lost := h.pass(q, 1)
		h.advance(10 * time.Second)
		h.pass(q, 1)
		h.refuse(q, 1, "parallel")
		h.advance(50*time.Second - 1)
		h.refuse(q, 1, "parallel")
		h.advance(1)
		h.pass(q, 1)
		h.refuse(q, 1, "parallel")
		// Its slot is another's now, and must stay so.
		h.ok(lost.Release(ctx))
		h.refuse(q, 1, "parallel")
	}},
	{"a renewed holder stays", func(h *harness) {
		q := h.quota(parallelTwo)
		r := h.pass(q, 1)
		for range 10 {
			h.advance(50 * time.Second)
			h.ok(r.Renew(ctx))
		}
		h.remaining(q, 1)
		h.ok(r.Release(ctx))
		h.remaining(q, 2)
		if err := r.Renew(ctx); !errors.Is(err, ratelimit.ErrSettled) {
			h.Fatalf("renewing what was released: %v", err)
		}
	}},
	{"renewing too late is told", func(h *harness) {
		q := h.quota(parallelTwo)
		r := h.pass(q, 1)
		h.advance(time.Minute)
		if err := r.Renew(ctx); !errors.Is(err, ratelimit.ErrExpired) {
			h.Fatal(err)
		}
		h.remaining(q, 2)
	}},
	{"every ending frees the slot", func(h *harness) {
		q := h.quota(parallelTwo)
		for _, end := range []func(*ratelimit.Reservation) error{
			func(r *ratelimit.Reservation) error { return r.Release(ctx) },
			func(r *ratelimit.Reservation) error { return r.Commit(ctx, 1) },
			func(r *ratelimit.Reservation) error { return r.Commit(ctx, 0) },
			func(r *ratelimit.Reservation) error { return r.Settle(ctx, ratelimit.Succeeded) },
			func(r *ratelimit.Reservation) error { return r.Settle(ctx, ratelimit.Rejected) },
			func(r *ratelimit.Reservation) error { return r.Settle(ctx, ratelimit.Failed) },
		} {
			r := h.pass(q, 1)
			h.remaining(q, 1)
			h.ok(end(r))
			h.remaining(q, 2)
		}
	}},
	{"a panic or a dropped connection frees the slot", func(h *harness) {
		q := h.quota(parallelTwo)
		for range 5 {
			func() {
				defer func() { _ = recover() }()
				r := h.pass(q, 1)
				defer func() { h.ok(r.Release(ctx)) }()
				panic("the handler failed")
			}()
		}
		h.remaining(q, 2)
	}},
	{"units are settled before the slot is freed", func(h *harness) {
		q := h.quota(parallelTwo, ratelimit.Policy{Name: "w", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "10s"})
		r := h.pass(q, 3)
		h.ok(r.SettleUnits(ctx, ratelimit.Failed))
		h.remaining(q, 1, 10)
		h.ok(r.Renew(ctx))
		if err := r.Settle(ctx, ratelimit.Failed); !errors.Is(err, ratelimit.ErrSettled) {
			h.Fatalf("settled twice: %v", err)
		}
		h.ok(r.Release(ctx))
		h.remaining(q, 2, 10)
		if err := r.Release(ctx); !errors.Is(err, ratelimit.ErrSettled) {
			h.Fatalf("released twice: %v", err)
		}
	}},
	{"a refused request holds no slot", func(h *harness) {
		q := h.quota(parallelTwo, ratelimit.Policy{Name: "w", Algorithm: ratelimit.FixedWindow, Limit: 1, Period: "10s"})
		h.ok(h.pass(q, 1).Commit(ctx, 1))
		for range 5 {
			h.refuse(q, 1, "w")
		}
		h.remaining(q, 2, 0)
	}},
}
