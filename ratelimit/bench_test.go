package ratelimit_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"ratelimiter/internal/cache"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// unlimited is three policies that a benchmark doesn't exhaust. exhausted has a
// bucket that the first request exhausts.
var (
	unlimited = []ratelimit.Policy{
		{Name: "burst", Algorithm: ratelimit.TokenBucket, Limit: 1_000_000, Period: "1s", Burst: 1_000_000_000},
		{Name: "minute", Algorithm: ratelimit.SlidingWindow, Limit: 60_000_000, Period: "1m"},
		{Name: "monthly", Algorithm: ratelimit.Calendar, Limit: ratelimit.MaxLimit, Period: ratelimit.Month},
	}
	exhausted = []ratelimit.Policy{
		{Name: "burst", Algorithm: ratelimit.TokenBucket, Limit: 1, Period: "1h", Burst: 1},
		unlimited[1], unlimited[2],
	}
)

// deployment is a limiter with the cached quotas of n keys, by the SHA-256 of
// the key. The keys are in random order and in one allocation, because the key
// of a request is already in the CPU cache.
type deployment struct {
	limiter *ratelimit.Limiter
	quotas  *cache.Aside[[32]byte, *ratelimit.Quota]
	keys    []byte
	n       int
}

const (
	keyLength  = 49
	cachedKeys = 100_000 // the default of CACHE_KEYS
)

func (d *deployment) key(i int) []byte { return d.keys[i*keyLength : (i+1)*keyLength] }

// sortedKeys returns the keys in the order in which the quotas were cached.
func (d *deployment) sortedKeys() [][]byte {
	return slices.SortedFunc(slices.Chunk(d.keys, keyLength), bytes.Compare)
}

func deploy(b testing.TB, n int, policies []ratelimit.Policy, opts ...ratelimit.Option) *deployment {
	b.Helper()
	d := &deployment{
		limiter: ratelimit.New(memory.New(), opts...),
		n:       n,
	}
	var err error
	d.quotas, err = cache.NewAside[[32]byte](cache.Options[*ratelimit.Quota]{Size: cachedKeys, LoadTimeout: time.Second, TTL: 24 * time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(d.quotas.Close)
	compiled := mustQuota(b, policies...)
	for i := range n {
		key := fmt.Appendf(nil, "rl_live_%012d_%022d000000", i, i)
		load := func(context.Context) (*ratelimit.Quota, error) {
			return compiled.For(ratelimit.Subjects{Key: string(key[:20]), Owner: "o"}), nil
		}
		if _, err := d.quotas.Get(ctx, sha256.Sum256(key), time.Now(), load); err != nil {
			b.Fatal(err)
		}
	}
	for _, i := range rand.Perm(n) {
		d.keys = fmt.Appendf(d.keys, "rl_live_%012d_%022d000000", i, i)
	}
	return d
}

// request processes one request: it hashes the key, looks up the cached quota,
// decides over its policies and formats both header fields.
func (d *deployment) request(key []byte, at time.Time, r *ratelimit.Reservation, buf []byte) (policy []string, field string) {
	q, state := d.quotas.Peek(sha256.Sum256(key), at)
	if state != cache.Fresh {
		panic("key is not cached")
	}
	if err := d.limiter.ReserveAt(ctx, r, q, "products:read", 1, at); err != nil {
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
		d.request(d.key(i), time.Now(), &r, buf)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		_, sink = d.request(d.key(i), time.Now(), &r, buf)
		if i++; i == keys {
			i = 0
		}
	}
}

// BenchmarkDecision measures a request with three policies, from the key to both
// header fields.
func BenchmarkDecision(b *testing.B) {
	b.Run("hot_key", func(b *testing.B) { benchmarkDecision(b, 1, unlimited) })
	b.Run("hot_key_refused", func(b *testing.B) { benchmarkDecision(b, 1, exhausted) })
	b.Run("100000_random_keys", func(b *testing.B) { benchmarkDecision(b, 100_000, unlimited) })
	b.Run("100000_random_keys_refused", func(b *testing.B) { benchmarkDecision(b, 100_000, exhausted) })
}

// BenchmarkDecisionParallel measures scaling over cores. Run it with -cpu 1,2.
func BenchmarkDecisionParallel(b *testing.B) {
	for _, keys := range []int{1, 100_000} {
		b.Run(fmt.Sprint("keys=", keys), func(b *testing.B) {
			d := deploy(b, keys, unlimited)
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				var r ratelimit.Reservation
				buf := make([]byte, 0, 256)
				i := rand.IntN(keys)
				for pb.Next() {
					d.request(d.key(i), time.Now(), &r, buf)
					if i++; i == keys {
						i = 0
					}
				}
			})
		})
	}
}

// BenchmarkDecision_Baseline measures the SHA-256 of a key, with which every
// decision begins. On a busy machine, compare multiples of it instead of times.
func BenchmarkDecision_Baseline(b *testing.B) {
	key := []byte("rl_live_000000000012_0000000000000000000012000000")
	for b.Loop() {
		sha256.Sum256(key)
	}
}

// BenchmarkDecision_Stages measures the stages of a decision on a hot key.
func BenchmarkDecision_Stages(b *testing.B) {
	d := deploy(b, 1, unlimited)
	at := time.Now()
	q, _ := d.quotas.Peek(sha256.Sum256(d.key(0)), at)
	var r ratelimit.Reservation
	buf := make([]byte, 0, 256)
	b.Run("lookup", func(b *testing.B) {
		hash := sha256.Sum256(d.key(0))
		for b.Loop() {
			d.quotas.Peek(hash, at)
		}
	})
	b.Run("reserve", func(b *testing.B) {
		for b.Loop() {
			_ = d.limiter.ReserveAt(ctx, &r, q, "products:read", 1, at)
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

// BenchmarkReserve measures a reservation and its release by algorithm.
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
