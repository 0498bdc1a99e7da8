// Package memory implements a ratelimit.Store in process memory.
//
// The counters of a subject are stored in one record without pointers, so that a
// decision over several policies costs one lookup and the garbage collector has
// nothing to scan. Only sliding_log, concurrency and sliding_window with a small
// limit store a list outside the record. Subjects are distributed over shards,
// each with its own lock.
//
// A subject is idle when all its counters equal fresh ones. Takes remove idle
// subjects incrementally: there is no background goroutine, no pause, and
// nothing to close.
//
// # Memory
//
// The store is bounded in bytes: records, lists and indexes. In a full shard, the
// owner whose subjects take the most loses the counter, of a small sample, that
// would become idle first. An owner never loses one while another one has twice
// its bytes there, so an owner that spends millions of subjects evicts its own.
//
// A record has 32 bytes and 48 for each policy, its slot in the index 11 to 64. A
// list has 64 bytes and up to 40 for each entry: one for each admitted request of
// sliding_log, at most 10,000, and for each holder of concurrency. An owner has 43
// to 96 bytes in each shard in which it has subjects. The largest subject of 16
// policies sliding_log takes 4 MB. Once a subject takes half of a shard, 4 MiB by
// default, charges that need more are an error. The heap, after a collection, is
// at most 1.15 times the bound, because allocations are rounded up to size classes.
package memory

import (
	"context"

	"ratelimiter/ratelimit"
)

// DefaultMaxBytes is the default bound on the memory of a store: 5 million
// subjects with three policies each.
const DefaultMaxBytes = 1 << 30

// shardBits is the binary logarithm of the number of shards. With 128 shards,
// cores rarely contend for one, and the largest subject is half of a shard of the
// default size.
const shardBits = 7

// Bounds of a shard. A smaller one would consist of the unused parts of its chunks,
// a larger one could have more accounts than numbers for them.
const (
	minShardBytes = 128 << 10
	maxShardBytes = 1 << 30
)

// Store implements ratelimit.Store. Create it with New.
type Store struct {
	shards [1 << shardBits]shard
}

var _ ratelimit.Store = (*Store)(nil)

// Option configures a Store.
type Option func(*options)

type options struct{ maxBytes int }

// WithMaxBytes bounds the memory of the store, from 16 MiB to 128 GiB. Each of the
// 128 shards has an equal part of the bound. An evicted subject's counters are
// fresh again, so n should have room for all callers within the longest period.
func WithMaxBytes(n int) Option {
	return func(o *options) { o.maxBytes = n }
}

// New returns an empty store.
func New(opts ...Option) *Store {
	o := options{maxBytes: DefaultMaxBytes}
	for _, set := range opts {
		set(&o)
	}
	s := &Store{}
	for i := range s.shards {
		s.shards[i].maxBytes = min(max(minShardBytes, o.maxBytes>>shardBits), maxShardBytes)
	}
	return s
}

// Len returns the number of subjects, including idle ones that have not been
// removed yet.
func (s *Store) Len() int {
	n := 0
	for i := range s.shards {
		s.shards[i].mu.Lock()
		n += s.shards[i].index.used
		s.shards[i].mu.Unlock()
	}
	return n
}

// Take implements ratelimit.Store.
func (s *Store) Take(_ context.Context, b *ratelimit.Batch) error {
	var p lockedPair
	s.lock(&p, b)
	err := p.take(b)
	uses := p.unlock(b.Now)
	if uses&(sweepEvery-1) == 0 {
		s.sweepShard(uses/sweepEvery, b.Now)
	}
	return err
}

// Give implements ratelimit.Store.
func (s *Store) Give(_ context.Context, b *ratelimit.Batch) error {
	var p lockedPair
	s.lock(&p, b)
	defer p.unlock(b.Now)
	return p.give(b)
}

// Renew implements ratelimit.Store.
func (s *Store) Renew(_ context.Context, b *ratelimit.Batch) error {
	var p lockedPair
	s.lock(&p, b)
	defer p.unlock(b.Now)
	var err error
	for i := range b.Steps {
		step := &b.Steps[i]
		if step.Policy.Holds() && step.Charged && !p.subjectOf(step).renew(b, step) {
			err = ratelimit.ErrExpired
		}
	}
	return err
}

// Reset implements ratelimit.Store.
func (s *Store) Reset(_ context.Context, b *ratelimit.Batch) error {
	var p lockedPair
	s.lock(&p, b)
	defer p.unlock(b.Now)
	for i := range b.Steps {
		p.subjectOf(&b.Steps[i]).reset(&b.Steps[i])
	}
	return nil
}
