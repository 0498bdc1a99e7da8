package main

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/didip/tollbooth/v8"
	"github.com/go-chi/httprate"
	juju "github.com/juju/ratelimit"
	"github.com/sethvargo/go-limiter/memorystore"
	"github.com/throttled/throttled/v2"
	"github.com/throttled/throttled/v2/store/memstore"
	ulule "github.com/ulule/limiter/v3"
	ululemem "github.com/ulule/limiter/v3/drivers/store/memory"
	"golang.org/x/time/rate"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// candidate is a rate limiter, called in its fastest way.
type candidate struct {
	name string
	// omits lists features of this engine that the candidate doesn't have.
	omits string
	// open returns a function that takes one unit from a new limiter.
	open func(c config) func(key string) bool
}

var ctx = context.Background()

var candidates = []candidate{
	{"this engine, 1 policy", "headers", func(c config) func(string) bool {
		return thisEngine(c.policies(), false)
	}},
	{"this engine, 3 policies and headers", "nothing", func(c config) func(string) bool {
		return thisEngine(append(c.policies(),
			ratelimit.Policy{Name: "day", Algorithm: ratelimit.SlidingWindow, Limit: 10_000_000_000, Period: "1d"},
			ratelimit.Policy{Name: "month", Algorithm: ratelimit.Calendar, Limit: 10_000_000_000, Period: ratelimit.Month},
		), true)
	}},
	{"golang.org/x/time/rate", "several policies, all or nothing, headers, eviction", func(c config) func(string) bool {
		return perKey(func() *rate.Limiter { return rate.NewLimiter(rate.Limit(c.perSecond()), c.limit) }, (*rate.Limiter).Allow)
	}},
	{"juju/ratelimit", "several policies, all or nothing, headers, eviction", func(c config) func(string) bool {
		return perKey(func() *juju.Bucket { return juju.NewBucketWithRate(c.perSecond(), int64(c.limit)) },
			func(b *juju.Bucket) bool { return b.TakeAvailable(1) == 1 })
	}},
	{"sethvargo/go-limiter", "several policies, costs, headers", func(c config) func(string) bool {
		store := must(memorystore.New(&memorystore.Config{Tokens: uint64(c.limit), Interval: c.period}))
		return func(key string) bool {
			_, _, _, ok, err := store.Take(ctx, key)
			return check(ok, err)
		}
	}},
	{"ulule/limiter", "several policies, headers", func(c config) func(string) bool {
		l := ulule.New(ululemem.NewStore(), ulule.Rate{Period: c.period, Limit: int64(c.limit)})
		return func(key string) bool {
			got, err := l.Get(ctx, key)
			return check(!got.Reached, err)
		}
	}},
	{"throttled", "several policies, headers; fails after ten lost compare-and-swaps", func(c config) func(string) bool {
		store := must(memstore.NewCtx(2 * c.keys))
		l := must(throttled.NewGCRARateLimiterCtx(store, throttled.RateQuota{MaxRate: throttled.PerDuration(c.limit, c.period), MaxBurst: c.limit - 1}))
		return func(key string) bool {
			limited, _, err := l.RateLimitCtx(ctx, key, 1)
			return err == nil && !limited
		}
	}},
	{"go-chi/httprate", "several policies, all or nothing (writes 3 headers itself)", func(c config) func(string) bool {
		l := httprate.NewRateLimiter(c.limit, c.period)
		r := must(http.NewRequest("GET", "/", nil))
		pool := sync.Pool{New: func() any { return &discard{header: http.Header{}} }}
		return func(key string) bool {
			w := pool.Get().(*discard)
			defer pool.Put(w)
			return !l.RespondOnLimit(w, r, key)
		}
	}},
	{"didip/tollbooth", "several policies, all or nothing, headers", func(c config) func(string) bool {
		l := tollbooth.NewLimiter(c.perSecond(), nil).SetBurst(c.limit)
		return func(key string) bool { return tollbooth.LimitByKeys(l, []string{key}) == nil }
	}},
}

// config is the limit that a candidate enforces.
type config struct {
	limit  int // requests per period and key
	period time.Duration
	keys   int // expected number of keys
}

func (c config) perSecond() float64 { return float64(c.limit) / c.period.Seconds() }

func (c config) policies() []ratelimit.Policy {
	return []ratelimit.Policy{{Name: "first", Algorithm: ratelimit.SlidingWindow, Limit: int64(c.limit), Period: ratelimit.Every(c.period)}}
}

// thisEngine binds the policies to the key on every call. A server caches the
// bound quota with the key; the benchmarks of package ratelimit include that.
func thisEngine(policies []ratelimit.Policy, headers bool) func(string) bool {
	l := ratelimit.New(memory.New())
	plan := must(ratelimit.NewQuota(policies, ratelimit.Subjects{}))
	type scratch struct {
		quota  ratelimit.Quota
		r      ratelimit.Reservation
		buf    []byte
		policy []string
		field  string
	}
	pool := sync.Pool{New: func() any { return new(scratch) }}
	return func(key string) bool {
		s := pool.Get().(*scratch)
		defer pool.Put(s)
		q := &s.quota
		plan.Bind(q, ratelimit.Subjects{Key: key})
		if err := l.Reserve(ctx, &s.r, q, "", 1); err != nil {
			panic(err)
		}
		if headers {
			s.buf = s.r.Decision.AppendField(s.buf[:0])
			s.policy, s.field = q.PolicyFieldValues(""), string(s.buf)
		}
		return s.r.Decision.Allowed
	}
}

// perKey provides a limiter per key for candidates that don't distinguish keys.
func perKey[L any](make func() *L, allow func(*L) bool) func(string) bool {
	var limiters sync.Map
	return func(key string) bool {
		l, ok := limiters.Load(key)
		if !ok {
			l, _ = limiters.LoadOrStore(key, make())
		}
		return allow(l.(*L))
	}
}

// discard is a ResponseWriter that discards the response.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func check(ok bool, err error) bool {
	if err != nil {
		panic(err)
	}
	return ok
}
