package memory_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// mirrored is a store whose answers are repeated in another one.
type mirrored struct {
	ratelimit.Store
	mirror *memory.Store
	before [ratelimit.MaxPolicies]int64
}

func (m *mirrored) Take(ctx context.Context, b *ratelimit.Batch) error {
	return errors.Join(m.Store.Take(ctx, b), m.mirror.Mirror(b, memory.TakeSlots, 0, &m.before))
}

func (m *mirrored) Give(ctx context.Context, b *ratelimit.Batch) error {
	var skip uint32
	for i := range b.Steps {
		if b.Steps[i].Give == 0 {
			skip |= 1 << i
		}
	}
	return errors.Join(m.Store.Give(ctx, b), m.mirror.Mirror(b, memory.FreeSlots, skip, &m.before))
}

func (m *mirrored) Renew(ctx context.Context, b *ratelimit.Batch) error {
	if err := m.Store.Renew(ctx, b); err != nil {
		return err
	}
	var skip uint32
	for i := range b.Steps {
		if !b.Steps[i].Policy.Holds() {
			skip |= 1 << i
		}
	}
	return m.mirror.Mirror(b, memory.RenewSlots, skip, &m.before)
}

var mirrorPolicies = []ratelimit.Policy{
	{Name: "bucket", Algorithm: ratelimit.TokenBucket, Limit: 20, Period: "10s", Burst: 30},
	{Name: "queue", Algorithm: ratelimit.LeakyBucket, Limit: 40, Period: "10s", MaxWait: "10s"},
	{Name: "fixed", Algorithm: ratelimit.FixedWindow, Limit: 40, Period: "10s"},
	{Name: "window", Algorithm: ratelimit.SlidingWindow, Limit: 40, Period: "10s"},
	{Name: "exact", Algorithm: ratelimit.SlidingWindow, Limit: 30, Period: "10s"},
	{Name: "log", Algorithm: ratelimit.SlidingLog, Limit: 40, Period: "10s", Per: ratelimit.PerOwner},
	{Name: "day", Algorithm: ratelimit.Calendar, Limit: 10000, Period: ratelimit.Day},
	{Name: "parallel", Algorithm: ratelimit.Concurrency, Limit: 10, Hold: "20s"},
}

// A mirror of all operations always reports what the store does, without the
// entries of logs whose units are given back: it keeps those that expire last.
func TestStore_Mirror(t *testing.T) {
	q, err := ratelimit.NewQuota(mirrorPolicies, ratelimit.Subjects{Key: "k", Owner: "o"})
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 0))
		now := time.Unix(1_700_000_000, 0)
		clock := ratelimit.WithClock(func() time.Time { return now })
		m := &mirrored{Store: memory.New(), mirror: memory.New()}
		limiter, shared, mirror := ratelimit.New(m, clock), ratelimit.New(m.Store, clock), ratelimit.New(m.mirror, clock)
		var open []*ratelimit.Reservation
		for step := range 500 {
			now = now.Add(time.Duration(rng.IntN(1000)) * time.Millisecond)
			i := rng.IntN(len(open) + 1)
			taken := i == len(open) // so that the mirror knows of all entries
			switch {
			case taken:
				r := new(ratelimit.Reservation)
				if err := limiter.Reserve(context.Background(), r, q, "", rng.Int64N(4)); err != nil {
					t.Fatal(err)
				}
				open = append(open, r)
			case rng.IntN(3) == 0:
				_ = open[i].Renew(context.Background())
			case rng.IntN(2) == 0:
				_ = open[i].Commit(context.Background(), rng.Int64N(5))
			default:
				_ = open[i].Release(context.Background())
			}
			open = open[max(0, len(open)-5):]
			want, err := shared.PeekAll(context.Background(), q)
			if err != nil {
				t.Fatal(err)
			}
			got, err := mirror.PeekAll(context.Background(), q)
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range want.Statuses() {
				listed := s.Policy.Listed() && !s.Policy.Holds() && !taken
				if seen := got.Statuses()[i]; seen.Remaining > s.Remaining || seen.Remaining < s.Remaining && !listed {
					t.Fatalf("seed %d, step %d, %s: %d remaining, want %d", seed, step, s.Policy.Name, seen.Remaining, s.Remaining)
				}
			}
		}
	}
}

// What others have spent is the difference of what was known.
func TestStore_Mirror_before(t *testing.T) {
	q, err := ratelimit.NewQuota(mirrorPolicies, ratelimit.Subjects{Key: "k", Owner: "o"})
	if err != nil {
		t.Fatal(err)
	}
	clock := ratelimit.WithClock(func() time.Time { return time.Unix(1_700_000_000, 0) })
	shared := memory.New()
	m := &mirrored{Store: shared, mirror: memory.New()}
	own, others := ratelimit.New(m, clock), ratelimit.New(shared, clock)
	for round := range int64(4) {
		for _, l := range []*ratelimit.Limiter{own, others} {
			if err := l.Reserve(context.Background(), new(ratelimit.Reservation), q, "", 3); err != nil {
				t.Fatal(err)
			}
		}
		for i, p := range mirrorPolicies {
			want := max(0, 6*round-3) // without the others' last
			if p.Algorithm == ratelimit.Concurrency {
				want = round // others' slots are not in the mirror
			}
			if round > 0 && m.before[i] != want {
				t.Errorf("round %d, %s: %d units before, want %d", round, p.Name, m.before[i], want)
			}
		}
	}
}
