// Package fallback decides without a shared store while it fails.
//
// [Store] passes every call on to a store that several processes share, such as
// Redis, and repeats its answers in a memory.Store, the mirror. When a call fails
// or takes too long, the request is decided in the mirror, alone: never by an error
// and never without a limit. Alone, a process charges each request as if the other
// processes spent in proportion to their part of the recent traffic, so that it
// admits its share of what was last known to remain, and of what refills. What it
// admits is recorded in a ledger and charged to the shared store when that answers
// again. So all processes together admit about one quota in a period, not one
// before a failure, one during it and one after.
//
// The time of a decision alone is the local clock, corrected by its difference from
// the shared store's clock at the last answer.
package fallback

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// Defaults of Options.
const (
	DefaultTimeout  = 50 * time.Millisecond
	DefaultCounters = 1 << 18
)

// Options configures a Store.
type Options struct {
	// Timeout bounds each call of the shared store; 0: DefaultTimeout.
	Timeout time.Duration
	// Instances returns the number of processes that share the store; nil: 1. It
	// must not block.
	Instances func() int
	// Log receives one line when the shared store is lost and one when it is back;
	// nil: none.
	Log *slog.Logger
	// MirrorBytes bounds the memory of the mirror; 0: memory.DefaultMaxBytes.
	MirrorBytes int
	// Counters is the number of counters whose traffic is known, at 40 bytes each;
	// 0: DefaultCounters. The share of others is one by the number of processes.
	Counters int
	// Clock returns the local time in nanoseconds since the Unix epoch; nil: the
	// wall clock at the start and monotonic time since then, as the default clock
	// of a ratelimit.Limiter.
	Clock func() int64
}

// ErrUnavailable reports a reset while the shared store can't be reached.
var ErrUnavailable = errors.New("fallback: the shared store is unavailable")

// stripeBits is the binary logarithm of the number of stripes. Each returns to the
// shared store by itself, so that its load comes back in as many steps.
const stripeBits = 8

// Store implements ratelimit.Store. Create it with New. It must be started to find
// out that a lost store is back.
type Store struct {
	shared  ratelimit.Store
	mirror  *memory.Store
	traffic *traffic
	o       Options

	outages  atomic.Uint64 // so far; a stripe that hasn't returned from the latest is alone
	failures atomic.Int32  // since the last answer
	ahead    atomic.Int64  // the shared store's clock minus the local one, in nanoseconds
	stripes  [1 << stripeBits]stripe
	totals   totals
	hold     time.Duration // holdTime
	random   func() float64

	mu        sync.Mutex
	witness   ratelimit.Batch // a peek that shows whether the shared store answers
	lostAt    time.Time
	losses    int64
	returned  uint64 // the outage from which all stripes have returned
	lost      chan struct{}
	recorded  chan struct{}
	cancel    context.CancelFunc
	component sync.WaitGroup
}

var _ ratelimit.Store = (*Store)(nil)

