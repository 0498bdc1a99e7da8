package cache_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"ratelimiter/internal/cache"
)

// BenchmarkAside_hits measures the share of reads that find their key, in a cache of
// a tenth of the keys that are in use, some much more often than others.
func BenchmarkAside_hits(b *testing.B) {
	const keys = 200_000
	for b.Loop() {
		a, err := cache.NewAside[uint64](cache.Options[uint64]{Size: keys / 10, LoadTimeout: time.Second, TTL: time.Hour})
		if err != nil {
			b.Fatal(err)
		}
		now, random := time.Now(), rand.New(rand.NewPCG(1, 2))
		zipf := rand.NewZipf(random, 1.1, 10, keys-1)
		hits, reads := 0, 0
		for i := range 10 * keys {
			key := zipf.Uint64()
			if _, state := a.Peek(key, now); state == cache.Fresh {
				hits++
			} else if _, err := a.Get(b.Context(), key, now, func(context.Context) (uint64, error) { return key, nil }); err != nil {
				b.Fatal(err)
			}
			if reads++; i == 5*keys { // warm
				hits, reads = 0, 0
			}
		}
		a.Close()
		b.ReportMetric(100*float64(hits)/float64(reads), "%hits")
	}
}
