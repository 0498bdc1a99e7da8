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

// happened is what a real limiter did with a load.
type happened struct {
	requests, refused int64
	first             time.Time
	byPolicy          map[string]int64
	perSecond         map[time.Time]int64 // refused
}

// load sends seconds of traffic, calm and busy in turn, through a real limiter,
// and records it as the middleware does.
func load(t *testing.T, f *fixture, key string, policies []ratelimit.Policy, start time.Time, mixed bool, seed uint64) happened {
	t.Helper()
	random := rand.New(rand.NewPCG(1, seed))
	quota, err := ratelimit.NewQuota(policies, ratelimit.Subjects{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	var now time.Time
	limiter := ratelimit.New(memory.New(), ratelimit.WithClock(func() time.Time { return now }))
	h := happened{byPolicy: map[string]int64{}, perSecond: map[time.Time]int64{}}
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
				if mixed && random.IntN(5) == 0 {
					route = write
				}
				outcome := ratelimit.Outcome(max(0, random.IntN(12)-9)) // one in six is no success
				var r ratelimit.Reservation
				if err := limiter.Reserve(t.Context(), &r, quota, string(route.Group), route.Cost); err != nil {
					t.Fatal(err)
				}
				h.requests++
				if !r.Decision.Allowed {
					h.refused++
					h.perSecond[second]++
					if h.first.IsZero() {
						h.first = second
					}
					for _, name := range r.Decision.Violated() {
						h.byPolicy[name]++
					}
				} else {
					_ = r.Settle(t.Context(), outcome)
				}
				f.Record(request(key), route, now, outcome, &r.Decision)
			}
		}
	}
	f.flush()
	return h
}

