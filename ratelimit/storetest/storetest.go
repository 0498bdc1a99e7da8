// Package storetest is the conformance suite of ratelimit.Store. Every
// implementation runs it in its tests.
package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"ratelimiter/ratelimit"
)

// Factory returns an empty store for one test. A store with a clock of its own
// must use now instead.
type Factory func(t *testing.T, now func() time.Time) ratelimit.Store

// Run runs the suite, except RunLinearizable.
func Run(t *testing.T, newStore Factory) {
	for _, part := range []struct {
		name  string
		cases []testCase
	}{
		{"take", takeCases},
		{"give", giveCases},
		{"debt", debtCases},
		{"subjects", subjectCases},
		{"policy_changes", policyChangeCases},
		{"clocks", clockCases},
		{"concurrency", concurrencyCases},
		{"parallel", parallelCases},
	} {
		for _, c := range part.cases {
			t.Run(part.name+"/"+c.name, func(t *testing.T) { c.run(newHarness(t, newStore)) })
		}
	}
}

type testCase struct {
	name string
	run  func(h *harness)
}

var ctx = context.Background()

// harness is a limiter over the store under test with a manually advanced clock.
type harness struct {
	*testing.T
	store   ratelimit.Store
	limiter *ratelimit.Limiter
	mu      sync.Mutex
	at      time.Time
}

func newHarness(t *testing.T, newStore Factory) *harness {
	// One microsecond after the start of a minute, an hour and a day, and far
	// from the end of a month.
	h := &harness{T: t, at: time.Date(2024, time.February, 5, 0, 0, 0, 1000, time.UTC)}
	h.store = newStore(t, h.now)
	h.limiter = ratelimit.New(h.store, ratelimit.WithClock(h.now))
	return h
}

func (h *harness) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.at
}

func (h *harness) advance(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at = h.at.Add(d)
}

// quota binds policies to the key "k" of the owner "o".
func (h *harness) quota(policies ...ratelimit.Policy) *ratelimit.Quota {
	h.Helper()
	return h.quotaFor(ratelimit.Subjects{Key: "k", Owner: "o"}, policies...)
}

func (h *harness) quotaFor(s ratelimit.Subjects, policies ...ratelimit.Policy) *ratelimit.Quota {
	h.Helper()
	q, err := ratelimit.NewQuota(policies, s)
	if err != nil {
		h.Fatal(err)
	}
	return q
}

// take reserves cost units in the group "".
func (h *harness) take(q *ratelimit.Quota, cost int64) *ratelimit.Reservation {
	h.Helper()
	return h.takeIn(q, "", cost)
}

func (h *harness) takeIn(q *ratelimit.Quota, group string, cost int64) *ratelimit.Reservation {
	h.Helper()
	r := new(ratelimit.Reservation)
	if err := h.limiter.Reserve(ctx, r, q, group, cost); err != nil {
		h.Fatal(err)
	}
	return r
}

// mustAllow is take and fails the test if it is refused.
func (h *harness) mustAllow(q *ratelimit.Quota, cost int64) *ratelimit.Reservation {
	h.Helper()
	r := h.take(q, cost)
	if !r.Decision.Allowed {
		h.Fatalf("cost %d is refused by %v: %+v", cost, r.Decision.Violated(), r.Decision.Statuses())
	}
	return r
}

// exhaust takes the capacity of everyAlgorithm's policies in single requests.
func (h *harness) exhaust(q *ratelimit.Quota) {
	h.Helper()
	for range 10 {
		h.mustAllow(q, 1)
	}
}

// mustRefuse is take and fails the test unless exactly the named policies refuse
// it.
func (h *harness) mustRefuse(q *ratelimit.Quota, cost int64, by ...string) *ratelimit.Reservation {
	h.Helper()
	r := h.take(q, cost)
	if r.Decision.Allowed {
		h.Fatalf("cost %d is allowed: %+v", cost, r.Decision.Statuses())
	}
	if !slices.Equal(r.Decision.Violated(), by) {
		h.Fatalf("refused by %v, want %v", r.Decision.Violated(), by)
	}
	return r
}

// wantRemaining peeks and checks Remaining of every enforced policy.
func (h *harness) wantRemaining(q *ratelimit.Quota, want ...int64) {
	h.Helper()
	d, err := h.limiter.PeekAll(ctx, q)
	if err != nil {
		h.Fatal(err)
	}
	h.wantStatuses(d.Statuses(), want)
}

// wantDecision checks Remaining of every enforced policy in a decision that a
// reservation's end has updated.
func (h *harness) wantDecision(r *ratelimit.Reservation, want ...int64) {
	h.Helper()
	h.wantStatuses(r.Decision.Statuses(), want)
}

func (h *harness) wantStatuses(statuses []ratelimit.Status, want []int64) {
	h.Helper()
	var got []int64
	for _, s := range statuses {
		got = append(got, s.Remaining)
	}
	if !slices.Equal(got, want) {
		h.Fatalf("Remaining = %v, want %v", got, want)
	}
}

// noError fails the test if err isn't nil.
func (h *harness) noError(err error) {
	h.Helper()
	h.wantError(err, nil)
}

func (h *harness) wantError(err, want error) {
	h.Helper()
	if !errors.Is(err, want) {
		h.Fatalf("error %v, want %v", err, want)
	}
}

// everyAlgorithm returns one policy per algorithm, each with a capacity of 10.
func everyAlgorithm() []ratelimit.Policy {
	return []ratelimit.Policy{
		{Name: "token_bucket", Algorithm: ratelimit.TokenBucket, Limit: 10, Period: "10s"},
		{Name: "leaky_bucket", Algorithm: ratelimit.LeakyBucket, Limit: 10, Period: "10s", MaxWait: "10s"},
		{Name: "fixed_window", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "10s"},
		{Name: "sliding_window", Algorithm: ratelimit.SlidingWindow, Limit: 10, Period: "10s"},
		{Name: "sliding_log", Algorithm: ratelimit.SlidingLog, Limit: 10, Period: "10s"},
		{Name: "calendar", Algorithm: ratelimit.Calendar, Limit: 10, Period: ratelimit.Day},
		{Name: "concurrency", Algorithm: ratelimit.Concurrency, Limit: 10, Hold: "10s"},
	}
}

// perAlgorithm returns one case per algorithm.
func perAlgorithm(name string, run func(h *harness, p ratelimit.Policy)) []testCase {
	var cases []testCase
	for _, p := range everyAlgorithm() {
		cases = append(cases, testCase{name + "/" + p.Name, func(h *harness) { run(h, p) }})
	}
	return cases
}
