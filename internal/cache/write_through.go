package cache

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
)

// WriteThrough is a write-through cache: a write changes the source and then the
// cache before it returns. A read that begins after a write has returned sees
// that write or a newer one.
//
// A write takes as long as the source and fails if the source does. A crash
// loses no acknowledged write. Writes by other processes don't change the cache,
// so an entry can be out of date for its TTL. WriteThrough suits data that is
// written rarely and read by its writers immediately.
//
// WriteThrough is safe for concurrent use.
type WriteThrough[K comparable, V any] struct {
	opts    WriteThroughOptions
	entries *otter.Cache[K, writeThroughEntry[V]]
	seed    maphash.Seed
	stripes [writeStripes]stripe[K, V]
	loads   sync.WaitGroup
}

// WriteThroughOptions configures a WriteThrough. All fields are required.
type WriteThroughOptions struct {
	Size        int           // maximum number of entries
	TTL         time.Duration // maximum age of an entry
	LoadTimeout time.Duration // of one load
}

// writeStripes is the number of stripes that detect concurrent writes. Keys of
// one stripe that are written concurrently cost additional loads but stay
// correct.
const writeStripes = 64

type writeThroughEntry[V any] struct {
	value     V
	expiresAt time.Time
}

// stripe is the state of all keys with the same hash.
type stripe[K comparable, V any] struct {
	mu         sync.Mutex
	generation uint64 // incremented when a write begins and when it ends
	writing    int    // running writes
	flights    map[K]*stripeFlight[V]
}

// stripeFlight is one load. Its result is valid after done is closed.
type stripeFlight[V any] struct {
	generation uint64 // of the stripe at its start
	done       chan struct{}
	value      V
	err        error
}

// NewWriteThrough returns an empty cache. The caller must Close it.
func NewWriteThrough[K comparable, V any](opts WriteThroughOptions) (*WriteThrough[K, V], error) {
	entries, err := otter.New(&otter.Options[K, writeThroughEntry[V]]{MaximumSize: opts.Size})
	if err != nil {
		return nil, fmt.Errorf("cache of %d entries: %w", opts.Size, err)
	}
	t := &WriteThrough[K, V]{opts: opts, entries: entries, seed: maphash.MakeSeed()}
	for i := range t.stripes {
		t.stripes[i].flights = map[K]*stripeFlight[V]{}
	}
	return t, nil
}

// Get returns the value of key, cached or by load. Concurrent misses of a key
// share one load. A load that began before a write is not cached and not shared
// with reads that begin after the write. Get returns the error of load, or ctx's
// if ctx is done first. In the latter case the load continues for other callers.
func (t *WriteThrough[K, V]) Get(ctx context.Context, key K, load Load[V]) (V, error) {
	if e, found := t.entries.GetIfPresent(key); found && time.Now().Before(e.expiresAt) {
		return e.value, nil
	}
	f := t.start(ctx, key, load)
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		var none V
		return none, ctx.Err()
	}
}

// start returns the running load of key if it began in the current generation,
// and otherwise begins one.
func (t *WriteThrough[K, V]) start(ctx context.Context, key K, load Load[V]) *stripeFlight[V] {
	s := t.stripe(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, running := s.flights[key]; running && f.generation == s.generation {
		return f
	}
	f := &stripeFlight[V]{generation: s.generation, done: make(chan struct{})}
	s.flights[key] = f
	// A load ends after its own timeout, not with its first caller.
	t.loads.Go(func() { t.run(context.WithoutCancel(ctx), s, key, load, f) })
	return f
}

func (t *WriteThrough[K, V]) run(ctx context.Context, s *stripe[K, V], key K, load Load[V], f *stripeFlight[V]) {
	ctx, cancel := context.WithTimeout(ctx, t.opts.LoadTimeout)
	defer cancel()
	f.value, f.err = withRecover(ctx, load)
	s.mu.Lock()
	if s.flights[key] == f {
		delete(s.flights, key)
	}
	if f.err == nil && s.writing == 0 && f.generation == s.generation {
		t.set(key, f.value)
	}
	s.mu.Unlock()
	close(f.done)
}

// Write changes the source by calling write, which returns the new value of key,
// and caches that value. While write runs, reads of key go to the source. If
// write fails, or if another write ran concurrently so that their order is
// unknown, key is removed and the next read loads it. Write returns the error of
// write.
func (t *WriteThrough[K, V]) Write(ctx context.Context, key K, write func(context.Context) (V, error)) (V, error) {
	var value V
	err := t.change(key, func() (cacheable bool, err error) {
		value, err = write(ctx)
		return err == nil, err
	}, func() { t.set(key, value) })
	return value, err
}

// Delete is like Write for a change after which key has no value.
func (t *WriteThrough[K, V]) Delete(ctx context.Context, key K, write func(context.Context) error) error {
	return t.change(key, func() (bool, error) { return false, write(ctx) }, nil)
}

// change runs write between two increments of the generation, so that no load
// that overlaps it is cached. It calls store if write returns true and no other
// write of the stripe overlapped it.
func (t *WriteThrough[K, V]) change(key K, write func() (bool, error), store func()) error {
	s := t.stripe(key)
	s.mu.Lock()
	s.writing++
	s.generation++
	began := s.generation
	t.entries.Invalidate(key)
	s.mu.Unlock()

	ok := false
	defer func() { // also if write panics
		s.mu.Lock()
		defer s.mu.Unlock()
		s.writing--
		alone := s.writing == 0 && s.generation == began
		s.generation++
		t.entries.Invalidate(key)
		if ok && alone {
			store()
		}
	}()
	done, err := write()
	ok = done
	return err
}

func (t *WriteThrough[K, V]) set(key K, value V) {
	t.entries.Set(key, writeThroughEntry[V]{value: value, expiresAt: time.Now().Add(t.opts.TTL)})
}

func (t *WriteThrough[K, V]) stripe(key K) *stripe[K, V] {
	return &t.stripes[maphash.Comparable(t.seed, key)%writeStripes]
}

// Close waits for running loads, which end within LoadTimeout. It must not be
// called before the last Get has returned.
func (t *WriteThrough[K, V]) Close() {
	t.loads.Wait()
	t.entries.StopAllGoroutines()
}
