package ratelimit_test

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/maypok86/otter/v2"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// roomy is three policies that a benchmark doesn't exhaust; spent is the same
// with a window that is exhausted at once.
var (
	roomy = []ratelimit.Policy{
		{Name: "burst", Algorithm: ratelimit.TokenBucket, Limit: 1_000_000, Period: "1s", Burst: 2_000_000},
		{Name: "minute", Algorithm: ratelimit.SlidingWindow, Limit: 60_000_000, Period: "1m"},
		{Name: "monthly", Algorithm: ratelimit.Calendar, Limit: ratelimit.MaxLimit, Period: ratelimit.Month},
	}
	spent = []ratelimit.Policy{
		{Name: "burst", Algorithm: ratelimit.TokenBucket, Limit: 1, Period: "1h", Burst: 1},
		roomy[1], roomy[2],
	}
)

// cached is what a server keeps for a key: the quota, found by the SHA-256 of
// what the caller has presented.
type cached = otter.Cache[[32]byte, *ratelimit.Quota]

// deployment is a limiter with quotas cached for n keys, in random order. The
// keys themselves lie in one piece: a key that a caller has just presented is
// at hand.
type deployment struct {
	limiter *ratelimit.Limiter
	quotas  *cached
	keys    []byte
	n       int
}

const keyLength = 49

func (d *deployment) key(i int) []byte { return d.keys[i*keyLength : (i+1)*keyLength] }

func deploy(b testing.TB, n int, policies []ratelimit.Policy) *deployment {
	b.Helper()
	d := &deployment{
		limiter: ratelimit.New(memory.New()),
		n:       n,
		quotas:  otter.Must(&otter.Options[[32]byte, *ratelimit.Quota]{MaximumSize: 2 * n}),
	}
	compiled := mustQuota(b, policies...)
	for i := range n {
		key := fmt.Appendf(nil, "rl_live_%012d_%022d000000", i, i)
		d.quotas.Set(sha256.Sum256(key), compiled.For(ratelimit.Subjects{Key: string(key[:20]), Owner: "o"}))
	}
	for _, i := range rand.Perm(n) {
		d.keys = fmt.Appendf(d.keys, "rl_live_%012d_%022d000000", i, i)
	}
	return d
}

// request is the whole way of one request: the presented key, the cached
// quota, the decision over its policies, and the values of both header fields.
func (d *deployment) request(key []byte, r *ratelimit.Reservation, buf []byte) (policy []string, field string) {
	q, ok := d.quotas.GetIfPresent(sha256.Sum256(key))
	if !ok {
		panic("a key is not cached")
	}
	if err := d.limiter.Reserve(ctx, r, q, "products:read", 1); err != nil {
		panic(err)
	}
	if err := r.Settle(ctx, ratelimit.Succeeded); err != nil && r.Decision.Allowed {
		panic(err)
	}
	return q.PolicyFieldValues("products:read"), string(r.Decision.AppendField(buf[:0]))
}

var sink string

func benchmarkDecision(b *testing.B, keys int, policies []ratelimit.Policy) {
	d := deploy(b, keys, policies)
	var r ratelimit.Reservation
	buf := make([]byte, 0, 256)
	for i := range keys {
		d.request(d.key(i), &r, buf)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		_, sink = d.request(d.key(i), &r, buf)
		if i++; i == keys {
			i = 0
		}
	}
}

// BenchmarkDecision is the table of the design: presented key → cached quota →
// three policies → both header values.
func BenchmarkDecision(b *testing.B) {
	b.Run("hot key", func(b *testing.B) { benchmarkDecision(b, 1, roomy) })
	b.Run("hot key refused", func(b *testing.B) { benchmarkDecision(b, 1, spent) })
	b.Run("100000 random keys", func(b *testing.B) { benchmarkDecision(b, 100_000, roomy) })
	b.Run("100000 random keys refused", func(b *testing.B) { benchmarkDecision(b, 100_000, spent) })
}

// BenchmarkDecisionParallel is to be run with -cpu 1,2: it shows what a second
// core brings.
func BenchmarkDecisionParallel(b *testing.B) {
	for _, keys := range []int{1, 100_000} {
		b.Run(fmt.Sprint(keys, " keys"), func(b *testing.B) {
			d := deploy(b, keys, roomy)
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				var r ratelimit.Reservation
				buf := make([]byte, 0, 256)
				i := rand.IntN(keys)
				for pb.Next() {
					d.request(d.key(i), &r, buf)
					if i++; i == keys {
						i = 0
					}
				}
			})
		})
	}
}

// BenchmarkYardstick is what every decision starts with: the SHA-256 of the
// presented key. Times on a busy machine are best read as multiples of it.
func BenchmarkYardstick(b *testing.B) {
	key := []byte("rl_live_000000000012_0000000000000000000012000000")
	for b.Loop() {
		sha256.Sum256(key)
	}
}

// BenchmarkParts is where a decision's time goes on a hot key.
func BenchmarkParts(b *testing.B) {
	d := deploy(b, 1, roomy)
	q, _ := d.quotas.GetIfPresent(sha256.Sum256(d.key(0)))
	var r ratelimit.Reservation
	buf := make([]byte, 0, 256)
	b.Run("look-up", func(b *testing.B) {
		hash := sha256.Sum256(d.key(0))
		for b.Loop() {
			d.quotas.GetIfPresent(hash)
		}
	})
	b.Run("reserve", func(b *testing.B) {
		for b.Loop() {
			_ = d.limiter.Reserve(ctx, &r, q, "products:read", 1)
		}
	})
	b.Run("settle", func(b *testing.B) {
		for b.Loop() {
			_ = r.Settle(ctx, ratelimit.Succeeded)
		}
	})
	b.Run("field", func(b *testing.B) {
		for b.Loop() {
			buf = r.Decision.AppendField(buf[:0])
		}
	})
	b.Run("string", func(b *testing.B) {
		for b.Loop() {
			sink = string(buf)
		}
	})
}

// BenchmarkReserve is the engine alone, by algorithm.
func BenchmarkReserve(b *testing.B) {
	for _, p := range everyAlgorithm {
		b.Run(string(p.Algorithm), func(b *testing.B) {
			l, q := ratelimit.New(memory.New()), mustQuota(b, p)
			var r ratelimit.Reservation
			b.ReportAllocs()
			for b.Loop() {
				if err := l.Reserve(ctx, &r, q, "", 1); err != nil {
					b.Fatal(err)
				}
				_ = r.Release(ctx)
			}
		})
	}
}
