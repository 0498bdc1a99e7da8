// Package cache provides bounded in-memory caches: cache-aside, write-through and
// write-behind.
package cache

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
)

// Options configures an Aside. Size, LoadTimeout and TTL are required.
type Options[V any] struct {
	Size        int           // maximum number of entries; with Weigh, their maximum total weight
	LoadTimeout time.Duration // of one load
	TTL         time.Duration // each entry gets 90 to 100 % of it, so that entries loaded together don't expire together

	// AsOf returns a time at which the source had every cached value that Valid
	// accepts, such as the last read of a log of changes. An entry's TTL begins
	// then, or at its load if that is later. It is called on every read and must be
	// fast. nil: the TTL begins at the load.
	AsOf func() time.Time

	// MaxAge bounds AsOf, in case that the log lacks a change: an entry's TTL
	// begins at the latest when it is 50 to 100 % of MaxAge old. Required with AsOf.
	MaxAge time.Duration

	// Stale is the time after its TTL for which an entry is served at once and
	// loaded behind, so that no caller waits for a source that hangs. An error
	// that is Negative removes it. ServeStale excludes values from that; nil:
	// none.
	Stale      time.Duration
	ServeStale func(V) bool

	// Negative reports whether an error of a load means that the value doesn't
	// exist. Such errors are cached for NegativeTTL. They have a cache of their
	// own of NegativeSize entries, so that unknown keys can't evict existing
	// ones. nil: none.
	Negative     func(error) bool
	NegativeSize int
	NegativeTTL  time.Duration

	// Valid reports whether a cached value is still valid. Invalid values are
	// never served, not even stale. Valid is called on every read and must be
	// fast. nil: all values are valid.
	Valid func(V) bool

	// Weigh returns the weight of a value. nil: every value weighs 1.
	Weigh func(V) uint32

	// Reserved returns how much of Size what values share takes. It is called
	// after each load. nil: none.
	Reserved func() int

	// OnDrop is called once with each loaded value that the cache doesn't hold,
	// or no longer, under locks of the cache. nil: none.
	OnDrop func(V)

	// Until returns a time at which a value expires regardless of its TTL, or
	// the zero time. From then on it is served stale only after a load has
	// failed since. nil: no value has one.
	Until func(V) time.Time
}

// Load reads one value from the source. Concurrent misses of a key share one
// call. Its context isn't canceled with a caller's but ends after LoadTimeout.
type Load[V any] func(ctx context.Context) (V, error)

// retryAfterFailure is the time for which an entry is served after a failed load
// without another attempt.
const retryAfterFailure = time.Second

// maxRefreshes is how many loads run at once that no caller waits for: half of
// the database's connections, so that a source that hangs or is slow has room
// for the loads that callers do wait for. 100,000 keys in use refresh 2,000
// times a second without Options.AsOf, which takes two at once if a load takes 1 ms.
const maxRefreshes = 8

// Aside is a cache-aside: reads load missing values from the source. Writers
// change the source without the cache, so an entry can be out of date for its
// TTL, or for Stale longer while the source fails. With Options.AsOf it is out of
// date for no longer than the time since then. Aside is safe for concurrent use.
type Aside[K comparable, V any] struct {
	opts     Options[V]
	entries  *otter.Cache[K, *entry[V]]
	negative *otter.Cache[K, negative]

	mu        sync.Mutex
	flights   map[K]*flight[V] // running loads
	refreshes int              // those that Refresh began
	epoch     uint64           // number of Invalidate calls
	reserved  int              // result of the last Options.Reserved
	closed    bool
	loads     sync.WaitGroup
	stats     asideStats
	ctx       context.Context // canceled by Close
	cancel    context.CancelFunc
}

type negative struct {
	err       error
	expiresAt time.Time
}

