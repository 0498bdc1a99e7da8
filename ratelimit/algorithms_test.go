package ratelimit

import (
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// counter is a counter of one policy, with either kind of state.
type counter struct {
	c     *Compiled
	state State
	list  List
}

func (k *counter) take(now, cost int64) (State, bool) {
	if k.c.Listed() {
		s, ok := k.c.CheckList(&k.list, now, cost)
		if ok && cost > 0 {
			s = k.c.AddList(&k.list, now, cost, 1)
		}
		return s, ok
	}
	s, ok := k.c.Take(k.state, now, cost)
	if ok {
		k.state = s
	}
	return s, ok
}

func (k *counter) give(taken State, now, units int64) {
	if k.c.Listed() {
		k.c.GiveList(&k.list, taken, now, units, 1)
		return
	}
	k.state = k.c.Give(k.state, taken, now, units)
}

func (k *counter) owe(now, units int64) {
	if k.c.Listed() {
		k.c.OweList(&k.list, now, units)
		return
	}
	k.state = k.c.Owe(k.state, now, units)
}

// status returns the status of a take of cost without changing the counter.
func (k *counter) status(now, cost int64) Status {
	if k.c.Listed() {
		list := k.list
		list.Entries = append([]Entry(nil), k.list.Entries...)
		s, ok := k.c.CheckList(&list, now, cost)
		return k.c.Status(s, now, cost, ok)
	}
	s, ok := k.c.Take(k.state, now, cost)
	if ok {
		s, _ = k.c.Take(k.state, now, 0)
	}
	return k.c.Status(s, now, cost, ok)
}

// drawPolicy draws a valid policy of one algorithm. It prefers small numbers,
// whose boundaries are reached soon, and the bounds of validation.
func drawPolicy(t *rapid.T, a Algorithm) *Compiled {
	number := func(name string, high int64) int64 {
		return rapid.OneOf(rapid.Int64Range(1, min(12, high)), rapid.Int64Range(1, high), rapid.Just(high)).Draw(t, name)
	}
	p := Policy{Name: "p", Algorithm: a}
	if a == Calendar {
		p.Limit = number("limit", MaxLimit)
		p.Period = rapid.SampledFrom([]Period{Day, Week, Month}).Draw(t, "period")
		p.TimeZone = rapid.SampledFrom([]string{"UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Beirut", "Africa/Cairo", "America/Havana", "Pacific/Apia"}).Draw(t, "zone")
		if p.Period == Month {
			p.AnchorDay = rapid.IntRange(1, 31).Draw(t, "anchor")
		}
	} else {
		p.Period = Every(time.Duration(number("period", 366*86400*1000)) * time.Millisecond)
		d, _ := p.Period.Duration()
		p.Limit = number("limit", min(MaxLimit, d.Microseconds()))
		if a == SlidingLog {
			p.Limit = min(p.Limit, MaxLogLimit)
		}
	}
	if a == LeakyBucket {
		p.MaxWait = Every(time.Duration(number("max_wait", 1e9)) * time.Millisecond)
	}
	if a == TokenBucket {
		p.Burst = number("burst", MaxLimit)
		if Validate([]Policy{p}) != nil {
			p.Burst = 0
		}
	}
	if err := Validate([]Policy{p}); err != nil {
		t.Fatalf("%+v: %v", p, err)
	}
	c, err := compile(p)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// drawPause draws a time to pass: none, a few nanoseconds, about an emission
// interval, about a period, or up to a change that the status announces.
func drawPause(t *rapid.T, k *counter, now int64) int64 {
	c := k.c
	if rapid.IntRange(0, 2).Draw(t, "until") == 0 {
		st := k.status(now, rapid.Int64Range(1, min(MaxCost, c.capacity)).Draw(t, "change of cost"))
		until := rapid.SampledFrom([]time.Duration{st.RetryAfter, st.ResetAfter}).Draw(t, "change")
		return max(0, int64(until)-rapid.Int64Range(0, 1).Draw(t, "before"))
	}
	period := c.period
	if period == 0 {
		period = int64(24 * time.Hour)
	}
	return rapid.OneOf(
		rapid.Just(int64(0)),
		rapid.Int64Range(0, 3),
		rapid.Int64Range(0, 2*c.emissionInterval),
		rapid.Int64Range(0, 3*period),
		rapid.SampledFrom([]int64{c.emissionInterval, max(0, c.emissionInterval-1), period - 1, period, period + 1, 2 * period}),
		rapid.Map(rapid.Int64Range(2, 9), func(n int64) int64 { return (period + n - 1) / n }),
	).Draw(t, "pause")
}

func TestAlgorithms_MatchModel(t *testing.T) {
	for _, a := range []Algorithm{TokenBucket, LeakyBucket, FixedWindow, SlidingWindow, SlidingLog, Calendar} {
		t.Run(string(a), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { compareWithModel(t, drawPolicy(t, a)) })
		})
	}
}

// openTake is a take that can be given back in part.
type openTake struct {
	taken     State
	receipt   receipt
	remaining int64
}

