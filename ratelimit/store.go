package ratelimit

import "context"

// Store keeps counters and applies the pure functions to them. A counter
// belongs to a subject and a policy's ID, and to nothing else; one that isn't
// there, or whose fingerprint is another, is fresh.
//
// A store is safe for concurrent use, and each of its methods is atomic: it
// takes effect at one instant, whole or not at all. An error means that the
// store failed and nobody knows more; a refusal is not an error. A store that
// has a clock of its own decides by that and writes its time into the batch.
type Store interface {
	// Take decides the batch, all or nothing: when every enforced step
	// passes, it charges each of them and each shadow step that passes too;
	// otherwise it charges nothing. It sets Allowed, Charged, State
	// and Generation of every step, whatever they were before. With cost 0 it charges nothing and every step is allowed.
	Take(ctx context.Context, b *Batch) error
	// Give returns Step.Give units to each step of a batch that was taken,
	// and brings State up to date on the steps with Give > 0. Where the
	// counter is no longer the one that was charged (Generation), nothing is
	// given back.
	Give(ctx context.Context, b *Batch) error
	// Renew prolongs the batch's concurrency holders. It returns ErrExpired
	// when one of them is gone; the others are renewed all the same.
	Renew(ctx context.Context, b *Batch) error
	// Reset makes the steps' counters fresh.
	Reset(ctx context.Context, b *Batch) error
}

// Batch is one operation over several counters of one key and its owner.
type Batch struct {
	// Now is the limiter's clock, in nanoseconds since the Unix epoch.
	Now int64
	// Cost is what each step takes; see [Compiled.CostOf].
	Cost int64
	// Holder numbers the reservation among the holders of concurrency.
	Holder int64
	// Key and Owner are the subjects; nil where no step counts for it.
	Key, Owner *Subject
	// Steps are the counters, at most MaxPolicies; the first Enforced of them
	// decide, the rest are shadows.
	Steps    []Step
	Enforced int
}

// Step is one policy's part in a batch.
type Step struct {
	// Policy is the rule; its Per says whose counter it is.
	Policy *Compiled
	// State is the counter's state afterwards. It is also the receipt: Give
	// finds in it what the Take has charged.
	State State
	// Generation tells the counter apart from later ones of the same name:
	// a reset, an eviction or another algorithm begins a new one.
	Generation uint32
	// Allowed says whether this step alone would pass.
	Allowed bool
	// Charged says whether units were taken.
	Charged bool
	// Give is the units that Give is to return.
	Give int64
}
