package memory_test

import (
	"context"
	"testing"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// noted is a store that notes the counter of the last batch's first step.
type noted struct {
	*memory.Store
	subject *ratelimit.Subject
	policy  *ratelimit.Compiled
	now     int64
}

func (n *noted) Take(ctx context.Context, b *ratelimit.Batch) error {
	n.subject, n.policy, n.now = b.Key, b.Steps[0].Policy, b.Now
	return n.Store.Take(ctx, b)
}

// A lease after a reset begins a new counter, also if its state equals the old one:
// units that were reserved before can't be given back.
func TestStore_Exchange_fresh(t *testing.T) {
	q, err := ratelimit.NewQuota([]ratelimit.Policy{{Name: "day", Algorithm: ratelimit.Calendar, Limit: 10, Period: ratelimit.Day}}, ratelimit.Subjects{Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	store := &noted{Store: memory.New()}
	limiter := ratelimit.New(store)
	var r ratelimit.Reservation
	if err := limiter.Reserve(t.Context(), &r, q, "", 3); err != nil {
		t.Fatal(err)
	}
	exchange := func(fresh bool) uint32 {
		generation, err := store.Exchange(store.subject, store.policy, store.now, func(s ratelimit.State) (ratelimit.State, bool) { return s, fresh })
		if err != nil {
			t.Fatal(err)
		}
		return generation
	}
	before := exchange(false)
	if after := exchange(true); after == before {
		t.Errorf("the generation is still %d", after)
	}
	if err := r.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d, err := limiter.PeekAll(t.Context(), q); err != nil || d.Statuses()[0].Remaining != 7 {
		t.Errorf("%d remaining, error %v; want 7", d.Statuses()[0].Remaining, err)
	}
}
