package redis_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"pgregory.net/rapid"

	"ratelimiter/internal/testkit"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
	"ratelimiter/ratelimit/redis"
)

var ctx = context.Background()

// TestStore_equals_pure_functions applies random operations, on random policies in the
// whole range that is valid, to the store and to the pure functions, step by step.
func TestStore_equals_pure_functions(t *testing.T) {
	client := connect(t, testkit.Redis(t).URL())
	var number atomic.Int64
	rapid.Check(t, func(rt *rapid.T) {
		m := &machine{T: rt, began: time.Now(), reference: reference{}, now: time.Date(2024, time.February, 5, 0, 0, 0, 0, time.UTC)}
		m.store = redis.New(client, redis.WithPrefix(strconv.FormatInt(number.Add(1), 10)+":"), redis.WithClock(func() time.Time { return m.now }))
		count := rapid.IntRange(1, 4).Draw(rt, "policies")
		for i := range count {
			m.policies = append(m.policies, anyPolicy(rt, strconv.Itoa(i)))
		}
		rt.Repeat(map[string]func(*rapid.T){
			"take":   m.take,
			"take2":  m.take, // more often than the others
			"take3":  m.take,
			"give":   m.give,
			"owe":    m.owe,
			"renew":  m.renew,
			"reset":  m.reset,
			"clock":  m.moveClock,
			"clock2": m.moveClock,
			"policy": m.changePolicy,
		})
	})
}

// machine is the store, the pure functions, and what was taken.
type machine struct {
	*rapid.T
	store     *redis.Store
	reference reference
	now       time.Time
	policies  []ratelimit.Policy
	taken     []*ratelimit.Batch
	holder    int64
	began     time.Time
}

// batch returns a batch of the present policies.
func (m *machine) batch() *ratelimit.Batch {
	q, err := ratelimit.NewQuota(m.policies, ratelimit.Subjects{Key: "k", Owner: "o"})
	if err != nil {
		m.Fatal(err)
	}
	var c capture
	_, _ = ratelimit.New(&c).PeekAll(ctx, q)
	m.holder++
	c.batch.Now, c.batch.Holder = m.now.UnixNano(), m.holder
	return &c.batch
}

// capture is a store that copies the batch of the first call.
type capture struct {
	ratelimit.Store
	batch ratelimit.Batch
}

func (c *capture) Take(_ context.Context, b *ratelimit.Batch) error {
	c.batch = *b
	c.batch.Steps = slices.Clone(b.Steps)
	return errors.ErrUnsupported
}

func clone(b *ratelimit.Batch) *ratelimit.Batch {
	c := *b
	c.Steps = slices.Clone(b.Steps)
	return &c
}

func (m *machine) take(t *rapid.T) {
	b := m.batch()
	step := rapid.SampledFrom(b.Steps).Draw(t, "for")
	most := min(step.Policy.Capacity()+1, ratelimit.MaxCost)
	b.Cost = rapid.OneOf(rapid.Int64Range(0, min(3, most)), rapid.Int64Range(0, most), rapid.SampledFrom([]int64{0, most - 1, most})).Draw(t, "cost")
	b.Refused = rapid.IntRange(0, 9).Draw(t, "refused") == 0
	want := clone(b)
	if err := m.store.Take(ctx, b); err != nil {
		t.Fatal(err)
	}
	m.reference.take(want)
	m.compare(t, b, want)
	for i := range b.Steps {
		s := &b.Steps[i]
		if s.Allowed != want.Steps[i].Allowed || s.Charged != want.Steps[i].Charged {
			t.Fatalf("%+v: allowed %v, charged %v, want %v, %v", s.Policy.Policy, s.Allowed, s.Charged, want.Steps[i].Allowed, want.Steps[i].Charged)
		}
		if c := m.reference[idOf(b, s)]; s.Charged && c.generation != s.Generation {
			if c.generation != 0 {
				t.Fatalf("%+v: the generation changes from %d to %d", s.Policy.Policy, c.generation, s.Generation)
			}
			c.generation = s.Generation
		}
	}
	if slices.ContainsFunc(b.Steps, func(s ratelimit.Step) bool { return s.Charged }) {
		m.taken = append(m.taken, b)
	}
}

// compare checks time and states.
func (m *machine) compare(t *rapid.T, got, want *ratelimit.Batch) {
	if got.Now != m.now.UnixNano() {
		t.Fatalf("Now = %d, want %d", got.Now, m.now.UnixNano())
	}
	for i := range got.Steps {
		g, w := &got.Steps[i], &want.Steps[i]
		switch {
		case g.Policy.Holds(): // each has another time before the first expiry
			g.State.At, w.State.At = 0, 0
		case bucket(g.Policy) && g.State.N <= g.Policy.Capacity(): // the next operation sets it to 0
			g.State.X, w.State.X = 0, 0
		}
		if g.State != w.State {
			t.Fatalf("%+v: state %+v, want %+v after %v", g.Policy.Policy, g.State, w.State, time.Since(m.began))
		}
	}
}

