package ratelimit

import "context"

// Store keeps counters and applies the pure functions to them. A counter is
// identified by its subject and its policy's ID. A counter that doesn't exist,
// or that has another fingerprint, is fresh. One that was a State and is a List
// under the policy's limit, or the reverse, is converted; see
// [Compiled.ToList].
//
// A store is safe for concurrent use. Each method is atomic: it takes effect
// completely and at one instant, or not at all. An error means that the store
// failed; a refusal is not an error. After an error, it is unknown whether the
// call took effect. A store with a clock of its own uses that clock and sets
// Batch.Now.
type Store interface {
	// Take decides the batch, all or nothing. If all enforced steps pass, it
	// charges them and those shadow steps that pass; otherwise it charges
	// nothing. It sets Allowed, Short, Charged and State of every step, and
	// Generation of those that it charges, regardless of their values before. With
	// cost 0 it charges nothing and allows every step.
	Take(ctx context.Context, b *Batch) error
	// Give gives back Step.Give units to each step of a batch that was taken
	// and updates State of the steps with Give ≠ 0. It gives back nothing to a
	// counter whose Generation has changed; a concurrency slot is freed in the
	// counter of any Generation if Holder has it. If Give is negative, it charges as
	// many units at Now, to the counter of any Generation and whether they pass
	// or not. If Once is set and its record doesn't exist, it changes nothing and
	// returns ErrSettled.
	Give(ctx context.Context, b *Batch) error
	// Renew extends the batch's concurrency holders. If one of them has
	// expired, it renews the others and returns ErrExpired.
	Renew(ctx context.Context, b *Batch) error
	// Reset makes the counters of the steps fresh.
	Reset(ctx context.Context, b *Batch) error
}

// LeaseStore is a Store whose calendar counters can hold leased units.
type LeaseStore interface {
	Store
	// Exchange replaces the state of a calendar counter by change's result, in
	// one atomic step, and returns its Generation. If fresh is set, the counter
	// begins a new one. The Generation of a counter that doesn't exist is 0.
	// change must be a short, pure function.
	Exchange(s *Subject, p *Compiled, now int64, change func(State) (_ State, fresh bool)) (generation uint32, err error)
}

// Batch is one operation on the counters of one key and its owner.
type Batch struct {
	// Now is the time in nanoseconds since the Unix epoch.
	Now int64
	// Ahead is how far the clock that has decided the steps other than calendar is
	// ahead of Now, in nanoseconds; see [Split].
	Ahead int64
	// Cost is the cost of the request. See [Compiled.CostOf].
	Cost int64
	// Holder identifies the reservation among the holders of concurrency.
	Holder int64
	// Key and Owner are the subjects; nil if no step spends their counters.
	Key, Owner *Subject
	// Steps are the counters, at most MaxPolicies. The first Enforced steps
	// decide, the others are in shadow mode.
	Steps    []Step
	Enforced int
	// Leases means that calendar steps spend leased units only; see
	// [Compiled.TakeLeased]. A step that is Short keeps the batch from being
	// charged.
	Leases bool
	// Once names a record of a shared store that Give deletes in the same step, so
	// that of several processes only one settles a reservation. Stores without
	// records ignore it.
	Once string
	// Refused means that another store has refused the request: Take charges
	// nothing and reports what each step by itself would do.
	Refused bool
	// Alone is 0, or set by a store that has decided without the counters it shares
	// with other processes; see package fallback. Only that store can settle the
	// batch. After a Give with Once, it means that the record will be deleted later.
	Alone uint32
}

// Step is one policy's part of a batch.
type Step struct {
	// Policy is the compiled policy. PerOwner selects the subject.
	Policy *Compiled
	// State is the counter's state after the operation. Give uses the state
	// that Take set to find what was charged.
	State State
	// Generation distinguishes the counter from later ones of the same
	// identity. A reset, an eviction or a change of shape begins a new one. It is
	// that of the charge, and has no meaning in a step that isn't Charged.
	Generation uint32
	// Allowed reports whether this step by itself passes.
	Allowed bool
	// Short reports that the units must be leased before it is known whether
	// this step passes. Allowed is what is known so far.
	Short bool
	// Charged reports whether units were taken.
	Charged bool
	// Give is the number of units to give back; negative: to charge as debt.
	Give int64
	// Others is the units that a batch decided Alone was charged on top of its cost,
	// in place of other processes. They are given back in proportion.
	Others int64
}

// decidedAt returns the time at which a step was decided.
func (b *Batch) decidedAt(s *Step) int64 {
	if s.Policy.Leasable() {
		return b.Now
	}
	return satAdd(b.Now, b.Ahead)
}
