package ratelimit_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// recordStore is a shared store with records of reservations: Give deletes a
// batch's record, and changes nothing without one.
type recordStore struct {
	*memory.Store
	mu      sync.Mutex
	records map[string]bool
}

func (s *recordStore) Give(ctx context.Context, b *ratelimit.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.Once != "" && !s.records[b.Once] {
		return ratelimit.ErrSettled
	}
	delete(s.records, b.Once)
	return s.Store.Give(ctx, b)
}

// processes are two limiters that share a store, except for calendar counters.
func processes() (a, b *ratelimit.Limiter, shared *recordStore) {
	shared = &recordStore{Store: memory.New(), records: map[string]bool{}}
	now := ratelimit.WithClock(func() time.Time { return time.Unix(1_000_000, 0) })
	limiter := func() *ratelimit.Limiter { return ratelimit.New(ratelimit.NewSplit(memory.New(), shared), now) }
	return limiter(), limiter(), shared
}

// sharedQuota has policies of each kind that the store shares.
func sharedQuota(t *testing.T) *ratelimit.Quota {
	t.Helper()
	q, err := ratelimit.NewQuota([]ratelimit.Policy{
		{Name: "bucket", Algorithm: ratelimit.TokenBucket, Limit: 10, Period: "1h"},
		{Name: "log", Algorithm: ratelimit.SlidingLog, Limit: 10, Period: "1h"},
		{Name: "slots", Algorithm: ratelimit.Concurrency, Limit: 10},
		{Name: "owned", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "1h", Per: ratelimit.PerOwner},
		{Name: "shadow", Algorithm: ratelimit.FixedWindow, Limit: 1, Period: "1h", Mode: ratelimit.Shadow},
	}, ratelimit.Subjects{Key: "k", Owner: "o"})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func TestLimiter_Resume(t *testing.T) {
	for _, c := range []struct {
		name   string
		settle func(context.Context, *ratelimit.Reservation) error
		want   [4]int64 // remaining of bucket, log, slots and owned
	}{
		{"release", func(ctx context.Context, r *ratelimit.Reservation) error { return r.Release(ctx) }, [4]int64{10, 10, 10, 10}},
		{"less", func(ctx context.Context, r *ratelimit.Reservation) error { return r.Commit(ctx, 1) }, [4]int64{9, 9, 10, 9}},
		{"exactly", func(ctx context.Context, r *ratelimit.Reservation) error { return r.Commit(ctx, 3) }, [4]int64{7, 7, 10, 7}},
		{"more", func(ctx context.Context, r *ratelimit.Reservation) error { return r.Commit(ctx, 5) }, [4]int64{5, 5, 10, 5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b, shared := processes()
			q := sharedQuota(t)
			var taken ratelimit.Reservation
			if err := a.Reserve(t.Context(), &taken, q, "", 3); err != nil || !taken.Decision.Allowed {
				t.Fatal(err)
			}
			data, err := taken.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			shared.records["r1"] = true
			taken.SetRecord("r1")
			for i, want := range []error{nil, ratelimit.ErrSettled} {
				var resumed ratelimit.Reservation
				if err := b.Resume(&resumed, "r1", data); err != nil {
					t.Fatal(err)
				}
				if err := c.settle(t.Context(), &resumed); !errors.Is(err, want) {
					t.Errorf("settled for time %d: %v, want %v", i+1, err, want)
				}
			}
			if err := c.settle(t.Context(), &taken); !errors.Is(err, ratelimit.ErrSettled) {
				t.Errorf("settled by its own process, too: %v, want ErrSettled", err)
			}
			d, err := a.Peek(t.Context(), q, "")
			if err != nil {
				t.Fatal(err)
			}
			var got [4]int64
			for i := range got {
				got[i] = d.Statuses()[i].Remaining
			}
			if got != c.want || d.Shadows()[0].Remaining != 1 { // which admitted nothing
				t.Errorf("%v remain and %d in shadow mode, want %v and 1", got, d.Shadows()[0].Remaining, c.want)
			}
		})
	}
}

// TestLimiter_Resume_nothing_charged checks that a reservation of which nothing is
// given back is settled once, too.
func TestLimiter_Resume_nothing_charged(t *testing.T) {
	a, b, shared := processes()
	q, err := ratelimit.NewQuota([]ratelimit.Policy{
		{Name: "monthly", Algorithm: ratelimit.Calendar, Limit: 10, Period: ratelimit.Month, Mode: ratelimit.Shadow},
	}, ratelimit.Subjects{Key: "k", Owner: "o"})
	if err != nil {
		t.Fatal(err)
	}
	var r ratelimit.Reservation
	if err := a.Reserve(t.Context(), &r, q, "", 11); err != nil || !r.Decision.Allowed {
		t.Fatal(err)
	}
	data, err := r.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	shared.records["r1"] = true
	for _, want := range []error{nil, ratelimit.ErrSettled} {
		var resumed ratelimit.Reservation
		if err := b.Resume(&resumed, "r1", data); err != nil {
			t.Fatal(err)
		}
		if err := resumed.Release(t.Context()); !errors.Is(err, want) {
			t.Errorf("Release = %v, want %v", err, want)
		}
	}
}

func TestSplit_Give_record(t *testing.T) {
	a, _, shared := processes()
	q, err := ratelimit.NewQuota([]ratelimit.Policy{
		{Name: "window", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "1h"},
		{Name: "monthly", Algorithm: ratelimit.Calendar, Limit: 10, Period: ratelimit.Month},
	}, ratelimit.Subjects{Key: "k", Owner: "o"})
	if err != nil {
		t.Fatal(err)
	}
	for _, known := range []bool{false, true} {
		var r ratelimit.Reservation
		if err := a.Reserve(t.Context(), &r, q, "", 3); err != nil {
			t.Fatal(err)
		}
		r.SetRecord("r1")
		shared.records["r1"] = known
		_ = r.Release(t.Context())
		d, err := a.Peek(t.Context(), q, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range d.Statuses() {
			if s.Remaining != 7 {
				t.Errorf("record known: %v: %d units of %s remain, want 7", known, s.Remaining, s.Policy.Name)
			}
		}
	}
}

func TestLimiter_Resume_faults(t *testing.T) {
	a, _, _ := processes()
	for _, data := range []string{"", "\x02{}", "\x01", "\x01{", "\x01" + `{"steps":[{"policy":{"name":"x","algorithm":"calendar","limit":1,"period":"day","time_zone":"No/Where"}}]}`} {
		if err := a.Resume(new(ratelimit.Reservation), "", []byte(data)); err == nil {
			t.Errorf("%q was resumed", data)
		}
	}
	var r ratelimit.Reservation
	if _, err := r.MarshalBinary(); !errors.Is(err, ratelimit.ErrSettled) {
		t.Errorf("MarshalBinary of a closed reservation = %v, want ErrSettled", err)
	}
}

// laterStore is a shared store that can't be reached and deletes records later.
type laterStore struct{ *memory.Store }

func (s *laterStore) Give(_ context.Context, b *ratelimit.Batch) error {
	if b.Once != "" {
		b.Alone = 1
	}
	return nil
}

// TestSplit_Give_record_later checks that calendar units stay spent as long as it is
// unknown whether another process has settled the reservation.
func TestSplit_Give_record_later(t *testing.T) {
	limiter := ratelimit.New(ratelimit.NewSplit(memory.New(), &laterStore{memory.New()}))
	q, err := ratelimit.NewQuota([]ratelimit.Policy{
		{Name: "monthly", Algorithm: ratelimit.Calendar, Limit: 10, Period: ratelimit.Month},
	}, ratelimit.Subjects{Key: "k", Owner: "o"})
	if err != nil {
		t.Fatal(err)
	}
	var r ratelimit.Reservation
	if err := limiter.Reserve(t.Context(), &r, q, "", 3); err != nil {
		t.Fatal(err)
	}
	r.SetRecord("r1")
	if err := r.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	d, err := limiter.Peek(t.Context(), q, "")
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Statuses()[0].Remaining; got != 7 || !r.Alone() {
		t.Errorf("%d units remain, alone: %v; want 7 and true", got, r.Alone())
	}
}