func bucket(p *ratelimit.Compiled) bool {
	return p.Algorithm == ratelimit.TokenBucket || p.Algorithm == ratelimit.LeakyBucket
}

// open draws a batch that was taken.
func (m *machine) open(t *rapid.T) *ratelimit.Batch {
	if len(m.taken) == 0 {
		t.Skip()
	}
	b := m.taken[rapid.IntRange(0, len(m.taken)-1).Draw(t, "reservation")]
	b.Now = m.now.UnixNano()
	return b
}

func (m *machine) give(t *rapid.T) {
	b := m.open(t)
	units := rapid.OneOf(rapid.Just(b.Cost), rapid.Int64Range(1, b.Cost)).Draw(t, "units")
	m.settle(t, b, func(s *ratelimit.Step) int64 { return s.Policy.CostOf(units) })
	m.taken = slices.DeleteFunc(m.taken, func(other *ratelimit.Batch) bool { return other == b })
}

func (m *machine) owe(t *rapid.T) {
	b := m.open(t)
	units := rapid.OneOf(rapid.Int64Range(1, 100), rapid.Int64Range(1, ratelimit.MaxCost), rapid.SampledFrom([]int64{1, ratelimit.MaxCost, 1 << 50})).Draw(t, "debt")
	m.settle(t, b, func(*ratelimit.Step) int64 { return -units })
	m.taken = slices.DeleteFunc(m.taken, func(other *ratelimit.Batch) bool { return other == b })
}

func (m *machine) settle(t *rapid.T, b *ratelimit.Batch, units func(*ratelimit.Step) int64) {
	for i := range b.Steps {
		if s := &b.Steps[i]; s.Charged {
			s.Give = units(s)
		}
	}
	want := clone(b)
	if err := m.store.Give(ctx, b); err != nil {
		t.Fatal(err)
	}
	m.reference.give(want)
	m.compare(t, b, want)
}

func (m *machine) renew(t *rapid.T) {
	b := m.open(t)
	if !slices.ContainsFunc(b.Steps, func(s ratelimit.Step) bool { return s.Charged && s.Policy.Holds() }) {
		t.Skip()
	}
	want := clone(b)
	got, err := m.store.Renew(ctx, b), m.reference.renew(want)
	if !errors.Is(got, err) {
		t.Fatalf("Renew: %v, want %v", got, err)
	}
	m.compare(t, b, want)
}

func (m *machine) reset(t *rapid.T) {
	if rapid.IntRange(0, 4).Draw(t, "rarely") > 0 {
		t.Skip()
	}
	b := m.batch()
	b.Steps = b.Steps[:rapid.IntRange(1, len(b.Steps)).Draw(t, "steps")]
	b.Enforced = min(b.Enforced, len(b.Steps))
	if err := m.store.Reset(ctx, b); err != nil {
		t.Fatal(err)
	}
	m.reference.reset(b)
}

// moveClock moves the clock by a part of a period, mostly forward.
func (m *machine) moveClock(t *rapid.T) {
	period := time.Minute
	if d, ok := rapid.SampledFrom(m.policies).Draw(t, "of").Period.Duration(); ok {
		period = d
	}
	by := rapid.OneOf(
		rapid.Int64Range(0, 20),
		rapid.Int64Range(1, period.Microseconds()),
		rapid.Int64Range(1, 3*period.Microseconds()),
		rapid.SampledFrom([]int64{1, period.Microseconds() - 1, period.Microseconds(), 5e6, 5e6 + 1}),
		rapid.Map(rapid.Int64Range(1, 100), func(n int64) int64 { return max(1, period.Microseconds()/n) }),
	).Draw(t, "microseconds")
	by = min(by, (3 * 366 * 24 * time.Hour).Microseconds())
	if rapid.IntRange(0, 7).Draw(t, "back") == 0 && by < (400*24*time.Hour).Microseconds() {
		by = -by
		for _, c := range m.reference { // the server may have removed it, or not
			if at := c.untilAt * 1e6; at <= float64(m.now.UnixMicro()) && at >= float64(m.now.UnixMicro()+by) {
				t.Skip()
			}
		}
	}
	m.now = m.now.Add(time.Duration(by) * time.Microsecond)
}

// changePolicy changes what doesn't identify the counter.
func (m *machine) changePolicy(t *rapid.T) {
	i := rapid.IntRange(0, len(m.policies)-1).Draw(t, "policy")
	old := m.policies[i]
	p := old
	p.Burst = 0
	p.Limit = rapid.OneOf(rapid.Int64Range(1, 40), rapid.Int64Range(1, ratelimit.MaxLimit), rapid.SampledFrom([]int64{32, 33, max(1, old.Limit/10), old.Limit * 2})).Draw(t, "limit")
	if ratelimit.Validate([]ratelimit.Policy{p}) == nil {
		m.policies[i] = p
	}
}

func anyOf(t *rapid.T, name string, low, high int64) int64 {
	return rapid.OneOf(rapid.Int64Range(low, min(high, 20)), rapid.Int64Range(low, min(high, 5000)), rapid.Int64Range(low, high), rapid.SampledFrom([]int64{low, high})).Draw(t, name)
}

