package usage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// observed is the decisions of a limiter on generated traffic.
type observed struct {
	requests, refused int64
	firstRefusal      time.Time
	byPolicy          map[string]int64
	perSecond         map[time.Time]int64 // refused
}

// generate sends 300 seconds of alternating light and heavy traffic to a limiter
// and records it like the middleware.
func generate(t *testing.T, f *fixture, key string, policies []ratelimit.Policy, start time.Time, mixedCosts bool, seed uint64) observed {
	t.Helper()
	random := rand.New(rand.NewPCG(1, seed))
	quota, err := ratelimit.NewQuota(policies, ratelimit.Subjects{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	var now time.Time
	limiter := ratelimit.New(memory.New(), ratelimit.WithClock(func() time.Time { return now }))
	o := observed{byPolicy: map[string]int64{}, perSecond: map[time.Time]int64{}}
	for s := range 300 {
		second := start.Add(time.Duration(s) * time.Second)
		n := random.IntN(8)
		if s/7%3 == 0 {
			n = 15 + random.IntN(30)
		}
		offsets := make([]int, n)
		for i := range offsets {
			offsets[i] = random.IntN(1000)
		}
		for ms := range 1000 {
			for _, offset := range offsets {
				if offset != ms {
					continue
				}
				now = second.Add(time.Duration(ms) * time.Millisecond)
				route := read
				if mixedCosts && random.IntN(5) == 0 {
					route = write
				}
				outcome := ratelimit.Outcome(max(0, random.IntN(12)-9)) // one in six is not Succeeded
				var r ratelimit.Reservation
				if err := limiter.Reserve(t.Context(), &r, quota, string(route.Group), route.Cost); err != nil {
					t.Fatal(err)
				}
				o.requests++
				if !r.Decision.Allowed {
					o.refused++
					o.perSecond[second]++
					if o.firstRefusal.IsZero() {
						o.firstRefusal = second
					}
					for _, name := range r.Decision.Violated() {
						o.byPolicy[name]++
					}
				} else {
					_ = r.Settle(t.Context(), outcome)
				}
				f.Record(request(key), route, now, outcome, &r.Decision)
			}
		}
	}
	f.flush()
	return o
}

func parse(t *testing.T, policies string) []ratelimit.Policy {
	t.Helper()
	parsed, err := ratelimit.ParsePolicies([]byte(policies))
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// TestSimulate_CurrentPolicies checks that simulating the policies that decided
// the traffic reproduces its refusals. Arrival times within a second are not
// recorded, which shifts at most the units of a second and doesn't accumulate.
// With mixed costs the order within a second is unknown too, so that an expensive
// request may pass instead of several cheap ones.
func TestSimulate_CurrentPolicies(t *testing.T) {
	f := newFixture(t, "k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8")
	start := time.Now().UTC().Truncate(time.Minute).Add(-30 * time.Minute)
	for i, test := range []struct {
		name, policies string
		mixedCosts     bool
		tolerance      int64 // requests
	}{
		{"token_bucket", `[{"name":"burst","algorithm":"token_bucket","limit":10,"period":"1s","burst":20}]`, false, 10},
		{"leaky_bucket", `[{"name":"queue","algorithm":"leaky_bucket","limit":10,"period":"1s","max_wait":"2s"}]`, false, 10},
		{"fixed_window", `[{"name":"minute","algorithm":"fixed_window","limit":300,"period":"1m"}]`, false, 0},
		{"sliding_window", `[{"name":"minute","algorithm":"sliding_window","limit":300,"period":"1m"}]`, false, 5},
		{"sliding_log", `[{"name":"log","algorithm":"sliding_log","limit":100,"period":"10s"}]`, false, 10},
		{"calendar", `[{"name":"day","algorithm":"calendar","limit":900,"period":"day"}]`, false, 0},
		{"several", `[{"name":"burst","algorithm":"token_bucket","limit":10,"period":"1s","burst":20},
			{"name":"minute","algorithm":"sliding_window","limit":300,"period":"1m"}]`, false, 10},
		{"mixed_costs", `[{"name":"burst","algorithm":"token_bucket","limit":10,"period":"1s","burst":20}]`, true, 20}, // 1 %
		{"group", `[{"name":"writes","algorithm":"fixed_window","limit":60,"period":"1m","group":"orders:write"}]`, true, 5},
	} {
		t.Run(test.name, func(t *testing.T) {
			policies := parse(t, test.policies)
			key := fmt.Sprintf("k%d", i)
			want := generate(t, f, key, policies, start, test.mixedCosts, uint64(i))
			got, err := f.Simulate(t.Context(), key, policies, start, start.Add(300*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d requests, %d refused, %d in the simulation, by policy %v and %v", want.requests, want.refused, got.WouldRefuse, want.byPolicy, got.ByPolicy)
			if want.refused < 20 {
				t.Fatalf("the traffic has only %d refusals", want.refused)
			}
			if got.Requests != want.requests || difference(got.WouldRefuse, want.refused) > test.tolerance {
				t.Errorf("%d requests, %d refused, want %d and %d", got.Requests, got.WouldRefuse, want.requests, want.refused)
			}
			if got.FirstRefusalAt == nil || got.FirstRefusalAt.Sub(want.firstRefusal).Abs() > time.Second {
				t.Errorf("first refusal at %v, want %s", got.FirstRefusalAt, want.firstRefusal)
			}
			for name, n := range want.byPolicy { // the order within a second decides which policy refuses
				if difference(got.ByPolicy[name], n) > 3*test.tolerance {
					t.Errorf("%s refuses %d, want %d", name, got.ByPolicy[name], n)
				}
			}
			checkTimeline(t, got, want, 2*test.tolerance)
		})
	}
}

// checkTimeline compares the refusals up to each second of the timeline, so that
// accumulating errors are found.
func checkTimeline(t *testing.T, got models.Simulation, want observed, tolerance int64) {
	t.Helper()
	var requests, simulated, refused int64
	for _, u := range got.Timeline {
		requests += u.Requests
		simulated += u.WouldRefuse
		refused += want.perSecond[u.Start]
		if difference(simulated, refused) > tolerance {
			t.Errorf("%d refusals until %s, want %d", simulated, u.Start, refused)
			return
		}
	}
	if requests != got.Requests || simulated != got.WouldRefuse {
		t.Errorf("the timeline has %d requests and %d refusals, want %d and %d", requests, simulated, got.Requests, got.WouldRefuse)
	}
}

func difference(a, b int64) int64 { return max(a-b, b-a) }

func TestSimulate_OtherPoliciesAndRanges(t *testing.T) {
	f := newFixture(t, "k")
	start := time.Now().UTC().Truncate(time.Hour).Add(-2 * time.Hour)
	for i := range 100 { // one per second, none refused
		f.Record(request("k"), read, start.Add(time.Duration(i)*time.Second), ratelimit.Succeeded, allowed)
	}
	f.flush()
	simulate := func(from, to time.Duration, policies string) models.Simulation {
		t.Helper()
		s, err := f.Simulate(t.Context(), "k", parse(t, policies), start.Add(from), start.Add(to))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	const minute = `{"name":"minute","algorithm":"fixed_window","limit":50,"period":"1m"}`
	s := simulate(0, time.Hour, `[`+minute+`,{"name":"tight","algorithm":"fixed_window","limit":30,"period":"1m","mode":"shadow"}]`)
	// The 40 requests of the second minute fit in its 50.
	if s.Requests != 100 || s.WouldRefuse != 10 || s.ByPolicy["minute"] != 10 || s.ByPolicy["tight"] != 30+10 ||
		s.FirstRefusalAt == nil || !s.FirstRefusalAt.Equal(start.Add(50*time.Second)) {
		t.Errorf("%+v", s)
	}
	// Counters include the requests before the range.
	if s := simulate(50*time.Second, 60*time.Second, `[`+minute+`]`); s.Requests != 10 || s.WouldRefuse != 10 || len(s.Timeline) != 10 {
		t.Errorf("%+v", s)
	}
	if s := simulate(0, 7*24*time.Hour, `[`+minute+`]`); s.WouldRefuse != 10 || len(s.Timeline) != 1 || !s.Timeline[0].Start.Equal(start) {
		t.Errorf("%+v", s)
	}
	if s := simulate(0, time.Hour, `[]`); s.Requests != 100 || s.WouldRefuse != 0 || s.FirstRefusalAt != nil || s.ByPolicy == nil {
		t.Errorf("%+v", s)
	}
	if s := simulate(-time.Minute, 0, `[`+minute+`]`); s.Requests != 0 || s.Timeline == nil {
		t.Errorf("%+v", s)
	}
}

func TestSimulate_Limits(t *testing.T) {
	f := newFixture(t, "k")
	now := time.Now().UTC().Truncate(time.Second)
	f.exec(`INSERT INTO usage_recent VALUES ('k', $1, 'products:read', 1, $2, 0, 0, 0, 0, 999)`, now.Add(-time.Minute), MaxSimulatedRequests+1)
	var invalid *models.Error
	_, err := f.Simulate(t.Context(), "k", nil, now.Add(-time.Hour), now)
	if !errors.As(err, &invalid) || len(invalid.Faults) != 1 || invalid.Faults[0].Code != "max" {
		t.Errorf("Simulate of too many requests = %v", err)
	}
	_, err = f.Simulate(t.Context(), "k", parse(t, `[{"name":"a","algorithm":"concurrency","limit":2},{"name":"b","algorithm":"concurrency","limit":3}]`), now.Add(-time.Hour), now)
	if !errors.As(err, &invalid) || len(invalid.Faults) != 2 || strings.Join(invalid.Faults[1].Path, ".") != "policies.1.algorithm" {
		t.Errorf("Simulate of concurrency = %v", err)
	}
	f.simulating <- struct{}{} // a running simulation
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Simulate(ctx, "none", nil, now.Add(-time.Hour), now); !errors.Is(err, context.Canceled) {
		t.Errorf("Simulate with a canceled context = %v", err)
	}
	<-f.simulating
}
