package ratelimit

import (
	"context"
	"errors"
	"sync"
)

// Split is a Store over two others: calendar counters are in local, where leased
// units are spent, and all others in shared. A batch is all or nothing over
// both: local is charged first and given back if shared refuses or fails. In
// between, other requests see units that may come back.
type Split struct {
	local, shared Store
	batches       sync.Pool // of *splitBatch
}

var _ Store = (*Split)(nil)

// NewSplit returns a Split.
func NewSplit(local, shared Store) *Split {
	return &Split{local: local, shared: shared, batches: sync.Pool{New: func() any { return new(splitBatch) }}}
}

// splitBatch is the two parts of a batch.
type splitBatch struct {
	local, shared Batch
	steps         [2][MaxPolicies]Step
}

// open returns the parts of a batch.
func (s *Split) open(b *Batch) *splitBatch {
	parts := s.batches.Get().(*splitBatch)
	parts.local, parts.shared = *b, *b
	parts.local.Steps, parts.shared.Steps = parts.steps[0][:0], parts.steps[1][:0]
	parts.local.Enforced, parts.shared.Enforced = 0, 0
	for i := range b.Steps {
		part := parts.of(&b.Steps[i])
		part.Steps = append(part.Steps, b.Steps[i])
		if i < b.Enforced {
			part.Enforced++
		}
	}
	return parts
}

func (parts *splitBatch) of(step *Step) *Batch {
	if step.Policy.Leasable() {
		return &parts.local
	}
	return &parts.shared
}

// close copies the results into the batch.
func (s *Split) close(parts *splitBatch, b *Batch) {
	next := [2]int{}
	for i := range b.Steps {
		part, n := parts.of(&b.Steps[i]), &next[0]
		if part == &parts.shared {
			n = &next[1]
		}
		b.Steps[i] = part.Steps[*n]
		*n++
	}
	if len(parts.shared.Steps) > 0 || b.Once != "" {
		b.Now, b.Alone = parts.shared.Now, parts.shared.Alone
	}
	clear(parts.steps[0][:])
	clear(parts.steps[1][:])
	parts.local, parts.shared = Batch{}, Batch{}
	s.batches.Put(parts)
}

// Take implements Store.
func (s *Split) Take(ctx context.Context, b *Batch) error {
	parts := s.open(b)
	defer s.close(parts, b)
	if len(parts.local.Steps) > 0 {
		if err := s.local.Take(ctx, &parts.local); err != nil {
			return err
		}
	}
	if len(parts.shared.Steps) == 0 {
		return nil
	}
	parts.shared.Refused = b.Refused || !parts.local.passes()
	err := s.shared.Take(ctx, &parts.shared)
	if err == nil && parts.shared.passes() {
		return nil
	}
	return errors.Join(err, s.giveBack(context.WithoutCancel(ctx), &parts.local))
}

// passes reports whether the enforced steps of a batch that was taken don't keep
// it from being charged.
func (b *Batch) passes() bool {
	for i := range b.Steps {
		s := &b.Steps[i]
		if i < b.Enforced && !s.Allowed || s.Short {
			return false
		}
	}
	return true
}

// giveBack gives back everything that a batch has charged.
func (s *Split) giveBack(ctx context.Context, b *Batch) error {
	charged := false
	for i := range b.Steps {
		step := &b.Steps[i]
		if step.Give = 0; step.Charged {
			step.Give, charged = step.Policy.CostOf(b.Cost), true
		}
	}
	if !charged {
		return nil
	}
	err := s.local.Give(ctx, b)
	for i := range b.Steps {
		b.Steps[i].Charged, b.Steps[i].Give = false, 0
	}
	return err
}

// Give implements Store. It gives back to both even if one fails, except a batch
// with a record: it changes local only if it has deleted the record in shared, and
// not if shared will do so later.
func (s *Split) Give(ctx context.Context, b *Batch) error {
	if b.Once == "" {
		return s.both(ctx, b, Store.Give)
	}
	parts := s.open(b)
	defer s.close(parts, b)
	if err := s.shared.Give(ctx, &parts.shared); err != nil {
		return err
	}
	if len(parts.local.Steps) == 0 || parts.shared.Alone != 0 {
		return nil
	}
	return s.local.Give(ctx, &parts.local)
}

// Renew implements Store.
func (s *Split) Renew(ctx context.Context, b *Batch) error {
	return s.both(ctx, b, Store.Renew)
}

// Reset implements Store.
func (s *Split) Reset(ctx context.Context, b *Batch) error {
	return s.both(ctx, b, Store.Reset)
}

func (s *Split) both(ctx context.Context, b *Batch, call func(Store, context.Context, *Batch) error) error {
	parts := s.open(b)
	defer s.close(parts, b)
	var failures [2]error
	if len(parts.local.Steps) > 0 {
		failures[0] = call(s.local, ctx, &parts.local)
	}
	if len(parts.shared.Steps) > 0 {
		failures[1] = call(s.shared, ctx, &parts.shared)
	}
	if failures[0] == nil {
		return failures[1] // as it is: callers compare it
	}
	return errors.Join(failures[0], failures[1])
}
