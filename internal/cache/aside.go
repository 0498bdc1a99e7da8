// Package cache keeps what is dear to load near the code that needs it, in
// bounded memory and for a bounded time.
//
// Aside is cache-aside: the reader asks the cache, and on a miss the cache
// loads from the source and remembers. Writers don't pass through it, so an
// entry can be as old as its TTL (or as Stale, while the source is down).
package cache

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

// Options say how an Aside behaves. Size, TTL and LoadTimeout are required.
type Options[V any] struct {
	Size        int           // most entries kept
	LoadTimeout time.Duration // how long one load may take
	TTL         time.Duration // how long an entry is fresh; each gets 90 to 100 % of it, so that entries loaded together don't expire together

	// Stale is how long after its TTL an entry is still served when a load fails
	// with anything but a remembered error. ServeStale excepts values; nil: none.
	Stale      time.Duration
	ServeStale func(V) bool

	// Negative tells which errors of a load mean that there is no such value;
	// these are remembered for NegativeTTL, in a bounded cache of their own so
	// that made-up keys can't push out real ones. nil: none.
	Negative     func(error) bool
	NegativeSize int
	NegativeTTL  time.Duration

	// Valid tells whether a value still counts: what it refuses is as good as
	// absent, also where a stale value would be served. It is asked on every
	// read, so it must be quick. nil: every value counts.
	Valid func(V) bool

	// Until gives a time by which a value must be loaded anew whatever its TTL;
	// the zero time: none. nil: no value has one.
	Until func(V) time.Time
}

// Load reads one value from the source. It runs once for any number of
// simultaneous misses of one key, with a context that ends with none of their
// callers' but after LoadTimeout.
type Load[V any] func(ctx context.Context) (V, error)

// State says what memory has of a key.
type State int

// What Peek can find.
const (
	Absent  State = iota // nothing that counts
	Expired              // past its TTL or changed, and not to be served: to be loaded anew
	Stale                // past its TTL: to be loaded anew, served if that fails
	Due                  // fresh, and old enough for Refresh
	Fresh
)

// refreshAhead is the part of an entry's life after which a read loads it anew
// in the background, so that keys in use never wait for a load.
const refreshAhead = 0.8

// retryAfterFailure is how long an entry is served without asking a failing
// source again: one that hangs would otherwise make every request wait for its
// time-out.
const retryAfterFailure = time.Second

// Aside is a cache-aside over one bounded cache. Its methods may be called
// from any goroutine.
type Aside[K comparable, V any] struct {
	opts     Options[V]
	entries  *otter.Cache[K, *entry[V]]
	negative *otter.Cache[K, negative]

	mu      sync.Mutex
	flights map[K]*flight[V] // loads under way
	epoch   uint64           // raised by Invalidate; a flight of an earlier one is joined no more
	closed  bool
	loads   sync.WaitGroup
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
}

type entry[V any] struct {
	value     V
	refreshAt time.Time
	expiresAt time.Time
	retryAt   atomic.Pointer[time.Time] // set by a failed load: ask the source again from then on
}

func (e *entry[V]) mayRetry(now time.Time) bool {
	retryAt := e.retryAt.Load()
	return retryAt == nil || !now.Before(*retryAt)
}

type negative struct {
	err       error
	expiresAt time.Time
}

// flight is one load under way and, once done is closed, its result.
type flight[V any] struct {
	epoch uint64 // in which it began
	done  chan struct{}
	value V
	err   error
}

// NewAside returns an empty cache. Close it when its owner ends.
func NewAside[K comparable, V any](opts Options[V]) (*Aside[K, V], error) {
	entries, err := otter.New(&otter.Options[K, *entry[V]]{MaximumSize: opts.Size})
	if err != nil {
		return nil, fmt.Errorf("cache of %d entries: %w", opts.Size, err)
	}
	absent, err := otter.New(&otter.Options[K, negative]{MaximumSize: max(1, opts.NegativeSize)})
	if err != nil {
		return nil, fmt.Errorf("negative cache of %d entries: %w", opts.NegativeSize, err)
	}
	ctx, cancel := context.WithCancel(context.Background()) //nolint:gosec // Close calls it
	return &Aside[K, V]{
		opts: opts, entries: entries, negative: absent,
		flights: map[K]*flight[V]{}, ctx: ctx, cancel: cancel,
	}, nil
}

// Peek returns what memory has of key at now. It loads nothing. A value that is
// Expired may be known, but not served.
func (a *Aside[K, V]) Peek(key K, now time.Time) (V, State) {
	if e, found := a.entries.GetIfPresent(key); found {
		if state := a.state(e, now); state != Absent {
			return e.value, state
		}
	}
	var none V
	return none, Absent
}

// Refresh loads key anew in the background, unless that is under way.
func (a *Aside[K, V]) Refresh(key K, now time.Time, load Load[V]) { a.start(key, now, load) }