// compareWithModel passes time, takes, gives back and owes at random, and
// compares every verdict and Remaining with the model.
func compareWithModel(t *rapid.T, c *Compiled) {
	got, reference := &counter{c: c}, newModel(c)
	now := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano() + rapid.Int64Range(0, int64(366*24*time.Hour)).Draw(t, "start")
	var open []openTake
	for range rapid.IntRange(1, 40).Draw(t, "steps") {
		now += drawPause(t, got, now)
		if len(open) > 0 && rapid.IntRange(0, 3).Draw(t, "give") == 0 {
			i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
			units := rapid.Int64Range(1, open[i].remaining).Draw(t, "units")
			got.give(open[i].taken, now, units)
			reference.refund(open[i].receipt, now, units)
			if open[i].remaining -= units; open[i].remaining == 0 || c.Algorithm == TokenBucket || c.Algorithm == LeakyBucket {
				open = append(open[:i], open[i+1:]...)
			}
			continue
		}
		if rapid.IntRange(0, 9).Draw(t, "owe") == 0 {
			most := int64(MaxCost)
			if c.emissionInterval > 0 { // so that a bucket repays it within a few years
				most = min(most, max(1, int64(3*365*24*time.Hour)/c.emissionInterval))
			}
			debt := rapid.OneOf(rapid.Int64Range(1, min(12, most)), rapid.Int64Range(1, most)).Draw(t, "debt")
			got.owe(now, debt)
			reference.charge(now, debt)
			continue
		}
		cost := rapid.OneOf(rapid.Just(int64(1)), rapid.Int64Range(1, min(MaxCost, c.capacity))).Draw(t, "cost")
		compareStatus(t, got, reference, now, cost)
		want, remaining := reference.passes(now, cost), reference.remaining(now)
		s, ok := got.take(now, cost)
		if ok != want {
			t.Fatalf("allowed = %v for cost %d with %v remaining", ok, cost, remaining)
		}
		if ok {
			open = append(open, openTake{s, reference.charge(now, cost), cost})
		}
	}
	compareStatus(t, got, reference, now, 1)
}

// compareStatus checks Remaining against the model, and that in the model a
// retry passes after RetryAfter and not a nanosecond earlier.
func compareStatus(t *rapid.T, got *counter, reference model, now, cost int64) {
	st := got.status(now, cost)
	remaining := reference.remaining(now)
	if remaining.Sign() < 0 {
		remaining.SetInt64(0)
	}
	if remaining.Cmp(big.NewInt(st.Remaining)) != 0 {
		t.Fatalf("Remaining = %d, want %v", st.Remaining, remaining)
	}
	compareEffectiveWindow(t, reference, st, now)
	switch {
	case st.Allowed:
		if st.RetryAfter != 0 {
			t.Fatalf("RetryAfter = %d for an admitted cost, want 0", st.RetryAfter)
		}
	case cost > got.c.capacity:
		if st.RetryAfter != Never {
			t.Fatalf("RetryAfter = %d for a cost above the capacity, want Never", st.RetryAfter)
		}
	default:
		at := now + int64(st.RetryAfter)
		if !reference.passes(at, cost) {
			t.Fatalf("model refuses after RetryAfter = %d", st.RetryAfter)
		}
		if reference.passes(at-1, cost) {
			t.Fatalf("model admits before RetryAfter = %d", st.RetryAfter)
		}
	}
}

// compareEffectiveWindow checks that in the model more than Remaining can be spent
// from the end of the effective window on, and not a nanosecond earlier.
func compareEffectiveWindow(t *rapid.T, reference model, st Status, now int64) {
	end := now + int64(st.EffectiveWindow)
	if bucket, ok := reference.(*bucketModel); ok {
		spent := *bucket
		if spent.level = bucket.after(bucket.level, bucket.last, now); spent.level.Sign() == 0 {
			if int64(st.EffectiveWindow) != st.Policy.emissionInterval {
				t.Fatalf("EffectiveWindow = %d of an empty bucket, want %d", st.EffectiveWindow, st.Policy.emissionInterval)
			}
			return
		}
		// A bucket near empty gains nothing by waiting; what it gains is what
		// drains after Remaining was spent.
		spent.last = now
		spent.level.Add(spent.level, rat(st.Remaining))
		if !spent.passes(end, 1) || spent.passes(end-1, 1) {
			t.Fatalf("EffectiveWindow = %d isn't when another unit passes after %d", st.EffectiveWindow, st.Remaining)
		}
		return
	}
	if aligned := st.Policy.Algorithm == FixedWindow || st.Policy.Algorithm == Calendar; st.Remaining == st.Limit || aligned {
		want := time.Duration(st.Policy.period)
		if aligned {
			want = st.ResetAfter
		}
		if st.EffectiveWindow != want || want <= 0 {
			t.Fatalf("EffectiveWindow = %d, want %d", st.EffectiveWindow, want)
		}
		return
	}
	if atMost(st.Remaining+1, reference.remaining(end-1)) || !atMost(st.Remaining+1, reference.remaining(end)) {
		t.Fatalf("EffectiveWindow = %d isn't when a unit more than %d remains", st.EffectiveWindow, st.Remaining)
	}
}
