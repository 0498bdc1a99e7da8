package ratelimit

import (
	"context"
	"fmt"
)

// Lease is units of one calendar period that a process has taken from a durable
// counter and may spend. Times are in nanoseconds since the Unix epoch.
type Lease struct {
	// Start and End bound the period.
	Start, End int64
	// Units may be spent. It is 0 if none could be leased, and negative in no
	// lease.
	Units int64
	// Used is the units of the period that all processes have spent or leased,
	// Units included.
	Used int64
	// Afresh means that the durable counter was reset since the last lease, so
	// that units of earlier leases may not be spent.
	Afresh bool
}

// Allowances supplies the calendar counters of a limiter's store with leased
// units. It is safe for concurrent use.
type Allowances interface {
	// Lease obtains units for the calendar steps of a batch that are Short or
	// not Allowed, and deposits them in the store. It reports whether a counter
	// may have changed since the batch was taken, so that taking it again can
	// have another result. It waits, but not longer than ctx. The error means
	// that the durable counters can't be reached. Lease doesn't keep the batch.
	Lease(ctx context.Context, b *Batch) (changed bool, err error)
	// Prefetch leases units for a step without waiting: few are left to spend,
	// more were spent than leased, or a step in shadow mode refuses.
	Prefetch(b *Batch, step *Step)
	// Reset makes the durable counters of the batch's calendar steps fresh. A new
	// epoch begins for each.
	Reset(ctx context.Context, b *Batch) error
	// Epoch returns the epoch of the lease from which a calendar step of a batch
	// that was taken has spent its units; 0 if it isn't known.
	Epoch(b *Batch, step *Step) int64
	// Return gives units that another process has spent to the counter of a
	// calendar step, as leased units, if it is in the period of step.State and in
	// that epoch.
	Return(b *Batch, step *Step, epoch, units int64)
}

// Leasable reports whether the policy's units are leased from a durable counter
// when the limiter has Allowances.
func (c *Compiled) Leasable() bool { return c.kind == calendar }

// TakeLeased is Take for a counter of a calendar policy that may spend only
// leased units. If the state doesn't know the period of now, or if cost units
// are left in the period but not leased, it takes nothing and reports short. In
// shadow mode, units that aren't leased are a debt, so that no request waits.
func (c *Compiled) TakeLeased(s State, now, cost int64) (_ State, allowed, short bool) {
	known := s.periodContains(now)
	s = advanceCalendar(c, s, now)
	allowed = cost == 0 || cost > 0 && cost <= c.capacity-s.used()
	short = (!known || allowed && cost > max(0, s.leased())) && (cost == 0 || c.Mode != Shadow)
	if allowed && !short {
		s.N += cost
		s.X -= cost
	}
	return s, allowed, short
}

// leased is the leased units of the period that aren't spent. It is negative
// after a debt that wasn't leased, and in a counter that spends without leases.
func (s State) leased() int64 { return s.X }

// Deposit adds a lease to a counter. It reports whether units given back by
// earlier reservations no longer belong to it.
func (c *Compiled) Deposit(s State, l Lease) (_ State, afresh bool) {
	if s.windowStart() != l.Start || l.Afresh {
		return State{At: l.Start, M: l.End, N: clamp(l.Used-l.Units, 0, MaxLimit), X: l.Units}, l.Afresh
	}
	s.X = clamp(satAdd(s.leased(), l.Units), -MaxLimit, MaxLimit)
	s.N = clamp(satSub(l.Used, s.leased()), 0, MaxLimit)
	return s, false
}

// Withdraw takes the leased units that aren't spent out of a counter.
func (c *Compiled) Withdraw(s State) (_ State, units int64) {
	units = max(0, s.leased())
	s.X -= units
	s.N += units // spent by others, as far as this counter knows
	return s, units
}

// lowShare is the part of a limit below which leased units are low. It is half
// of the smallest lease; see internal/allowance.
const lowShare = 400

// low reports whether the counter should lease ahead: few units are left, and
// the period has more, or a debt isn't leased yet.
func (c *Compiled) low(s State) bool {
	return s.leased() < 0 || s.leased() <= c.limit/lowShare && s.used()+s.leased() < c.limit
}

// maxRounds bounds how often a take leases units that other requests spend
// before it does.
const maxRounds = 16

// take takes the batch from the store. If leased units are too few to decide it,
// it leases more and takes it again.
func (l *Limiter) take(ctx context.Context, b *Batch) error {
	b.Leases = l.allowances != nil
	for range maxRounds {
		if err := l.store.Take(ctx, b); err != nil || !b.needsLease() {
			return err
		}
		changed, err := l.allowances.Lease(ctx, b)
		if changed {
			b.Now = l.clock.now() // the wait may have passed a period's end
			continue
		}
		if b.Cost == 0 {
			return nil // a peek reports what is known
		}
		switch undecided := b.undecided(err != nil); {
		case undecided && err == nil:
			return ErrNoLease
		case undecided:
			return fmt.Errorf("%w: %w", ErrNoLease, err)
		default:
			return nil // refused
		}
	}
	return ErrNoLease
}

// needsLease reports whether leasing could change the result of a take, or the
// knowledge that a peek reports.
func (b *Batch) needsLease() bool {
	if !b.Leases {
		return false
	}
	needs := false
	for i := range b.Steps {
		s := &b.Steps[i]
		switch {
		case s.Policy.Leasable():
			needs = needs || b.Cost == 0 || i < b.Enforced && s.wantsLease(b)
		case !s.Allowed && i < b.Enforced:
			return false // refused in any case
		}
	}
	return needs
}

// wantsLease reports whether a leasable step's result can change by leasing.
func (s *Step) wantsLease(b *Batch) bool {
	return s.Short || !s.Allowed && b.Cost <= s.Policy.capacity
}

// undecided reports whether an enforced step can't be decided after leasing. If
// the durable counters can't be reached, a refusal for lack of units is not
// certain.
func (b *Batch) undecided(unreachable bool) bool {
	for i := range b.Steps[:b.Enforced] {
		s := &b.Steps[i]
		if s.Short || unreachable && s.Policy.Leasable() && s.wantsLease(b) {
			return true
		}
	}
	return false
}

// prefetch leases ahead for a step that was charged and is low, or asks for news
// of one in shadow mode that refuses. The step's State must be the present one.
func (l *Limiter) prefetch(b *Batch, s *Step) {
	if b.Leases && s.Policy.kind == calendar && (!s.Allowed || s.Charged && s.Policy.low(s.State)) {
		l.allowances.Prefetch(b, s)
	}
}

// Bounds returns the start of a calendar policy's period that contains now, and
// of the next one, in nanoseconds since the Unix epoch.
func (c *Compiled) Bounds(now int64) (start, end int64) { return c.periodBounds(now) }