func parse(t *testing.T, policies string) []ratelimit.Policy {
	t.Helper()
	parsed, err := ratelimit.ParsePolicies([]byte(policies))
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// The policy that was in force, replayed, gets what really happened, but for
// what came earlier or later within its second: that moves at most a second's
// units, and doesn't add up. Where costs are mixed, their order within a busy
// second isn't known, and dear requests may pass in the place of several cheap
// ones.
func TestASimulationOfThePolicyInForceGetsWhatHappened(t *testing.T) {
	f := newFixture(t)
	start := time.Now().UTC().Truncate(time.Minute).Add(-30 * time.Minute)
	for i, test := range []struct {
		name, policies string
		mixed          bool  // costs
		within         int64 // requests
	}{
		{"token_bucket", `[{"name":"burst","algorithm":"token_bucket","limit":10,"period":"1s","burst":20}]`, false, 10},
		{"leaky_bucket", `[{"name":"queue","algorithm":"leaky_bucket","limit":10,"period":"1s","max_wait":"2s"}]`, false, 10},
		{"fixed_window", `[{"name":"minute","algorithm":"fixed_window","limit":300,"period":"1m"}]`, false, 0},
		{"sliding_window", `[{"name":"minute","algorithm":"sliding_window","limit":300,"period":"1m"}]`, false, 5},
		{"sliding_log", `[{"name":"log","algorithm":"sliding_log","limit":100,"period":"10s"}]`, false, 10},
		{"calendar", `[{"name":"day","algorithm":"calendar","limit":900,"period":"day"}]`, false, 0},
		{"several", `[{"name":"burst","algorithm":"token_bucket","limit":10,"period":"1s","burst":20},
			{"name":"minute","algorithm":"sliding_window","limit":300,"period":"1m"}]`, false, 10},
		{"mixed costs", `[{"name":"burst","algorithm":"token_bucket","limit":10,"period":"1s","burst":20}]`, true, 20}, // 1 %
		{"one group", `[{"name":"writes","algorithm":"fixed_window","limit":60,"period":"1m","group":"orders:write"}]`, true, 5},
	} {
		t.Run(test.name, func(t *testing.T) {
			policies := parse(t, test.policies)
			key := fmt.Sprintf("k%d", i)
			real := load(t, f, key, policies, start, test.mixed, uint64(i))
			got, err := f.Simulate(t.Context(), key, policies, start, start.Add(300*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d requests; refused %d, simulated %d; %v and %v", real.requests, real.refused, got.WouldRefuse, real.byPolicy, got.ByPolicy)
			if real.refused < 20 {
				t.Fatalf("the load is no test: %d were refused", real.refused)
			}
			if got.Requests != real.requests || off(got.WouldRefuse, real.refused) > test.within {
				t.Errorf("%d requests, %d refused; really %d and %d", got.Requests, got.WouldRefuse, real.requests, real.refused)
			}
			if got.FirstRefusalAt == nil || got.FirstRefusalAt.Sub(real.first).Abs() > time.Second {
				t.Errorf("first refusal at %v; really at %s", got.FirstRefusalAt, real.first)
			}
			for name, n := range real.byPolicy { // which of two refuses is decided within the second
				if off(got.ByPolicy[name], n) > 3*test.within {
					t.Errorf("%s would refuse %d; really %d", name, got.ByPolicy[name], n)
				}
			}
			checkTimeline(t, got, real, 2*test.within)
		})
	}
}

// checkTimeline compares the timeline with what happened, from its beginning to
// each of its seconds: errors must not add up.
func checkTimeline(t *testing.T, got models.Simulation, real happened, within int64) {
	t.Helper()
	var requests, simulated, really int64
	for _, u := range got.Timeline {
		requests += u.Requests
		simulated += u.WouldRefuse
		really += real.perSecond[u.Start]
		if off(simulated, really) > within {
			t.Errorf("until %s %d would be refused; really %d", u.Start, simulated, really)
			return
		}
	}
	if requests != got.Requests || simulated != got.WouldRefuse {
		t.Errorf("the timeline has %d requests and %d refused; want %d and %d", requests, simulated, got.Requests, got.WouldRefuse)
	}
}

func off(a, b int64) int64 { return max(a-b, b-a) }

func TestASimulationAnswersForOtherPoliciesAndRanges(t *testing.T) {
	f := newFixture(t)
	start := time.Now().UTC().Truncate(time.Hour).Add(-2 * time.Hour)
	for i := range 100 { // one a second, none refused
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
	// Of the second minute's 40, all fit into 50.
	if s.Requests != 100 || s.WouldRefuse != 10 || s.ByPolicy["minute"] != 10 || s.ByPolicy["tight"] != 30+10 ||
		s.FirstRefusalAt == nil || !s.FirstRefusalAt.Equal(start.Add(50*time.Second)) {
		t.Errorf("%+v", s)
	}
	// The counters of a range know what came before it.
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

func TestASimulationsWorkIsBounded(t *testing.T) {
	f := newFixture(t)
	now := time.Now().UTC().Truncate(time.Second)
	f.exec(`INSERT INTO usage_seconds VALUES ('k', $1, 'products:read', 1, $2, 0, 0, 0, 0, 999)`, now.Add(-time.Minute), MaxSimulatedRequests+1)
	var invalid *models.Error
	_, err := f.Simulate(t.Context(), "k", nil, now.Add(-time.Hour), now)
	if !errors.As(err, &invalid) || len(invalid.Faults) != 1 || invalid.Faults[0].Code != "max" {
		t.Errorf("too many requests: %v", err)
	}
	_, err = f.Simulate(t.Context(), "k", parse(t, `[{"name":"a","algorithm":"concurrency","limit":2},{"name":"b","algorithm":"concurrency","limit":3}]`), now.Add(-time.Hour), now)
	if !errors.As(err, &invalid) || len(invalid.Faults) != 2 || strings.Join(invalid.Faults[1].Path, ".") != "policies.1.algorithm" {
		t.Errorf("concurrency: %v", err)
	}
	f.simulating <- struct{}{} // another one runs
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Simulate(ctx, "none", nil, now.Add(-time.Hour), now); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that is gone: %v", err)
	}
	<-f.simulating
}
