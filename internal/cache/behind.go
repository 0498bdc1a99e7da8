package cache

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// Behind is write-behind: writes are coalesced in memory, entry by entry, and
// go to the source later, in batches.
//
// A write costs a map look-up, whatever the source is doing, and a thousand
// writes of one entry cost the source one. What it buys that with is safety: a
// write is answered before the source has it. An orderly end drains; a crash
// loses what was not flushed yet, which is at most what came in one Interval
// and in the flush that was under way, or, while the source fails, all that is
// kept (Size and Backlog). It suits counters, and nothing that must not be
// lost.
//
// Every batch has an id that stays the same when it is tried again: a source
// that remembers the ids counts a batch once, also when the answer to its first
// try was lost on the way.
//
// Its methods may be called from any goroutine.
type Behind[K comparable, V any] struct {
	opts   BehindOptions[K, V]
	seed   maphash.Seed
	shards [behindShards]behindShard[K, V]
	count  atomic.Int64 // entries in the shards

	ask    chan chan error // a flush now, please
	full   chan struct{}   // the shards fill up: don't wait for the interval
	ctx    context.Context // ends when Close has waited long enough
	cancel context.CancelFunc
	stop   chan struct{}
	once   sync.Once
	done   chan struct{} // the flusher has ended

	queue  []Batch[K, V] // of the flusher alone; oldest first
	queued int           // entries in it
	tries  int           // of the oldest
}

// BehindOptions say how a Behind behaves. Those without a default are required.
type BehindOptions[K comparable, V any] struct {
	Size      int           // most entries coalesced at once; beyond, Update refuses
	Backlog   int           // most entries that wait for a failing source; beyond, the oldest batch is lost
	BatchSize int           // most entries a flush
	Interval  time.Duration // between flushes
	Timeout   time.Duration // of one flush

	// Hash spreads keys over the shards; nil: any key that compares.
	Hash func(K) uint64

	// Flush brings a batch to the source, or returns an error: then the same
	// batch is tried again after Interval, before all that came later. It must
	// not keep the batch.
	Flush func(context.Context, Batch[K, V]) error

	// Permanent tells which errors of Flush may be the batch's own fault: such
	// a batch is lost after maxTries, so that it doesn't hold up the others for
	// good. nil: none.
	Permanent func(error) bool

	// Lost is told of a batch that is given up, and why. nil: nobody is.
	Lost func(Batch[K, V], error)
}

// Batch is what is flushed at once.
type Batch[K comparable, V any] struct {
	ID      [16]byte // a UUID (RFC 9562): the same whenever the batch is tried
	At      time.Time
	Entries []Entry[K, V]
}

// Entry is one coalesced write.
type Entry[K comparable, V any] struct {
	Key   K
	Value V
}

// behindShards is enough that two cores rarely meet in one.
const behindShards = 64

// maxTries is how often a batch is tried whose error may be its own fault.
const maxTries = 10

// What Lost is told.
var (
	errBacklog = errors.New("the source has failed for too long: the backlog is full")
	errClosed  = errors.New("closed before the source took it")
)

type behindShard[K comparable, V any] struct {
	mu      sync.Mutex
	index   map[K]int32 // into entries
	entries []Entry[K, V]
	closed  bool
	_       [64]byte // neighbours don't share a cache line
}