// NewAside returns an empty cache. The caller must Close it.
func NewAside[K comparable, V any](opts Options[V]) (*Aside[K, V], error) {
	bounds := &otter.Options[K, *entry[V]]{MaximumSize: opts.Size}
	if opts.Weigh != nil {
		bounds.MaximumSize, bounds.MaximumWeight = 0, uint64(opts.Size)
		bounds.Weigher = func(_ K, e *entry[V]) uint32 { return opts.Weigh(e.value) }
	}
	if opts.OnDrop != nil {
		bounds.OnAtomicDeletion = func(d otter.DeletionEvent[K, *entry[V]]) { opts.OnDrop(d.Value.value) }
	}
	entries, err := otter.New(bounds)
	if err != nil {
		return nil, fmt.Errorf("cache of size %d: %w", opts.Size, err)
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

// Peek returns the cached value of key and its state at now. It loads nothing.
// An Expired value is returned but must not be served.
func (a *Aside[K, V]) Peek(key K, now time.Time) (V, State) {
	value, state := a.peek(key, now)
	switch state {
	case Fresh, Due:
		a.stats.hits.Add(1)
	case Stale:
		a.stats.stale.Add(1)
	case Absent, Expired:
	}
	return value, state
}

// peek is Peek without counting.
func (a *Aside[K, V]) peek(key K, now time.Time) (V, State) {
	if e, found := a.read(key); found {
		if state := a.state(e, now); state != Absent {
			return e.value, state
		}
	}
	var none V
	return none, Absent
}

// read returns an entry. One read in 16 is reported to the eviction policy, at random,
// because a report takes longer than the rest of a read: it moves the entry in its lists.
func (a *Aside[K, V]) read(key K) (*entry[V], bool) {
	if rand.Uint32()%16 == 0 {
		return a.entries.GetIfPresent(key)
	}
	e, found := a.entries.GetEntryQuietly(key)
	return e.Value, found
}

// Refresh loads key in the background, unless a load of key is running, its last
// one has just failed, or maxRefreshes are running: a later read tries again.
func (a *Aside[K, V]) Refresh(key K, now time.Time, load Load[V]) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e, found := a.entries.GetIfPresent(key)
	if a.flights[key] != nil || found && !e.mayRetry(now) || a.refreshes >= maxRefreshes {
		return
	}
	if f := a.startLocked(key, now, load); f.running {
		f.refresh = true
		a.refreshes++
	}
}

// Get returns the value of key at now, cached or by load. A stale value is
// returned at once and refreshed in the background. Get returns the error of
// load, or ctx's if ctx is done first. In the latter case the load continues for
// other callers.
func (a *Aside[K, V]) Get(ctx context.Context, key K, now time.Time, load Load[V]) (V, error) {
	var none V
	value, state := a.Peek(key, now)
	switch state {
	case Stale:
		a.Refresh(key, now, load)
		return value, nil
	case Fresh, Due:
		return value, nil
	case Absent, Expired:
	}
	if n, absent := a.negative.GetIfPresent(key); absent && now.Before(n.expiresAt) {
		a.stats.negative.Add(1)
		return none, n.err
	}
	a.stats.misses.Add(1)
	f := a.start(key, now, load)
	select {
	case <-f.done:
	case <-ctx.Done():
		return none, ctx.Err()
	}
	if f.err != nil {
		if value, state := a.peek(key, now); state == Stale {
			a.stats.stale.Add(1)
			return value, nil
		}
	}
	return f.value, f.err
}

// Len returns the number of cached values, after evicting what exceeds
// Options.Size.
func (a *Aside[K, V]) Len() int {
	a.entries.CleanUp()
	return a.entries.EstimatedSize()
}

// Invalidate must be called after values have changed at the source and
// Options.Valid rejects their old versions. Reads that begin after it don't use
// loads that began before it. All negative entries are removed.
func (a *Aside[K, V]) Invalidate() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.epoch++
	a.negative.InvalidateAll()
}

func (a *Aside[K, V]) isNegative(err error) bool {
	return a.opts.Negative != nil && a.opts.Negative(err)
}

// Close cancels running loads and waits for them. Get still returns cached
// values; where it would have to load, it returns context.Canceled.
func (a *Aside[K, V]) Close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.cancel()
	a.loads.Wait()
	a.entries.StopAllGoroutines()
	a.negative.StopAllGoroutines()
}