// Get returns the value of key at now, from memory while it is fresh and else
// by load. Errors: those of load; ctx's, when it ends first, which leaves the
// load running for the others.
func (a *Aside[K, V]) Get(ctx context.Context, key K, now time.Time, load Load[V]) (V, error) {
	var none V
	state := Absent
	e, found := a.entries.GetIfPresent(key)
	if found {
		state = a.state(e, now)
	}
	if state == Fresh || state == Due || state == Stale && !e.mayRetry(now) {
		return e.value, nil
	}
	if n, absent := a.negative.GetIfPresent(key); absent && now.Before(n.expiresAt) {
		return none, n.err
	}
	f := a.start(key, now, load)
	select {
	case <-f.done:
	case <-ctx.Done():
		return none, ctx.Err()
	}
	if f.err != nil && state == Stale && !a.isNegative(f.err) && a.isValid(e.value) {
		return e.value, nil
	}
	return f.value, f.err
}

func (a *Aside[K, V]) state(e *entry[V], now time.Time) State {
	switch {
	case !a.isValid(e.value):
		return Expired
	case now.Before(e.refreshAt):
		return Fresh
	case now.Before(e.expiresAt):
		if e.mayRetry(now) {
			return Due
		}
		return Fresh
	case !now.Before(e.expiresAt.Add(a.opts.Stale)):
		return Absent
	case a.opts.ServeStale != nil && !a.opts.ServeStale(e.value):
		return Expired
	default:
		return Stale
	}
}

// start returns the load of key that is under way, and begins one if there is
// none. One that has ended since the caller looked is as good.
func (a *Aside[K, V]) start(key K, now time.Time, load Load[V]) *flight[V] {
	a.mu.Lock()
	defer a.mu.Unlock()
	if f, underWay := a.flights[key]; underWay && f.epoch == a.epoch {
		return f
	}
	f := &flight[V]{epoch: a.epoch, done: make(chan struct{})}
	if a.answer(f, key, now) {
		close(f.done)
		return f
	}
	a.flights[key] = f
	a.loads.Go(func() { a.run(key, load, f) })
	return f
}

// answer fills f without a load, if none is needed or possible. a.mu is held.
func (a *Aside[K, V]) answer(f *flight[V], key K, now time.Time) bool {
	if a.closed {
		f.err = context.Canceled
		return true
	}
	if e, found := a.entries.GetIfPresent(key); found && a.state(e, now) == Fresh {
		f.value = e.value
		return true
	}
	n, absent := a.negative.GetIfPresent(key)
	if absent = absent && now.Before(n.expiresAt); absent {
		f.err = n.err
	}
	return absent
}

// run runs one load, remembers its result and wakes the waiters.
func (a *Aside[K, V]) run(key K, load Load[V], f *flight[V]) {
	ctx, cancel := context.WithTimeout(a.ctx, a.opts.LoadTimeout)
	defer cancel()
	f.value, f.err = safely(ctx, load)
	a.mu.Lock()
	if a.flights[key] == f {
		delete(a.flights, key)
	}
	// Under the lock, so that Invalidate comes before or after all of it.
	a.remember(key, f, time.Now())
	a.mu.Unlock()
	close(f.done)
}

// remember keeps the result of a load. What began before an invalidation may
// have read what was invalid: that there was nothing is then not remembered,
// and a value only if it is valid itself. a.mu is held.
func (a *Aside[K, V]) remember(key K, f *flight[V], now time.Time) {
	switch {
	case f.err == nil:
		if a.isValid(f.value) {
			a.entries.Set(key, a.newEntry(f.value, now))
			a.negative.Invalidate(key)
		}
	case a.isNegative(f.err):
		if f.epoch == a.epoch {
			a.entries.Invalidate(key)
			a.negative.Set(key, negative{err: f.err, expiresAt: now.Add(a.opts.NegativeTTL)})
		}
	default:
		if e, found := a.entries.GetIfPresent(key); found {
			retryAt := now.Add(retryAfterFailure)
			e.retryAt.Store(&retryAt)
		}
	}
}

// Invalidate is to be called when values have changed at the source, after
// making Options.Valid refuse their old ones. From then on no read is answered
// by a load that began before, and everything that wasn't there is asked for
// again.
func (a *Aside[K, V]) Invalidate() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.epoch++
	a.negative.InvalidateAll()
}

// safely turns a panic of load into an error: the waiters must wake.
func safely[V any](ctx context.Context, load Load[V]) (value V, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("load panicked: %v", p)
		}
	}()
	return load(ctx)
}

func (a *Aside[K, V]) newEntry(value V, now time.Time) *entry[V] {
	life := time.Duration(float64(a.opts.TTL) * (0.9 + 0.1*rand.Float64()))
	e := &entry[V]{value: value, expiresAt: now.Add(life)}
	if a.opts.Until != nil {
		if until := a.opts.Until(value); !until.IsZero() && until.Before(e.expiresAt) {
			e.expiresAt = until
		}
	}
	e.refreshAt = now.Add(time.Duration(refreshAhead * float64(e.expiresAt.Sub(now))))
	return e
}

func (a *Aside[K, V]) isValid(value V) bool { return a.opts.Valid == nil || a.opts.Valid(value) }

func (a *Aside[K, V]) isNegative(err error) bool {
	return a.opts.Negative != nil && a.opts.Negative(err)
}

// Close ends the loads under way and waits for them. Get keeps answering from
// memory, and fails with context.Canceled where it would have to load.
func (a *Aside[K, V]) Close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.cancel()
	a.loads.Wait()
	a.entries.StopAllGoroutines()
	a.negative.StopAllGoroutines()
}
