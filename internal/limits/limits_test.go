package limits_test

import (
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"ratelimiter/internal/limits"
	"ratelimiter/internal/quota"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// noInvalidator ignores events.
type noInvalidator struct{ models.Invalidator }

// service is a Service with a manually set clock and one plan, "p".
type service struct {
	*limits.Service
	now time.Time
}

func newService(t *testing.T, policies ...ratelimit.Policy) *service {
	t.Helper()
	return newServiceOn(t, memory.New(), policies...)
}

func newServiceOn(t *testing.T, store ratelimit.Store, policies ...ratelimit.Policy) *service {
	t.Helper()
	db := testkit.Database(t)
	if _, err := db.Exec(t.Context(), `INSERT INTO plans (name, policies) VALUES ('p', $1)`, policies); err != nil {
		t.Fatal(err)
	}
	plans, err := quota.NewPlanCache(db, quota.NewEnforcementMode(db, noInvalidator{}), quota.CacheConfig{TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(plans.Close)
	s := &service{now: time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)}
	now := func() time.Time { return s.now }
	s.Service = limits.New(ratelimit.New(store, ratelimit.WithClock(now)), plans, now, func(*ratelimit.Decision) {}, []byte("key"), nil)
	return s
}

// reserve reserves cost and returns the id and the lifetime of the reservation.
func (s *service) reserve(t *testing.T, cost int64) (id string, lifetime time.Duration) {
	t.Helper()
	d, id, expiresAt, err := s.Reserve(t.Context(), models.Check{Owner: "o", Subject: "s", Plan: "p", Cost: cost})
	if err != nil || !d.Allowed || id == "" {
		t.Fatalf("reserve %d: %+v, %q, %v", cost, d.Statuses(), id, err)
	}
	return id, expiresAt.Sub(s.now)
}

func TestService_Reserve_lifetime(t *testing.T) {
	window := ratelimit.Policy{Name: "w", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "1h"}
	slots := func(name string, hold ratelimit.Period) ratelimit.Policy {
		return ratelimit.Policy{Name: name, Algorithm: ratelimit.Concurrency, Limit: 10, Hold: hold}
	}
	shadow := slots("shadow", "20m")
	shadow.Mode = ratelimit.Shadow
	for _, c := range []struct {
		name     string
		policies []ratelimit.Policy
		want     time.Duration
	}{
		{"no_concurrency", []ratelimit.Policy{window}, time.Minute},
		{"short_hold", []ratelimit.Policy{window, slots("a", "10s")}, 10 * time.Second},
		{"long_hold", []ratelimit.Policy{slots("a", "10m"), window}, 10 * time.Minute},
		{"longest_hold", []ratelimit.Policy{slots("a", "10s"), slots("b", "15m"), slots("c", "2m")}, 15 * time.Minute},
		{"default_hold", []ratelimit.Policy{slots("a", "10s"), slots("b", "")}, time.Minute},
		{"shadow_policy", []ratelimit.Policy{slots("a", "10s"), shadow}, 20 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newService(t, c.policies...)
			id, lifetime := s.reserve(t, 1)
			if lifetime != c.want {
				t.Errorf("expires after %v, want %v", lifetime, c.want)
			}
			s.now = s.now.Add(c.want - 1)
			if err := s.Release(t.Context(), "o", id); err != nil {
				t.Errorf("Release before the expiry = %v", err)
			}
			id, _ = s.reserve(t, 1)
			s.now = s.now.Add(c.want)
			if err := s.Release(t.Context(), "o", id); !errors.Is(err, models.ErrNotFound) {
				t.Errorf("Release at the expiry = %v, want ErrNotFound", err)
			}
		})
	}
}

func TestService_Commit_debt(t *testing.T) {
	s := newService(t, ratelimit.Policy{Name: "b", Algorithm: ratelimit.TokenBucket, Limit: 10, Period: "10s"},
		ratelimit.Policy{Name: "slots", Algorithm: ratelimit.Concurrency, Limit: 2})
	remaining := func() (bucket, slots int64) {
		t.Helper()
		d, _, _, err := s.Reserve(t.Context(), models.Check{Owner: "o", Subject: "s", Plan: "p"})
		if err != nil {
			t.Fatal(err)
		}
		return d.Statuses()[0].Remaining, d.Statuses()[1].Remaining
	}
	id, _ := s.reserve(t, 3)
	err := s.Commit(t.Context(), "o", id, ratelimit.MaxCost+1)
	if invalid, ok := errors.AsType[*models.Error](err); !ok || invalid.Kind != models.KindInvalid {
		t.Errorf("Commit above the largest cost = %v, want KindInvalid", err)
	}
	if err := s.Commit(t.Context(), "o", id, 25); err != nil { // the invalid commit left it open
		t.Fatal(err)
	}
	if bucket, slots := remaining(); bucket != 0 || slots != 2 {
		t.Errorf("%d units and %d slots remain, want 0 and 2", bucket, slots)
	}
	s.now = s.now.Add(16 * time.Second) // of 25 units, 16 have drained
	if bucket, _ := remaining(); bucket != 1 {
		t.Errorf("%d units remain, want 1", bucket)
	}
	if err := s.Commit(t.Context(), "o", id, 1); !errors.Is(err, models.ErrNotFound) {
		t.Errorf("second Commit = %v, want ErrNotFound", err)
	}
}

// check takes one unit of a subject and reports whether it was allowed.
func (s *service) check(t *testing.T, owner, subject string) bool {
	t.Helper()
	d, err := s.Check(t.Context(), models.Check{Owner: owner, Subject: subject, Plan: "p", Cost: 1})
	if err != nil {
		t.Fatal(err)
	}
	return d.Allowed
}

// A check has one subject, of which policies per owner are policies too.
func TestService_Check_policy_per_owner(t *testing.T) {
	s := newService(t, ratelimit.Policy{Name: "w", Algorithm: ratelimit.FixedWindow, Limit: 1, Period: "1h", Per: ratelimit.PerOwner})
	if !s.check(t, "o", "a") || s.check(t, "o", "a") || !s.check(t, "o", "b") {
		t.Error("want one unit for each subject")
	}
}

// TestService_Check_flood spends a thousand quotas, then far more subjects of one
// other owner than fit.
func TestService_Check_flood(t *testing.T) {
	const bound, quotas = 16 << 20, 1000
	s := newServiceOn(t, memory.New(memory.WithMaxBytes(bound)), ratelimit.Policy{Name: "w", Algorithm: ratelimit.FixedWindow, Limit: 1, Period: "1h"})
	for i := range quotas {
		s.check(t, fmt.Sprint("owner ", i%10), strconv.Itoa(i))
	}
	for i := range 2 * bound / 100 {
		s.check(t, "flooder", strconv.Itoa(i))
	}
	fresh := 0
	for i := range quotas {
		if s.check(t, fmt.Sprint("owner ", i%10), strconv.Itoa(i)) {
			fresh++
		}
	}
	if fresh > 0 {
		t.Errorf("%d of %d spent quotas are fresh", fresh, quotas)
	}
}
