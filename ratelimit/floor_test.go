package ratelimit_test

import (
	"crypto/sha256"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"ratelimiter/ratelimit"
)

// floor is the least that a decision over the three policies of unlimited can
// cost: it decides and formats only these, in place, for a key that is never
// removed, changed or refunded. Its output is that of the engine.
type floor struct {
	plan   floorPlan
	shards [128]struct {
		mu   sync.Mutex
		keys map[[sha256.Size]byte]*floorKey
		_    [48]byte
	}
}

// floorPlan is the limits; periods and the emission interval in nanoseconds.
type floorPlan struct {
	burst, rate, second, interval int64
	perMinute, minute             int64
	perMonth                      int64
	policy                        []string
}

type floorKey struct {
	plan                                  *floorPlan
	spent, part, drainedAt                int64 // token bucket: units, 1/second of a unit
	used, previous, windowStart, chargeAt int64 // sliding window
	month, monthStart, monthEnd           int64
}

func newFloor(keys [][]byte) *floor {
	f := &floor{plan: floorPlan{
		burst: unlimited[0].Burst, rate: unlimited[0].Limit, second: int64(time.Second), interval: int64(time.Second) / unlimited[0].Limit,
		perMinute: unlimited[1].Limit, minute: int64(time.Minute), perMonth: unlimited[2].Limit,
		policy: []string{`"burst";q=1000000000;w=1000, "minute";q=60000000;w=60, "monthly";q=1000000000000`},
	}}
	for i := range f.shards {
		f.shards[i].keys = map[[sha256.Size]byte]*floorKey{}
	}
	for _, key := range keys {
		hash := sha256.Sum256(key)
		f.shards[hash[0]%128].keys[hash] = &floorKey{plan: &f.plan}
	}
	return f
}

func (f *floor) request(key []byte, at time.Time, buf []byte) (policy []string, field string) {
	hash, now := sha256.Sum256(key), at.UnixNano()
	shard := &f.shards[hash[0]%128]
	shard.mu.Lock()
	k := shard.keys[hash]
	p := k.plan
	k.drain(now)
	k.slide(now)
	if now >= k.monthEnd {
		start := time.Date(at.UTC().Year(), at.UTC().Month(), 1, 0, 0, 0, 0, time.UTC)
		k.month, k.monthStart, k.monthEnd = 0, start.UnixNano(), start.AddDate(0, 1, 0).UnixNano()
	}
	if k.level() < p.burst && k.used+k.weighted(now) < p.perMinute && k.month < p.perMonth {
		k.spent++
		k.used++
		k.month++
		k.chargeAt = now
	}
	burst, burstIn := p.burst-k.level(), p.interval
	if k.part > 0 {
		burstIn = (k.part + p.rate - 1) / p.rate
	}
	minute, minuteIn := p.perMinute-k.used-k.weighted(now), k.returns(now)
	month, monthIn := p.perMonth-k.month, k.monthEnd-now
	shard.mu.Unlock()

	buf = appendItem(append(buf[:0], `"burst";r=`...), burst, burstIn)
	buf = appendItem(append(buf, `, "minute";r=`...), minute, minuteIn)
	buf = appendItem(append(buf, `, "monthly";r=`...), month, monthIn)
	return p.policy, string(buf)
}

func appendItem(buf []byte, remaining, in int64) []byte {
	buf = strconv.AppendInt(buf, remaining, 10)
	return strconv.AppendInt(append(buf, ";t="...), (in+int64(time.Second)-1)/int64(time.Second), 10)
}

func (k *floorKey) drain(now int64) {
	hi, lo := bits.Mul64(uint64(now-k.drainedAt), uint64(k.plan.rate))
	k.drainedAt = now
	if hi >= uint64(k.plan.second) {
		k.spent, k.part = 0, 0
		return
	}
	units, part := bits.Div64(hi, lo, uint64(k.plan.second))
	k.spent, k.part = k.spent-int64(units), k.part-int64(part)
	if k.part < 0 {
		k.spent, k.part = k.spent-1, k.part+k.plan.second
	}
	if k.spent < 0 {
		k.spent, k.part = 0, 0
	}
}

func (k *floorKey) level() int64 {
	if k.part > 0 {
		return k.spent + 1
	}
	return k.spent
}

