package ratelimit

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"testing"
	"time"
)

var fuzzAlgorithms = []Algorithm{TokenBucket, LeakyBucket, FixedWindow, SlidingWindow, Calendar}

// fuzzPolicy returns a valid policy for any numbers, reduced to the bounds of
// Validate.
func fuzzPolicy(algorithm uint8, limit, period, burst int64) *Compiled {
	wrap := func(n, high int64) int64 {
		if n %= high; n < 0 {
			n = -n
		}
		return n + 1
	}
	p := Policy{Name: "p", Algorithm: fuzzAlgorithms[int(algorithm)%len(fuzzAlgorithms)]}
	if p.Algorithm == Calendar {
		p.Limit, p.Period = wrap(limit, MaxLimit), []Period{Day, Week, Month}[wrap(period, 3)-1]
		p.TimeZone = []string{"UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia"}[wrap(burst, 4)-1]
	} else {
		d := time.Duration(wrap(period, int64(maxPeriod/time.Millisecond))) * time.Millisecond
		p.Period, p.Limit = Every(d), wrap(limit, min(MaxLimit, d.Microseconds()))
	}
	if p.Algorithm == SlidingWindow {
		p.Limit = max(p.Limit, exactWindow+1) // smaller ones have no State
	}
	if p.Algorithm == TokenBucket {
		p.Burst = wrap(burst, MaxLimit)
		if Validate([]Policy{p}) != nil {
			p.Burst = 0
		}
	}
	c, err := compile(p)
	if err != nil {
		panic(err)
	}
	return c
}

// FuzzTake calls the pure functions with any state, time and cost. They must not
// panic, create units or leave a caller stuck.
func FuzzTake(f *testing.F) {
	for a := range uint8(5) {
		f.Add(a, int64(10), int64(1000), int64(20), int64(0), int64(0), int64(0), int64(1_700_000_000e9), int64(1), int64(0), int64(0))
		f.Add(a, int64(math.MaxInt64), int64(math.MinInt64), int64(-1), int64(math.MaxInt64), int64(math.MaxInt64), int64(math.MaxInt64), int64(math.MinInt64), int64(math.MaxInt64), int64(math.MinInt64), int64(math.MaxInt64))
		f.Add(a, int64(-7), int64(1<<40), int64(1<<40), int64(math.MinInt64), int64(math.MinInt64), int64(-1), int64(math.MaxInt64), int64(-1), int64(-3600e9), int64(-1))
	}
	f.Fuzz(func(t *testing.T, algorithm uint8, limit, period, burst, at, n, m, now, cost, step, x int64) {
		c := fuzzPolicy(algorithm, limit, period, burst)
		before, ok := c.Take(State{At: at, N: n, M: m, X: x}, now, 0)
		if !ok {
			t.Fatal("peek was refused")
		}
		remaining := c.Status(before, now, 0, true).Remaining
		after, ok := c.Take(State{At: at, N: n, M: m, X: x}, now, cost)
		st := c.Status(after, now, cost, ok)
		checkStatus(t, c, st, remaining, cost, ok)
		if ok && cost > 0 {
			checkGive(t, c, after, now, satAdd(now, step), cost, remaining)
		}
		if cost > 0 {
			owed := c.Owe(State{At: at, N: n, M: m, X: x}, now, min(cost, MaxCost))
			if left := c.Status(owed, now, 0, true).Remaining; left != max(0, remaining-min(cost, MaxCost)) && c.kind != leakyBucket && c.kind != slidingWindow || left > remaining {
				t.Fatalf("Remaining = %d after a debt of %d and %d", left, cost, remaining)
			}
			c.IdleAt(owed)
		}
		if !ok && cost > 0 && cost <= c.capacity {
			checkRetry(t, c, after, now, cost, st.RetryAfter)
		}
		if idle := c.IdleAt(after); unsaturated(idle) && unsaturated(now) && idle > now {
			fresh, _ := c.Take(State{}, idle, 0)
			if s, _ := c.Take(after, idle, 0); c.Status(s, idle, 0, true).Remaining != c.Status(fresh, idle, 0, true).Remaining {
				t.Fatalf("state %+v at IdleAt %d isn't fresh", s, idle)
			}
		}
	})
}

// unsaturated reports whether an instant is between the years 1728 and 2212, so
// that adding any period doesn't saturate.
func unsaturated(at int64) bool { return at > math.MinInt64+years50 && at < math.MaxInt64-years50 }

const years50 = int64(50 * 365 * 24 * time.Hour)

// checkStatus checks the verdict and the status of a take of cost with the given
// units remaining before.
func checkStatus(t *testing.T, c *Compiled, st Status, remaining, cost int64, ok bool) {
	if remaining < 0 || remaining > c.capacity || st.Remaining < 0 || st.Remaining > remaining {
		t.Fatalf("Remaining = %d after %d, capacity %d", st.Remaining, remaining, c.capacity)
	}
	want := cost == 0 || cost > 0 && cost <= remaining
	if c.kind == leakyBucket && cost > remaining && remaining > 0 {
		want = ok // a request of several units waits for the turn of the first
	}
	if ok != want {
		t.Fatalf("allowed = %v for cost %d with %d remaining", ok, cost, remaining)
	}
	if ok && cost > 0 && c.kind != leakyBucket && st.Remaining != remaining-cost {
		t.Fatalf("Remaining = %d after taking %d of %d", st.Remaining, cost, remaining)
	}
	if st.ResetAfter < 0 || st.RetryAfter < 0 || st.EffectiveWindow < 0 {
		t.Fatalf("%+v", st)
	}
}