// New returns a Store over shared. The counters in shared must be spent through
// Stores only.
func New(shared ratelimit.Store, o Options) *Store {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Instances == nil {
		o.Instances = func() int { return 1 }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MirrorBytes == 0 {
		o.MirrorBytes = memory.DefaultMaxBytes
	}
	if o.Counters == 0 {
		o.Counters = DefaultCounters
	}
	if o.Clock == nil {
		began := time.Now()
		o.Clock = func() int64 { return began.UnixNano() + int64(time.Since(began)) }
	}
	s := &Store{
		shared: shared, mirror: memory.New(memory.WithMaxBytes(o.MirrorBytes)), traffic: newTraffic(o.Counters), o: o,
		hold: holdTime, random: rand.Float64, lost: make(chan struct{}, 1), recorded: make(chan struct{}, 1),
	}
	for i := range s.stripes {
		s.stripes[i].number = 1
		s.stripes[i].reporting = make(chan struct{}, 1)
	}
	return s
}

// stripe is the part of the state for the counters of some slots. All counters of
// a batch are in one slot.
type stripe struct {
	reporting chan struct{} // holds one value while the stripe is reported
	mu        sync.Mutex
	returned  uint64 // the outage from which it has returned to the shared store
	ledger

	local ratelimit.Batch // of the call that holds mu
	steps [ratelimit.MaxPolicies]ratelimit.Step
}

// stripeOf returns the stripe of a batch.
func (s *Store) stripeOf(b *ratelimit.Batch) *stripe {
	subject := b.Key
	if subject == nil {
		subject = b.Owner
	}
	return &s.stripes[subject.Slot*0x9e3779b97f4a7c15>>(64-stripeBits)]
}

// alone reports whether the stripe's decisions are made without the shared store.
// st.mu is held.
func (s *Store) alone(st *stripe) bool { return st.returned != s.outages.Load() }

// Take implements ratelimit.Store. It never fails because of the shared store,
// except when ctx is done.
func (s *Store) Take(ctx context.Context, b *ratelimit.Batch) error {
	st, now := s.stripeOf(b), b.Now
	st.mu.Lock()
	alone := s.alone(st)
	st.mu.Unlock()
	if !alone {
		err := s.call(ctx, b, s.o.Timeout, ratelimit.Store.Take)
		if err == nil {
			b.Alone = 0
			s.answered(b, now)
			st.mu.Lock()
			defer st.mu.Unlock()
			s.repeat(st, b, memory.TakeSlots)
			return nil
		}
		st.mu.Lock()
		s.freeLater(st, b)
		st.mu.Unlock()
		if ctx.Err() != nil {
			return err
		}
	}
	b.Now = now + s.ahead.Load()
	st.mu.Lock()
	defer st.mu.Unlock()
	return s.takeAlone(st, b)
}

// Give implements ratelimit.Store. If the shared store can't be reached, it gives
// back later, or leaves the units spent: after a failed call it is unknown whether
// they were given back.
func (s *Store) Give(ctx context.Context, b *ratelimit.Batch) error {
	st, now := s.stripeOf(b), b.Now
	st.mu.Lock()
	shared := b.Alone == 0 && !s.alone(st)
	if !shared {
		b.Now = now + s.ahead.Load()
		defer st.mu.Unlock()
		err := s.giveAlone(st, b)
		markLater(st, b)
		return err
	}
	st.mu.Unlock()
	err := s.call(ctx, b, s.o.Timeout, ratelimit.Store.Give)
	if err == nil {
		s.answered(b, now)
	} else {
		b.Now = now + s.ahead.Load()
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case err == nil:
		s.repeat(st, b, memory.FreeSlots)
	case errors.Is(err, ratelimit.ErrSettled):
		return err
	default:
		_ = s.repeatSlots(b, memory.FreeSlots) // fails for the largest subjects only
		s.giveLater(st, b, true)
		markLater(st, b)
	}
	return nil
}

// markLater makes known that a batch's record isn't deleted yet.
func markLater(st *stripe, b *ratelimit.Batch) {
	if b.Once != "" {
		b.Alone = st.number
	}
}

// Renew implements ratelimit.Store. Alone, it renews what this process holds.
func (s *Store) Renew(ctx context.Context, b *ratelimit.Batch) error {
	st, now := s.stripeOf(b), b.Now
	st.mu.Lock()
	shared := b.Alone == 0 && !s.alone(st)
	st.mu.Unlock()
	if shared {
		if err := s.call(ctx, b, s.o.Timeout, ratelimit.Store.Renew); isAnswer(err) {
			s.answered(b, now)
			_ = s.repeatSlots(b, memory.RenewSlots) // the shared store knows better
			return err
		}
	}
	b.Now = now + s.ahead.Load()
	return s.repeatSlots(b, memory.RenewSlots)
}

// Reset implements ratelimit.Store. The error is the shared store's, or
// ErrUnavailable: counters can't be reset alone.
func (s *Store) Reset(ctx context.Context, b *ratelimit.Batch) error {
	st := s.stripeOf(b)
	st.mu.Lock()
	alone := s.alone(st)
	st.mu.Unlock()
	if alone {
		return ErrUnavailable
	}
	if err := s.call(ctx, b, s.o.Timeout, ratelimit.Store.Reset); err != nil {
		return err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	s.forget(st, b)
	return s.mirror.Reset(ctx, b)
}

// call calls the shared store within a timeout. It never calls twice.
func (s *Store) call(ctx context.Context, b *ratelimit.Batch, timeout time.Duration, method func(ratelimit.Store, context.Context, *ratelimit.Batch) error) error {
	outage := s.outages.Load()
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := method(s.shared, bounded, b)
	switch {
	case isAnswer(err):
		if s.failures.Load() != 0 {
			s.failures.Store(0)
		}
	case ctx.Err() == nil:
		s.failed(b, err, outage)
	}
	return err
}

// isAnswer reports whether an error is none of the store's own.
func isAnswer(err error) bool {
	return err == nil || errors.Is(err, ratelimit.ErrSettled) || errors.Is(err, ratelimit.ErrExpired)
}

// answered learns the difference of the clocks from an answer to a call at now, by
// the local clock. The time on the way to the store is a part of it.
func (s *Store) answered(b *ratelimit.Batch, now int64) {
	if ahead := b.Now - now; ahead != s.ahead.Load() {
		s.ahead.Store(ahead)
	}
}
