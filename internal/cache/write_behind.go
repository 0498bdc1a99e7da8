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

// WriteBehind is a write-behind buffer: it coalesces writes per key in memory and
// flushes them to the source in batches.
//
// A write costs a map lookup, even while the source fails, and any number of
// writes of one key costs the source one. Writes are acknowledged before they
// are durable: Close flushes all entries, but a crash loses the writes since the
// last completed flush. While the source fails, up to Size and Backlog entries
// are at risk. WriteBehind suits counters and other data that may be lost.
//
// Every batch keeps its ID when it is retried. A source that stores the IDs
// applies a batch once, also if the response to an earlier attempt was lost.
//
// WriteBehind is safe for concurrent use.
type WriteBehind[K comparable, V any] struct {
	opts   WriteBehindOptions[K, V]
	seed   maphash.Seed
	shards [writeShards]writeShard[K, V]
	count  atomic.Int64 // entries in the shards
	queued atomic.Int64 // entries in queue

	flushNow chan chan error // requests of Flush
	halfFull chan struct{}   // asks for a flush before the interval has passed
	ctx      context.Context // canceled when Close gives up
	cancel   context.CancelFunc
	stop     chan struct{}
	once     sync.Once
	done     chan struct{} // closed when run returns

	// The fields below belong to run.
	queue    []Batch[K, V] // oldest first
	attempts int           // failed attempts of the oldest batch
}

// WriteBehindOptions configures a WriteBehind. Fields without a default are
// required.
type WriteBehindOptions[K comparable, V any] struct {
	Size      int           // maximum number of coalesced entries; Update rejects more
	Backlog   int           // maximum number of entries in batches; the oldest batch above it is dropped
	BatchSize int           // maximum number of entries per batch
	Interval  time.Duration // between flushes, at multiples of it by the wall clock, so that the counts of a second are one entry
	Timeout   time.Duration // of one flush

	// Hash distributes keys over shards. Default: maphash.Comparable.
	Hash func(K) uint64

	// Flush writes a batch to the source. If it returns an error, the batch is
	// retried after Interval and before later batches. Flush must not retain
	// the batch.
	Flush func(context.Context, Batch[K, V]) error

	// Permanent reports whether an error of Flush may be caused by the batch
	// itself. Such a batch is dropped after maxAttempts, so that it doesn't block
	// later batches forever. Default: never.
	Permanent func(error) bool

	// OnDrop is called for every dropped batch with the reason. Default: none.
	OnDrop func(Batch[K, V], error)
}

// Batch is a set of entries that are flushed together.
type Batch[K comparable, V any] struct {
	ID      [16]byte  // UUID (RFC 9562), the same in every attempt
	At      time.Time // when the entries left the shards
	Entries []Entry[K, V]
}

// Entry is the coalesced writes of one key.
type Entry[K comparable, V any] struct {
	Key   K
	Value V
}

// writeShards is the number of shards. With 64, cores rarely contend for one.
const writeShards = 64

// maxAttempts is the number of attempts to flush a batch whose errors are
// permanent.
const maxAttempts = 10

// Reasons for dropping a batch.
var (
	errBacklog = errors.New("backlog is full")
	errClosed  = errors.New("closed before they were flushed")
)

type writeShard[K comparable, V any] struct {
	mu      sync.Mutex
	index   map[K]int32 // into entries
	entries []Entry[K, V]
	closed  bool
	_       [64]byte // prevents false sharing with the next shard
}