// checkGive checks that Give never gives back more than was taken, and all of it
// at the instant of the take.
func checkGive(t *testing.T, c *Compiled, taken State, now, later, cost, remaining int64) {
	s, _ := c.Take(taken, later, 0)
	before := c.Status(s, later, 0, true).Remaining
	g := c.Give(taken, taken, later, cost)
	after := c.Status(g, later, 0, true).Remaining
	if after < before || c.kind != leakyBucket && after > satAdd(before, cost) {
		t.Fatalf("Remaining = %d after giving %d back to %d", after, cost, before)
	}
	if now == later && after != remaining {
		t.Fatalf("Remaining = %d after giving all back at once, want %d", after, remaining)
	}
}

// checkRetry checks that a retry passes after RetryAfter and not a nanosecond
// earlier.
func checkRetry(t *testing.T, c *Compiled, s State, now, cost int64, after time.Duration) {
	at := satAdd(now, int64(after))
	if !unsaturated(now) || !unsaturated(at) || !unsaturated(s.At) {
		return
	}
	if _, ok := c.Take(s, at, cost); !ok {
		t.Fatalf("refused after RetryAfter = %d", after)
	}
	if _, ok := c.Take(s, at-1, cost); ok {
		t.Fatalf("admitted a nanosecond before RetryAfter = %d", after)
	}
}

// FuzzLog takes from and gives back to a sliding_log at any times, also
// backwards. No interval of one period may hold more than the limit, and Sum
// must match the entries.
func FuzzLog(f *testing.F) {
	f.Add(int64(3), int64(1000), []byte{1, 0, 1, 5, 2, 200, 1, 255, 3, 128})
	f.Add(int64(1), int64(1), []byte{1, 1, 1, 1, 1, 1})
	f.Fuzz(func(t *testing.T, limit, period int64, steps []byte) {
		c := fuzzPolicy(2, limit, period, 1)
		c.kind, c.capacity = slidingLog, min(c.capacity, MaxLogLimit)
		var l List
		now := int64(1_700_000_000e9)
		var taken []State
		for i := 0; i+1 < min(len(steps), 200); i += 2 {
			now = satAdd(now, (int64(int8(steps[i+1]))+32)*c.period/64)
			cost := int64(steps[i] % 8)
			if cost == 7 && len(taken) > 0 {
				c.GiveList(&l, taken[0], now, int64(steps[i]/8), 0)
				taken = taken[1:]
			} else if _, ok := c.CheckList(&l, now, cost); ok && cost > 0 {
				taken = append(taken, c.AddList(&l, now, cost, 0))
			}
			checkLog(t, c, &l)
		}
	})
}

func checkLog(t *testing.T, c *Compiled, l *List) {
	live, sum, from := l.live(), int64(0), 0
	var window int64
	for i, e := range live {
		sum += e.N
		window += e.N
		for live[from].At <= satSub(e.At, c.period) {
			window -= live[from].N
			from++
		}
		if e.N < 0 || i > 0 && e.At < live[i-1].At || window > c.capacity {
			t.Fatalf("limit %d, period %d: %+v", c.capacity, c.period, live)
		}
	}
	if sum != l.Sum {
		t.Fatalf("Sum = %d, want %d", l.Sum, sum)
	}
	if len(l.Entries) > 2*len(live)+1 {
		t.Fatalf("%d entries are stored for %d live ones", len(l.Entries), len(live))
	}
}

// FuzzParsePolicies checks that any input yields faults, or policies that
// NewQuota accepts and that survive encoding and decoding.
func FuzzParsePolicies(f *testing.F) {
	f.Add([]byte(`[{"name":"burst","algorithm":"token_bucket","limit":10,"period":"1s","burst":20}]`))
	f.Add([]byte(`[{"name":"m","algorithm":"calendar","limit":10000,"period":"month","time_zone":"Europe/Berlin","anchor_day":15}]`))
	f.Add([]byte(`[{"name":"p","algorithm":"concurrency","limit":8,"hold":"5m","per":"owner","mode":"shadow"},{}]`))
	f.Add([]byte(`[{"name":"q","algorithm":"leaky_bucket","limit":1e3,"period":"1d","max_wait":"0s","LIMIT":null}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		policies, err := ParsePolicies(data)
		if err != nil {
			var invalid *InvalidError
			if !errors.As(err, &invalid) || len(invalid.Faults) == 0 || err.Error() == "" {
				t.Fatalf("error has no fault: %v", err)
			}
			return
		}
		if _, err := NewQuota(policies, Subjects{}); err != nil {
			t.Fatalf("NewQuota rejects parsed policies: %v", err)
		}
		written, err := json.Marshal(policies)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParsePolicies(written); err != nil || !reflect.DeepEqual(again, policies) {
			t.Fatalf("%s: %v", written, err)
		}
	})
}