func anyPeriod(t *rapid.T, name string) ratelimit.Period {
	ms := anyOf(t, name, 1, (366 * 24 * time.Hour).Milliseconds())
	return ratelimit.Every(time.Duration(ms) * time.Millisecond)
}

// anyPolicy draws a valid policy.
func anyPolicy(t *rapid.T, name string) ratelimit.Policy {
	p := ratelimit.Policy{
		Name:      name,
		Algorithm: rapid.SampledFrom([]ratelimit.Algorithm{ratelimit.TokenBucket, ratelimit.LeakyBucket, ratelimit.FixedWindow, ratelimit.SlidingWindow, ratelimit.SlidingLog, ratelimit.Calendar, ratelimit.Concurrency}).Draw(t, "algorithm"),
		Limit:     anyOf(t, "limit", 1, ratelimit.MaxLimit),
		Mode:      rapid.SampledFrom([]ratelimit.Mode{"", "", ratelimit.Shadow}).Draw(t, "mode"),
		Per:       rapid.SampledFrom([]ratelimit.Per{ratelimit.PerKey, ratelimit.PerKey, ratelimit.PerOwner}).Draw(t, "per"),
	}
	switch p.Algorithm {
	case ratelimit.Calendar:
		p.Period = rapid.SampledFrom([]ratelimit.Period{ratelimit.Day, ratelimit.Week, ratelimit.Month}).Draw(t, "period")
		p.TimeZone = rapid.SampledFrom([]string{"", "Europe/Berlin", "America/St_Johns", "Pacific/Apia"}).Draw(t, "zone")
		return p
	case ratelimit.Concurrency:
		p.Limit, p.Hold = min(p.Limit, 5), anyPeriod(t, "hold")
		return p
	case ratelimit.SlidingLog:
		p.Limit = min(p.Limit, ratelimit.MaxLogLimit)
	case ratelimit.LeakyBucket:
		p.MaxWait = anyPeriod(t, "max_wait")
	case ratelimit.SlidingWindow, ratelimit.TokenBucket, ratelimit.FixedWindow:
	}
	p.Period = anyPeriod(t, "period")
	d, _ := p.Period.Duration()
	p.Limit = min(p.Limit, d.Microseconds())
	if p.Algorithm == ratelimit.TokenBucket {
		p.Burst = anyOf(t, "burst", 1, ratelimit.MaxLimit)
		if ratelimit.Validate([]ratelimit.Policy{p}) != nil {
			p.Burst = 0
		}
		if ratelimit.Validate([]ratelimit.Policy{p}) != nil {
			p.Limit = d.Microseconds()
		}
	}
	return p
}

// TestStore_even_runs spends a sliding_window evenly, by a microsecond more or less
// than its period ÷ limit, which isn't whole.
func TestStore_even_runs(t *testing.T) {
	client := connect(t, testkit.Redis(t).URL())
	p := ratelimit.Policy{Name: "p", Algorithm: ratelimit.SlidingWindow, Limit: 33, Period: "1s"}
	for _, gap := range []time.Duration{30_302, 30_303, 30_304} {
		refused := sameAsMemory(t, client, p, gap*time.Microsecond, 200)
		if even := gap == 30_304; even != (refused == 0) {
			t.Errorf("every %d µs: %d of 200 are refused", gap, refused)
		}
	}
}

// TestStore_full_queue fills a leaky_bucket until the wait is max_wait to the
// microsecond.
func TestStore_full_queue(t *testing.T) {
	client := connect(t, testkit.Redis(t).URL())
	p := ratelimit.Policy{Name: "p", Algorithm: ratelimit.LeakyBucket, Limit: 10, Period: "10s", MaxWait: "5s"}
	if refused := sameAsMemory(t, client, p, 0, 10); refused != 4 {
		t.Errorf("%d of 10 are refused, want 4", refused)
	}
}

// sameAsMemory takes units from the store and from the one in memory, and compares
// the decisions.
func sameAsMemory(t *testing.T, client rueidis.Client, p ratelimit.Policy, gap time.Duration, takes int) (refused int) {
	t.Helper()
	quota, err := ratelimit.NewQuota([]ratelimit.Policy{p}, ratelimit.Subjects{Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_700_000_000, 0)
	clock := func() time.Time { return now }
	limiters := [...]*ratelimit.Limiter{
		ratelimit.New(redis.New(client, redis.WithClock(clock), redis.WithPrefix(gap.String()))),
		ratelimit.New(memory.New(), ratelimit.WithClock(clock)),
	}
	for n := range takes {
		var got [len(limiters)]ratelimit.Reservation
		for i, l := range limiters {
			if err := l.Reserve(ctx, &got[i], quota, "", 1); err != nil {
				t.Fatal(err)
			}
		}
		g, w := got[0].Decision.Statuses()[0], got[1].Decision.Statuses()[0]
		if g.Policy = w.Policy; g != w {
			t.Fatalf("request %d, every %v: %+v, want %+v", n, gap, g, w)
		}
		if !g.Allowed {
			refused++
		}
		now = now.Add(gap)
	}
	return refused
}
