// Package storetest is the conformance suite of ratelimit.Store: every store
// runs it in its own tests, and what it asserts is what a store promises.
package storetest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"ratelimiter/ratelimit"
)

// Factory makes an empty store for one test. A store with a clock of its own
// must be made to use now instead.
type Factory func(t *testing.T, now func() time.Time) ratelimit.Store

// Run runs the whole suite.
func Run(t *testing.T, newStore Factory) {
	for _, part := range []struct {
		name  string
		cases []testCase
	}{
		{"taking", takingCases},
		{"giving", givingCases},
		{"subjects", subjectCases},
		{"changes", changeCases},
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

// harness is a limiter over the store under test, with a clock that the test
// sets.
type harness struct {
	*testing.T
	limiter *ratelimit.Limiter
	mu      sync.Mutex
	at      time.Time
}

func newHarness(t *testing.T, newStore Factory) *harness {
	// Just after the start of a minute, an hour and a day, and far from the
	// end of a month.
	h := &harness{T: t, at: time.Date(2024, time.February, 5, 0, 0, 0, 1000, time.UTC)}
	h.limiter = ratelimit.New(newStore(t, h.now), ratelimit.WithClock(h.now))
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

// take reserves cost units, for no group in particular.
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

// pass is take, which must be allowed.
func (h *harness) pass(q *ratelimit.Quota, cost int64) *ratelimit.Reservation {
	h.Helper()
	r := h.take(q, cost)
	if !r.Decision.Allowed {
		h.Fatalf("cost %d was refused by %v: %+v", cost, r.Decision.Violated(), r.Decision.Statuses())
	}
	return r
}

// refuse is take, which must be refused by exactly these policies.
func (h *harness) refuse(q *ratelimit.Quota, cost int64, by ...string) *ratelimit.Reservation {
	h.Helper()
	r := h.take(q, cost)
	if r.Decision.Allowed {
		h.Fatalf("cost %d passed: %+v", cost, r.Decision.Statuses())
	}
	if !slices.Equal(r.Decision.Violated(), by) {
		h.Fatalf("refused by %v, not %v", r.Decision.Violated(), by)
	}
	return r
}

// remaining checks what every enforced policy has left, by a peek.
func (h *harness) remaining(q *ratelimit.Quota, want ...int64) {
	h.Helper()
	d, err := h.limiter.PeekAll(ctx, q)
	if err != nil {
		h.Fatal(err)
	}
	var got []int64
	for _, s := range d.Statuses() {
		got = append(got, s.Remaining)
	}
	if !slices.Equal(got, want) {
		h.Fatalf("remaining %v, not %v", got, want)
	}
}

// ok fails the test on an error.
func (h *harness) ok(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// everyAlgorithm is policies of ten units each, one for every algorithm.
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

// eachAlgorithm makes a case of every algorithm.
func eachAlgorithm(name string, run func(h *harness, p ratelimit.Policy)) []testCase {
	var cases []testCase
	for _, p := range everyAlgorithm() {
		cases = append(cases, testCase{name + "/" + p.Name, func(h *harness) { run(h, p) }})
	}
	return cases
}

// all joins lists of cases.
func all(lists ...[]testCase) []testCase {
	var cases []testCase
	for _, l := range lists {
		cases = append(cases, l...)
	}
	return cases
}
