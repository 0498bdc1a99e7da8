package limits_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ratelimiter/internal/limits"
	"ratelimiter/internal/quota"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// sharedStore is a store with records, like that of several instances.
type sharedStore struct {
	*memory.Store
	mu      sync.Mutex
	records map[string][]byte
	down    bool
	reads   int
}

var errDown = errors.New("down")

func (s *sharedStore) PutRecord(_ context.Context, _ uint64, name string, data []byte, _ time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[name] = data // the reply is lost while it is down
	if s.down {
		return errDown
	}
	return nil
}

func (s *sharedStore) Record(_ context.Context, _ uint64, name string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	if s.down {
		return nil, errDown
	}
	return s.records[name], nil
}

func (s *sharedStore) setDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

// Give implements ratelimit.Store.
func (s *sharedStore) Give(ctx context.Context, b *ratelimit.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.records[b.Once]; b.Once != "" && !known {
		return ratelimit.ErrSettled
	}
	delete(s.records, b.Once)
	return s.Store.Give(ctx, b)
}

// newInstances returns two services that share a store.
func newInstances(t *testing.T) (a, b *service, shared *sharedStore) {
	t.Helper()
	db := testkit.Database(t)
	policies := []ratelimit.Policy{{Name: "w", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "1h"}, {Name: "slots", Algorithm: ratelimit.Concurrency, Limit: 10}}
	if _, err := db.Exec(t.Context(), `INSERT INTO plans (name, policies) VALUES ('p', $1)`, policies); err != nil {
		t.Fatal(err)
	}
	shared = &sharedStore{Store: memory.New(), records: map[string][]byte{}}
	instance := func() *service {
		plans, err := quota.NewPlanCache(db, quota.NewEnforcementMode(db, noInvalidator{}), quota.CacheConfig{TTL: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(plans.Close)
		s := &service{now: time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)}
		now := func() time.Time { return s.now }
		s.Service = limits.New(ratelimit.New(shared, ratelimit.WithClock(now)), plans, now, func(*ratelimit.Decision) {}, []byte("key"), shared)
		return s
	}
	return instance(), instance(), shared
}

// remaining returns the units and slots that remain.
func (s *service) remaining(t *testing.T) [2]int64 {
	t.Helper()
	d, _, _, err := s.Reserve(t.Context(), models.Check{Owner: "o", Subject: "s", Plan: "p"})
	if err != nil {
		t.Fatal(err)
	}
	return [2]int64{d.Statuses()[0].Remaining, d.Statuses()[1].Remaining}
}

func TestService_Commit_on_another_instance(t *testing.T) {
	a, b, _ := newInstances(t)
	id, _ := a.reserve(t, 6)
	if got := b.remaining(t); got != [2]int64{4, 9} {
		t.Errorf("%v remain, want 4 units and 9 slots", got)
	}
	if err := b.Commit(t.Context(), "other", id, 2); !errors.Is(err, models.ErrNotFound) {
		t.Errorf("Commit of another owner = %v, want ErrNotFound", err)
	}
	err := b.Commit(t.Context(), "o", id, ratelimit.MaxCost+1)
	if invalid, ok := errors.AsType[*models.Error](err); !ok || invalid.Kind != models.KindInvalid {
		t.Errorf("Commit above the largest cost = %v, want KindInvalid", err)
	}
	if err := b.Commit(t.Context(), "o", id, 2); err != nil {
		t.Error(err)
	}
	if got := a.remaining(t); got != [2]int64{8, 10} {
		t.Errorf("%v remain, want 8 units and 10 slots", got)
	}
	for _, s := range []*service{a, b} {
		if err := s.Release(t.Context(), "o", id); !errors.Is(err, models.ErrNotFound) {
			t.Errorf("Release after Commit = %v, want ErrNotFound", err)
		}
	}
}

func TestService_Release_once(t *testing.T) {
	a, b, _ := newInstances(t)
	id, _ := a.reserve(t, 6)
	var released atomic.Int64
	var calls sync.WaitGroup
	for _, s := range []*service{a, b} {
		for range 20 {
			calls.Go(func() {
				if err := s.Release(t.Context(), "o", id); err == nil {
					released.Add(1)
				} else if !errors.Is(err, models.ErrNotFound) {
					t.Error(err)
				}
			})
		}
	}
	calls.Wait()
	if got := a.remaining(t); released.Load() != 1 || got != [2]int64{10, 10} {
		t.Errorf("%d releases succeed and %v remain, want 1 and all", released.Load(), got)
	}
}

// TestService_Release_forged checks that nobody can look for the records of others.
func TestService_Release_forged(t *testing.T) {
	a, b, shared := newInstances(t)
	id, _ := a.reserve(t, 6)
	ids := []string{"", "rsv_", id + "a", id[:len(id)-1], "rsv_4clhascy3od6dwbazzhk43y66r"}
	for i := range id {
		other := byte('a')
		if id[i] == other {
			other = 'b'
		}
		ids = append(ids, id[:i]+string(other)+id[i+1:])
	}
	for _, forged := range ids {
		if err := b.Release(t.Context(), "o", forged); !errors.Is(err, models.ErrNotFound) {
			t.Errorf("Release of %s = %v, want ErrNotFound", forged, err)
		}
	}
	if err := b.Release(t.Context(), "other", id); !errors.Is(err, models.ErrNotFound) {
		t.Errorf("Release of another owner = %v, want ErrNotFound", err)
	}
	if shared.reads != 0 {
		t.Errorf("%d records were read, want none", shared.reads)
	}
}

// TestService_records_down checks reservations that are opened, or settled, while
// the records can't be reached. A record whose reply was lost is of no use.
func TestService_records_down(t *testing.T) {
	a, b, shared := newInstances(t)
	early, _ := a.reserve(t, 2)
	shared.setDown(true)
	late, _ := a.reserve(t, 3)
	if err := b.Release(t.Context(), "o", early); !errors.Is(err, models.ErrUnavailable) {
		t.Errorf("Release of a record that can't be read = %v, want ErrUnavailable", err)
	}
	shared.setDown(false)
	if err := b.Release(t.Context(), "o", late); !errors.Is(err, models.ErrNotFound) {
		t.Errorf("Release of a reservation without a record = %v, want ErrNotFound", err)
	}
	if err := a.Release(t.Context(), "o", late); err != nil {
		t.Error(err)
	}
	if err := b.Release(t.Context(), "o", early); err != nil {
		t.Error(err)
	}
	if got := a.remaining(t); got != [2]int64{10, 10} {
		t.Errorf("%v remain, want all", got)
	}
}
