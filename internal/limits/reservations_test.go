package limits_test

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// places is the number of reservations that can be open.
const places = 50_000

// fill opens reservations of the owners in turn until all of them are refused, and
// returns their ids by owner.
func (s *service) fill(t *testing.T, owners []string) map[string][]string {
	t.Helper()
	open := map[string][]string{}
	for full := 0; full < len(owners); {
		full = 0
		for _, owner := range owners {
			_, id, _, err := s.Reserve(t.Context(), models.Check{Owner: owner, Subject: "s", Plan: "p", Cost: 1})
			if id != "" {
				open[owner] = append(open[owner], id)
				continue
			}
			if overloaded, ok := errors.AsType[*models.Error](err); !ok || overloaded.Kind != models.KindOverloaded || overloaded.Code != "too_many_reservations" {
				t.Fatalf("after %d reservations: %v, want too_many_reservations", len(open[owner]), err)
			}
			full++
		}
	}
	return open
}

func names(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint("greedy ", i)
	}
	return list
}

func TestService_Reserve_fair_places(t *testing.T) {
	for _, greedy := range []int{1, 5, 50, 500} {
		t.Run(strconv.Itoa(greedy), func(t *testing.T) {
			s := newService(t, ratelimit.Policy{Name: "w", Algorithm: ratelimit.FixedWindow, Limit: 1_000_000, Period: "1h"})
			owners := names(greedy)
			open := s.fill(t, owners)
			share := places / (greedy + 1)
			for owner, ids := range open {
				if len(ids) < share-1 || len(ids) > share+1 {
					t.Fatalf("%s has %d places of %d, want about %d", owner, len(ids), places, share)
				}
			}
			if got := len(s.fill(t, []string{"newcomer"})["newcomer"]); got < share/2 || got < 40 {
				t.Errorf("a newcomer has %d places, want half of %d", got, share)
			}
			for _, id := range open[owners[0]] {
				if err := s.Release(t.Context(), owners[0], id); err != nil {
					t.Fatal(err)
				}
			}
			if got := len(s.fill(t, owners[:1])[owners[0]]); got < share/2 {
				t.Errorf("after a release of all, %d places, want half of %d", got, share)
			}
		})
	}
}

// Refused and failed reservations take no place.
func TestService_Reserve_refused_takes_no_place(t *testing.T) {
	s := newService(t, ratelimit.Policy{Name: "w", Algorithm: ratelimit.FixedWindow, Limit: 1, Period: "1h"})
	s.reserve(t, 1)
	for range places {
		d, id, _, err := s.Reserve(t.Context(), models.Check{Owner: "o", Subject: "s", Plan: "p", Cost: 1})
		if err != nil || d.Allowed || id != "" {
			t.Fatalf("a spent quota: %+v, %q, %v; want a refusal", d.Statuses(), id, err)
		}
	}
}

// TestService_Reserve_memory measures the largest reservations.
func TestService_Reserve_memory(t *testing.T) {
	policies := make([]ratelimit.Policy, ratelimit.MaxPolicies)
	for i := range policies {
		policies[i] = ratelimit.Policy{Name: fmt.Sprint("p", i), Algorithm: ratelimit.FixedWindow, Limit: 1_000_000, Period: "1h"}
	}
	s := newService(t, policies...)
	// The characters that take most when quoted.
	check := models.Check{Owner: strings.Repeat("\U0010ffff", 100), Subject: strings.Repeat("\U0010ffff", 128), Plan: "p", Cost: 1}
	open := func(n int) {
		for range n {
			if _, id, _, err := s.Reserve(t.Context(), check); err != nil || id == "" {
				t.Fatal(id, err)
			}
		}
	}
	open(1000)
	const n = 10_000
	before := heap()
	open(n)
	perReservation := (heap() - before) / n
	t.Logf("%d bytes per reservation", perReservation)
	if perReservation > 6000 {
		t.Errorf("%d bytes per reservation, want at most 6000", perReservation)
	}
	runtime.KeepAlive(s)
}

// heap returns the size of the live heap in bytes.
func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
