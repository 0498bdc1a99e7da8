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
package memory

import (
	"context"

	"ratelimiter/ratelimit"
)

// DefaultMaxSubjects is the default bound on the number of subjects. They take
// about 800 MB with three policies each, and more with lists.
const DefaultMaxSubjects = 4 << 20

// shardBits is the binary logarithm of the number of shards. With 512 shards,
// cores rarely contend for one.
const shardBits = 9

// Store implements ratelimit.Store. Create it with New.
type Store struct {
	shards [1 << shardBits]shard
}

var _ ratelimit.Store = (*Store)(nil)

// Option configures a Store.
type Option func(*options)

type options struct{ maxSubjects int }

// WithMaxSubjects bounds the number of subjects. Each of the 512 shards has an
// equal part of the bound. A full shard evicts the subject, of a small sample,
// that would become idle first. An evicted subject's counters are fresh again,
// so n should be above the number of callers within the longest period.
func WithMaxSubjects(n int) Option {
	return func(o *options) { o.maxSubjects = n }
}

// New returns an empty store.
func New(opts ...Option) *Store {
	o := options{maxSubjects: DefaultMaxSubjects}
	for _, set := range opts {
		set(&o)
	}
	s := &Store{}
	for i := range s.shards {
		s.shards[i].maxSubjects = max(1, o.maxSubjects>>shardBits)
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
	uses := p.unlock()
	if uses&(sweepEvery-1) == 0 {
		s.sweepShard(uses/sweepEvery, b.Now)
	}
	return err
}

// Give implements ratelimit.Store.
func (s *Store) Give(_ context.Context, b *ratelimit.Batch) error {
	var p lockedPair
	s.lock(&p, b)
	defer p.unlock()
	return p.give(b)
}

// Renew implements ratelimit.Store.
func (s *Store) Renew(_ context.Context, b *ratelimit.Batch) error {
	var p lockedPair
	s.lock(&p, b)
	defer p.unlock()
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
	defer p.unlock()
	for i := range b.Steps {
		p.subjectOf(&b.Steps[i]).reset(&b.Steps[i])
	}
	return nil
}