// NewBehind returns a running Behind. Close it when its owner ends.
func NewBehind[K comparable, V any](opts BehindOptions[K, V]) *Behind[K, V] {
	ctx, cancel := context.WithCancel(context.Background()) //nolint:gosec // Close calls it
	b := &Behind[K, V]{
		opts: opts, seed: maphash.MakeSeed(), ctx: ctx, cancel: cancel,
		ask: make(chan chan error), full: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	if opts.Hash == nil {
		b.opts.Hash = func(key K) uint64 { return maphash.Comparable(b.seed, key) }
	}
	for i := range b.shards {
		b.shards[i].index = map[K]int32{}
	}
	go b.run()
	return b
}

// Update changes the entry of key that waits for the next flush, a zero one if
// there is none. It reports false, and change isn't called, when there is no
// room for another entry or the Behind is closed. change runs under a lock: it
// must be quick, and not keep the pointer.
func (b *Behind[K, V]) Update(key K, change func(*V)) bool {
	s := &b.shards[b.opts.Hash(key)%behindShards]
	s.mu.Lock()
	at, found := s.index[key]
	if !found {
		if s.closed || !b.room() {
			s.mu.Unlock()
			return false
		}
		at = int32(len(s.entries))
		s.index[key] = at
		s.entries = append(s.entries, Entry[K, V]{Key: key})
	}
	change(&s.entries[at].Value)
	s.mu.Unlock()
	return true
}

// room takes a place for one more entry, and has the flusher come early when
// half of them are taken.
func (b *Behind[K, V]) room() bool {
	n := b.count.Add(1)
	if n > int64(b.opts.Size) {
		b.count.Add(-1)
		return false
	}
	if n > int64(b.opts.Size/2) {
		select {
		case b.full <- struct{}{}:
		default:
		}
	}
	return true
}

// Flush brings all updates that have returned to the source, now. The error is
// that of the source; what it refused waits for the next flush as ever.
func (b *Behind[K, V]) Flush(ctx context.Context) error {
	answer := make(chan error, 1)
	select {
	case b.ask <- answer:
	case <-b.done:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close takes no more updates, flushes what there is, trying again until ctx
// ends, and waits for the flusher. The error tells what was lost, if anything.
func (b *Behind[K, V]) Close(ctx context.Context) error {
	b.once.Do(func() { close(b.stop) })
	unhook := context.AfterFunc(ctx, b.cancel)
	defer unhook()
	<-b.done
	b.cancel()
	if b.queued > 0 {
		return fmt.Errorf("%d entries were lost: %w", b.queued, errClosed)
	}
	return nil
}

// run is the flusher: one goroutine from NewBehind to Close.
func (b *Behind[K, V]) run() {
	defer close(b.done)
	tick := time.NewTicker(b.opts.Interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = b.round(false) // tried again at the next tick
		case <-b.full:
			if len(b.queue) == 0 {
				_ = b.round(false)
			} else { // the source fails: that is for the ticks
				b.collect(false)
			}
		case answer := <-b.ask:
			answer <- b.round(true)
		case <-b.stop:
			b.drain(tick.C)
			return
		}
	}
}

// drain flushes to the end, or until Close has waited long enough.
func (b *Behind[K, V]) drain(tick <-chan time.Time) {
	b.collect(true)
	for b.flush() != nil {
		select {
		case <-tick:
		case <-b.ctx.Done():
			for _, batch := range b.queue {
				b.lose(batch, errClosed)
			}
			return
		}
	}
}

// round flushes what waits, and then what has come since. While the source
// fails, entries are left to coalesce until they fill half of the room.
func (b *Behind[K, V]) round(all bool) error {
	err := b.flush()
	if err == nil || all || b.count.Load() > int64(b.opts.Size/2) {
		b.collect(false)
	}
	if err != nil {
		return err
	}
	return b.flush()
}

// flush brings the queue to the source, oldest first, until one fails.
func (b *Behind[K, V]) flush() error {
	for len(b.queue) > 0 {
		batch := b.queue[0]
		if err := b.try(batch); err != nil {
			b.tries++
			if b.tries < maxTries || b.opts.Permanent == nil || !b.opts.Permanent(err) {
				return err
			}
			b.lose(batch, err)
		}
		b.pop()
	}
	return nil
}

func (b *Behind[K, V]) try(batch Batch[K, V]) error {
	ctx, cancel := context.WithTimeout(b.ctx, b.opts.Timeout)
	defer cancel()
	_, err := safely(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, b.opts.Flush(ctx, batch) })
	return err
}

// pop takes the oldest batch out of the queue.
func (b *Behind[K, V]) pop() {
	b.queued -= len(b.queue[0].Entries)
	b.queue[0] = Batch[K, V]{}
	b.queue = b.queue[1:]
	b.tries = 0
}

func (b *Behind[K, V]) lose(batch Batch[K, V], err error) {
	if b.opts.Lost != nil {
		b.opts.Lost(batch, err)
	}
}