// NewWriteBehind returns a WriteBehind that buffers writes. Start begins to flush
// them.
func NewWriteBehind[K comparable, V any](opts WriteBehindOptions[K, V]) *WriteBehind[K, V] {
	ctx, cancel := context.WithCancel(context.Background()) //nolint:gosec // Close calls it
	b := &WriteBehind[K, V]{
		opts: opts, seed: maphash.MakeSeed(), ctx: ctx, cancel: cancel,
		flushNow: make(chan chan error), halfFull: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	if opts.Hash == nil {
		b.opts.Hash = func(key K) uint64 { return maphash.Comparable(b.seed, key) }
	}
	for i := range b.shards {
		b.shards[i].index = map[K]int32{}
	}
	return b
}

// Start begins to flush, until Close.
func (b *WriteBehind[K, V]) Start() { go b.run() }

// Update calls change with the pending value of key, zero if there is none. It
// returns false without calling change if the buffer is full or closed. change
// runs under a lock: it must be fast and must not retain the pointer.
func (b *WriteBehind[K, V]) Update(key K, change func(*V)) bool {
	s := &b.shards[b.opts.Hash(key)%writeShards]
	s.mu.Lock()
	at, found := s.index[key]
	if !found {
		if s.closed || !b.reserve() {
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

// reserve reserves room for one entry. Above half of Size it requests a flush.
func (b *WriteBehind[K, V]) reserve() bool {
	n := b.count.Add(1)
	if n > int64(b.opts.Size) {
		b.count.Add(-1)
		return false
	}
	if n > int64(b.opts.Size/2) {
		select {
		case b.halfFull <- struct{}{}:
		default:
		}
	}
	return true
}

// Len returns the number of entries that aren't flushed.
func (b *WriteBehind[K, V]) Len() int64 { return b.count.Load() + b.queued.Load() }

// Flush flushes all completed updates without waiting for the interval. It
// returns the error of the source, in which case the batches stay queued, or
// ctx's.
func (b *WriteBehind[K, V]) Flush(ctx context.Context) error {
	result := make(chan error, 1)
	select {
	case b.flushNow <- result:
	case <-b.done:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close rejects further updates and flushes all entries, retrying until ctx is
// done. It returns an error if entries were dropped.
func (b *WriteBehind[K, V]) Close(ctx context.Context) error {
	b.once.Do(func() { close(b.stop) })
	unhook := context.AfterFunc(ctx, b.cancel)
	defer unhook()
	<-b.done
	b.cancel()
	if n := b.queued.Load(); n > 0 {
		return fmt.Errorf("%d entries dropped: %w", n, errClosed)
	}
	return nil
}

// run flushes until Close is called. It runs in its own goroutine.
func (b *WriteBehind[K, V]) run() {
	defer close(b.done)
	tick := time.NewTimer(b.untilFlush())
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = b.round(false) // the next tick retries
			tick.Reset(b.untilFlush())
		case <-b.halfFull:
			if len(b.queue) == 0 {
				_ = b.round(false)
			} else { // the source fails; the next tick retries
				b.collect(false)
			}
		case result := <-b.flushNow:
			result <- b.round(true)
		case <-b.stop:
			b.drain()
			return
		}
	}
}

// untilFlush returns the time until the next flush.
func (b *WriteBehind[K, V]) untilFlush() time.Duration {
	now := time.Now()
	return now.Truncate(b.opts.Interval).Add(b.opts.Interval).Sub(now)
}

// drain flushes until nothing is left or b.ctx is done.
func (b *WriteBehind[K, V]) drain() {
	b.collect(true)
	for b.flush() != nil {
		select {
		case <-time.After(b.opts.Interval):
		case <-b.ctx.Done():
			for _, batch := range b.queue {
				b.drop(batch, errClosed)
			}
			return
		}
	}
}

// round flushes the queue, collects the entries of the shards and flushes these.
// While the source fails, it leaves entries in the shards to coalesce, unless
// all is set or they exceed half of Size.
func (b *WriteBehind[K, V]) round(all bool) error {
	err := b.flush()
	if err == nil || all || b.count.Load() > int64(b.opts.Size/2) {
		b.collect(false)
	}
	if err != nil {
		return err
	}
	return b.flush()
}

// flush flushes the queue, oldest batch first, until one fails.
func (b *WriteBehind[K, V]) flush() error {
	for len(b.queue) > 0 {
		batch := b.queue[0]
		if err := b.attempt(batch); err != nil {
			b.attempts++
			if b.attempts < maxAttempts || b.opts.Permanent == nil || !b.opts.Permanent(err) {
				return err
			}
			b.drop(batch, err)
		}
		b.pop()
	}
	return nil
}

func (b *WriteBehind[K, V]) attempt(batch Batch[K, V]) error {
	ctx, cancel := context.WithTimeout(b.ctx, b.opts.Timeout)
	defer cancel()
	_, err := withRecover(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, b.opts.Flush(ctx, batch) })
	return err
}

// pop removes the oldest batch from the queue.
func (b *WriteBehind[K, V]) pop() {
	b.queued.Add(-int64(len(b.queue[0].Entries)))
	b.queue[0] = Batch[K, V]{}
	b.queue = b.queue[1:]
	b.attempts = 0
}

func (b *WriteBehind[K, V]) drop(batch Batch[K, V], err error) {
	if b.opts.OnDrop != nil {
		b.opts.OnDrop(batch, err)
	}
}
