package cache

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
)

// Through is write-through: a write goes to the source and, when that has
// succeeded, into the cache before Write returns. On this instance no read that
// begins after a write has returned sees what was there before it.
//
// It buys that with the writer's time: a write is as slow as the source, and
// fails when the source does. A crash loses nothing, for nothing is answered
// before the source has it. Writes by others (another instance, a person with
// psql) don't pass through it, so an entry can be as old as its TTL. It suits
// what is written seldom and read at once by whoever wrote it.
//
// Its methods may be called from any goroutine.
type Through[K comparable, V any] struct {
	opts    ThroughOptions
	entries *otter.Cache[K, throughEntry[V]]
	seed    maphash.Seed
	stripes [throughStripes]stripe[K, V]
	loads   sync.WaitGroup
}

// ThroughOptions say how a Through behaves. All are required.
type ThroughOptions struct {
	Size        int           // most entries kept
	TTL         time.Duration // the oldest that a value can be where others write too
	LoadTimeout time.Duration // how long one load may take
}

// throughStripes is how many keys can be written at once without minding each
// other: two that fall into one stripe cost a load, and are right all the same.
const throughStripes = 64

type throughEntry[V any] struct {
	value     V
	expiresAt time.Time
}

// stripe is what the keys of one hash have in common.
type stripe[K comparable, V any] struct {
	mu         sync.Mutex
	generation uint64 // raised when a write begins and when it ends
	writing    int    // writes under way
	flights    map[K]*throughFlight[V]
}

// throughFlight is one load under way and, once done is closed, its result.
type throughFlight[V any] struct {
	generation uint64 // in which it began
	done       chan struct{}
	value      V
	err        error
}

// NewThrough returns an empty cache. Close it when its owner ends.
func NewThrough[K comparable, V any](opts ThroughOptions) (*Through[K, V], error) {
	entries, err := otter.New(&otter.Options[K, throughEntry[V]]{MaximumSize: opts.Size})
	if err != nil {
		return nil, fmt.Errorf("cache of %d entries: %w", opts.Size, err)
	}
	t := &Through[K, V]{opts: opts, entries: entries, seed: maphash.MakeSeed()}
	for i := range t.stripes {
		t.stripes[i].flights = map[K]*throughFlight[V]{}
	}
	return t, nil
}

// Get returns the value of key, from memory or by load, which runs once for any
// number of simultaneous misses. A load that began before a write is neither
// remembered nor shared with reads that begin after it. Errors: those of load;
// ctx's, when it ends first, which leaves the load running for the others.
func (t *Through[K, V]) Get(ctx context.Context, key K, load Load[V]) (V, error) {
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

// start returns the load of key that is under way and still counts, and begins
// one if there is none.
func (t *Through[K, V]) start(ctx context.Context, key K, load Load[V]) *throughFlight[V] {
	s := t.stripe(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, underWay := s.flights[key]; underWay && f.generation == s.generation {
		return f
	}
	f := &throughFlight[V]{generation: s.generation, done: make(chan struct{})}
	s.flights[key] = f
	// It ends by its own time-out, not with the first of its callers.
	t.loads.Go(func() { t.run(context.WithoutCancel(ctx), s, key, load, f) })
	return f
}

func (t *Through[K, V]) run(ctx context.Context, s *stripe[K, V], key K, load Load[V], f *throughFlight[V]) {
	ctx, cancel := context.WithTimeout(ctx, t.opts.LoadTimeout)
	defer cancel()
	f.value, f.err = safely(ctx, load)
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

// Write changes the source by write, which returns the value that key has from
// then on, and remembers that. While it runs, reads of key go to the source.
// When write fails, or another write ran beside it and nobody knows which came
// last, key is forgotten and the next read loads it. The error is write's.
func (t *Through[K, V]) Write(ctx context.Context, key K, write func(context.Context) (V, error)) (V, error) {
	var value V
	err := t.change(key, func() (remember bool, err error) {
		value, err = write(ctx)
		return err == nil, err
	}, func() { t.set(key, value) })
	return value, err
}

// Delete is Write for a change after which key has no value.
func (t *Through[K, V]) Delete(ctx context.Context, key K, write func(context.Context) error) error {
	return t.change(key, func() (bool, error) { return false, write(ctx) }, nil)
}

// change runs one write between two generations, so that no load which saw
// what was before is remembered; remember runs when it was alone and says so.
func (t *Through[K, V]) change(key K, write func() (bool, error), remember func()) error {
	s := t.stripe(key)
	s.mu.Lock()
	s.writing++
	s.generation++
	began := s.generation
	t.entries.Invalidate(key)
	s.mu.Unlock()

	ok := false
	defer func() { // also when write panics
		s.mu.Lock()
		defer s.mu.Unlock()
		s.writing--
		alone := s.writing == 0 && s.generation == began
		s.generation++
		t.entries.Invalidate(key)
		if ok && alone {
			remember()
		}
	}()
	done, err := write()
	ok = done
	return err
}

func (t *Through[K, V]) set(key K, value V) {
	t.entries.Set(key, throughEntry[V]{value: value, expiresAt: time.Now().Add(t.opts.TTL)})
}

func (t *Through[K, V]) stripe(key K) *stripe[K, V] {
	return &t.stripes[maphash.Comparable(t.seed, key)%throughStripes]
}

// Close waits for the loads under way, each of which ends within LoadTimeout.
// It comes after the last Get.
func (t *Through[K, V]) Close() {
	t.loads.Wait()
	t.entries.StopAllGoroutines()
}
