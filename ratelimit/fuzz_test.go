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

// fuzzPolicy forces any numbers into the bounds that Validate sets.
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

// FuzzTake gives a pure function any state, time and cost. Nothing may panic,
// mint, or leave a caller stuck.
func FuzzTake(f *testing.F) {
	for a := range uint8(5) {
		f.Add(a, int64(10), int64(1000), int64(20), int64(0), int64(0), int64(0), int64(1_700_000_000e9), int64(1), int64(0))
		f.Add(a, int64(math.MaxInt64), int64(math.MinInt64), int64(-1), int64(math.MaxInt64), int64(math.MaxInt64), int64(math.MaxInt64), int64(math.MinInt64), int64(math.MaxInt64), int64(math.MinInt64))
		f.Add(a, int64(-7), int64(1<<40), int64(1<<40), int64(math.MinInt64), int64(math.MinInt64), int64(-1), int64(math.MaxInt64), int64(-1), int64(-3600e9))
	}
	f.Fuzz(func(t *testing.T, algorithm uint8, limit, period, burst, at, n, m, now, cost, step int64) {
		c := fuzzPolicy(algorithm, limit, period, burst)
		before, free := c.Take(State{at, n, m}, now, 0)
		if !free {
			t.Fatal("a peek was refused")
		}
		room := c.Status(before, now, 0, true).Remaining
		after, ok := c.Take(State{at, n, m}, now, cost)
		st := c.Status(after, now, cost, ok)
		checkSane(t, c, st, room, cost, ok)
		if ok && cost > 0 {
			checkGive(t, c, after, now, satAdd(now, step), cost, room)
		}
		if !ok && cost > 0 && cost <= c.capacity {
			checkRetry(t, c, after, now, cost, st.RetryAfter)
		}
		if idle := c.IdleAt(after); inTime(idle) && inTime(now) && idle > now {
			if s, _ := c.Take(after, idle, 0); c.Status(s, idle, 0, true).Remaining != c.capacity {
				t.Fatalf("idle at %d with %+v", idle, s)
			}
		}
	})
}

// inTime says whether an instant is in the years 1700 to 2200, where nothing
// is held at the end of an int64.
func inTime(at int64) bool { return at > math.MinInt64+time50Years && at < math.MaxInt64-time50Years }

const time50Years = int64(50 * 365 * 24 * time.Hour)

func checkSane(t *testing.T, c *Compiled, st Status, room, cost int64, ok bool) {
	if room < 0 || room > c.capacity || st.Remaining < 0 || st.Remaining > room {
		t.Fatalf("%d remaining, before %d, capacity %d", st.Remaining, room, c.capacity)
	}
	if want := cost == 0 || cost > 0 && cost <= room; ok != want {
		t.Fatalf("cost %d with %d remaining: %v", cost, room, ok)
	}
	if ok && cost > 0 && c.kind != leakyBucket && st.Remaining != room-cost {
		t.Fatalf("%d remaining after %d of %d", st.Remaining, cost, room)
	}
	if st.ResetAfter < 0 || st.RetryAfter < 0 {
		t.Fatalf("reset after %d, retry after %d", st.ResetAfter, st.RetryAfter)
	}
}

// checkGive: a refund gives back at most what was taken, at any time.
func checkGive(t *testing.T, c *Compiled, taken State, now, later, cost, room int64) {
	s, _ := c.Take(taken, later, 0)
	unrefunded := c.Status(s, later, 0, true).Remaining
	g := c.Give(taken, taken, later, cost)
	refunded := c.Status(g, later, 0, true).Remaining
	if refunded < unrefunded || c.kind != leakyBucket && refunded > satAdd(unrefunded, cost) {
		t.Fatalf("%d remaining after a refund of %d to %d", refunded, cost, unrefunded)
	}
	if now == later && refunded != room {
		t.Fatalf("%d remaining after a refund at once, before %d", refunded, room)
	}
}

// checkRetry: a retry passes after RetryAfter, and not a nanosecond sooner.
func checkRetry(t *testing.T, c *Compiled, s State, now, cost int64, after time.Duration) {
	at := satAdd(now, int64(after))
	if !inTime(now) || !inTime(at) || !inTime(s.At) {
		return
	}
	if _, ok := c.Take(s, at, cost); !ok {
		t.Fatalf("refused after %d", after)
	}
	if _, ok := c.Take(s, at-1, cost); ok {
		t.Fatalf("passes a nanosecond before %d", after)
	}
}

// FuzzLog gives the sliding_log any times: no window of a period may hold
// more than the limit, by the log's own times, and the sum must be right.
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
		t.Fatalf("the sum is %d, not %d", l.Sum, sum)
	}
	if len(l.Entries) > 2*len(live)+1 {
		t.Fatalf("%d entries are kept for %d", len(l.Entries), len(live))
	}
}

// FuzzParsePolicies: any text gives faults or policies that can be used, and
// that read back as they were written.
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
				t.Fatalf("an error without a fault: %v", err)
			}
			return
		}
		if _, err := NewQuota(policies, Subjects{}); err != nil {
			t.Fatalf("parsed, and not usable: %v", err)
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