func (k *floorKey) slide(now int64) {
	if now-k.windowStart >= k.plan.minute {
		k.windowStart, k.previous, k.used = k.windowStart+k.plan.minute, k.used, 0
	}
	if now-k.chargeAt >= k.plan.minute {
		k.windowStart, k.previous, k.used = now, 0, 0
	}
}

// weighted is the part of the previous window that the last minute covers.
func (k *floorKey) weighted(now int64) int64 {
	if k.previous == 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(k.previous), uint64(k.plan.minute-(now-k.windowStart)))
	units, rest := bits.Div64(hi, lo, uint64(k.plan.minute))
	if rest > 0 {
		units++
	}
	return int64(units)
}

// returns is the time until the estimate of the window falls by one unit.
func (k *floorKey) returns(now int64) int64 {
	estimate := k.used + k.weighted(now) - 1
	at := k.windowStart + 2*k.plan.minute - k.covering(estimate, k.used)
	if estimate >= k.used && k.previous > 0 {
		at = k.windowStart + k.plan.minute - k.covering(estimate-k.used, k.previous)
	}
	return min(at, k.chargeAt+k.plan.minute) - now
}

// covering is the part of a minute of which used units weigh target.
func (k *floorKey) covering(target, used int64) int64 {
	hi, lo := bits.Mul64(uint64(target), uint64(k.plan.minute))
	part, _ := bits.Div64(hi, lo, uint64(used))
	return int64(part)
}

// TestDecision_floor compares the floor's header values with the engine's.
func TestDecision_floor(t *testing.T) {
	at := time.Date(2026, time.January, 31, 23, 50, 0, 0, time.UTC)
	d := deploy(t, 3, unlimited, ratelimit.WithClock(func() time.Time { return at }))
	f := newFloor(d.sortedKeys())
	rng := rand.New(rand.NewPCG(1, 2))
	var r ratelimit.Reservation
	for i := range 200_000 {
		key := d.key(rng.IntN(d.n))
		policy, field := d.request(key, at, &r, nil)
		wantPolicy, want := f.request(key, at, nil)
		if field != want || !slices.Equal(policy, wantPolicy) {
			t.Fatalf("request %d at %v: %q %q, want %q %q", i, at, policy, field, wantPolicy, want)
		}
		at = at.Add(time.Duration(rng.ExpFloat64() * float64(3*time.Millisecond)))
		if rng.IntN(500) == 0 {
			at = at.Add(time.Duration(rng.ExpFloat64() * float64(40*time.Second)))
		}
	}
}

// BenchmarkDecision_floor compares a decision with the floor; see the metric
// "ratio". They take turns, so that other load on the machine affects both.
func BenchmarkDecision_floor(b *testing.B) {
	b.Run("hot_key", func(b *testing.B) { compareWithFloor(b, 1) })
	b.Run("100000_random_keys", func(b *testing.B) { compareWithFloor(b, 100_000) })
}

func compareWithFloor(b *testing.B, keys int) {
	d := deploy(b, keys, unlimited)
	f := newFloor(d.sortedKeys())
	var r ratelimit.Reservation
	buf := make([]byte, 0, 256)
	const slice = 1000
	next := [2]int{}
	measure := func(i int, request func(key []byte)) float64 {
		began := time.Now()
		for range slice {
			request(d.key(next[i]))
			next[i] = (next[i] + 1) % keys
		}
		return float64(time.Since(began)) / slice
	}
	var engine, least, ratio []float64
	for b.Loop() {
		e := measure(0, func(key []byte) { _, sink = d.request(key, time.Now(), &r, buf) })
		l := measure(1, func(key []byte) { _, sink = f.request(key, time.Now(), buf) })
		engine, least, ratio = append(engine, e), append(least, l), append(ratio, e/l)
	}
	warm := len(ratio) / 10
	report := func(of []float64, quantile float64, unit string) {
		of = slices.Sorted(slices.Values(of[warm:]))
		b.ReportMetric(of[int(quantile*float64(len(of)-1))], unit)
	}
	report(engine, 0.5, "engine-ns")
	report(least, 0.5, "floor-ns")
	report(ratio, 0.25, "ratio-q1")
	report(ratio, 0.5, "ratio")
	report(ratio, 0.75, "ratio-q3")
	b.ReportMetric(0, "ns/op")
}
