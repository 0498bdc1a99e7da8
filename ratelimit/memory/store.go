// Package memory keeps rate limiting counters in this process.
//
// A subject's counters lie side by side in one record without pointers, found
// by one look-up in one of many shards, each under its own lock: three
// policies of a caller cost one cache-missing access, and the garbage
// collector has nothing to walk. Only sliding_log and concurrency keep a list
// beside their record.
//
// A subject whose counters have all become equal to fresh ones is idle, and
// its record is used again. That is found out little by little, as a by-work
// of takes: there is no sweeper goroutine, no pause and nothing to close.
package memory

import (
	"context"

	"ratelimiter/ratelimit"
)

// DefaultMaxSubjects is how many subjects a store keeps unless told otherwise:
// about 750 MB with three policies each.
const DefaultMaxSubjects = 4 << 20

// shardBits gives 512 shards: enough that two cores rarely meet in one.
const shardBits = 9

// Store implements ratelimit.Store. Make it with New.
type Store struct {
	shards [1 << shardBits]shard
}

var _ ratelimit.Store = (*Store)(nil)

// Option adjusts a Store.
type Option func(*options)

type options struct{ maxSubjects int }

// WithMaxSubjects bounds how many subjects the store keeps; subjects are
// spread over 512 shards, each with its part of the bound. Beyond it, the
// subject of a few that would be idle first is forgotten, which lets it start
// afresh: choose a bound above the number of callers within the longest
// period.
func WithMaxSubjects(n int) Option {
	return func(o *options) { o.maxSubjects = n }
}

// New makes an empty store.
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

// Len is the number of subjects that the store holds, idle ones included that
// haven't been found yet.
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
	var p pair
	s.lock(&p, b)
	err := p.take(b)
	turn := p.unlock()
	if turn&(sweepEvery-1) == 0 {
		s.sweepNext(turn/sweepEvery, b.Now)
	}
	return err
}

// Give implements ratelimit.Store.
func (s *Store) Give(_ context.Context, b *ratelimit.Batch) error {
	var p pair
	s.lock(&p, b)
	defer p.unlock()
	for i := range b.Steps {
		if step := &b.Steps[i]; step.Give > 0 {
			p.side(step).give(b, step)
		}
	}
	return nil
}

// Renew implements ratelimit.Store.
func (s *Store) Renew(_ context.Context, b *ratelimit.Batch) error {
	var p pair
	s.lock(&p, b)
	defer p.unlock()
	var err error
	for i := range b.Steps {
		step := &b.Steps[i]
		if step.Policy.Holds() && step.Charged && !p.side(step).renew(b, step) {
			err = ratelimit.ErrExpired
		}
	}
	return err
}

// Reset implements ratelimit.Store.
func (s *Store) Reset(_ context.Context, b *ratelimit.Batch) error {
	var p pair
	s.lock(&p, b)
	defer p.unlock()
	for i := range b.Steps {
		p.side(&b.Steps[i]).reset(&b.Steps[i])
	}
	return nil
}
