package ratelimit_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"
	"pgregory.net/rapid"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// everyAlgorithm is one policy of each algorithm.
var everyAlgorithm = []ratelimit.Policy{
	{Name: "burst", Algorithm: ratelimit.TokenBucket, Limit: 10, Period: "1s", Burst: 20},
	{Name: "queue", Algorithm: ratelimit.LeakyBucket, Limit: 30, Period: "1500ms"},
	{Name: "fixed", Algorithm: ratelimit.FixedWindow, Limit: 40, Period: "1h"},
	{Name: "minute", Algorithm: ratelimit.SlidingWindow, Limit: 300, Period: "1m"},
	{Name: "log", Algorithm: ratelimit.SlidingLog, Limit: 50, Period: "10s"},
	{Name: "monthly", Algorithm: ratelimit.Calendar, Limit: 10000, Period: "month"},
	{Name: "parallel", Algorithm: ratelimit.Concurrency, Limit: 8},
}

func TestHeaderFields_AllAlgorithms(t *testing.T) {
	clock := newTestClock()
	l := ratelimit.New(memory.New(), ratelimit.WithClock(clock.now))
	q := mustQuota(t, everyAlgorithm...)
	wantPolicy := `"burst";q=20;w=2, "queue";q=30;w=2, "fixed";q=40;w=3600, "minute";q=300;w=60, ` +
		`"log";q=50;w=10, "monthly";q=10000, "parallel";q=8;qu="concurrent-requests"`
	if got := q.PolicyField(""); got != wantPolicy {
		t.Errorf("PolicyField =\n%s, want\n%s", got, wantPolicy)
	}
	if got := q.PolicyFieldValues(""); len(got) != 1 || got[0] != wantPolicy {
		t.Errorf("PolicyFieldValues = %q", got)
	}
	var r ratelimit.Reservation
	if err := l.Reserve(ctx, &r, q, "", 3); err != nil {
		t.Fatal(err)
	}
	want := `"burst";r=17;t=1, "queue";r=18;t=1, "fixed";r=37;t=3600, "minute";r=297;t=60, ` +
		`"log";r=47;t=10, "monthly";r=9997;t=2678400, "parallel";r=7`
	if got := string(r.Decision.AppendField(nil)); got != want {
		t.Errorf("AppendField =\n%s, want\n%s", got, want)
	}
}

// TestHeaderFields_EffectiveWindow checks t of the RateLimit field, and that the
// legacy reset stays ResetAfter.
func TestHeaderFields_EffectiveWindow(t *testing.T) {
	type spend struct {
		pause        time.Duration
		cost, actual int64 // reserved and committed
	}
	for _, c := range []struct {
		name   string
		policy ratelimit.Policy
		spends []spend
		pause  time.Duration
		want   string
		reset  int64
	}{
		{"token_bucket_full", ratelimit.Policy{Algorithm: ratelimit.TokenBucket, Limit: 1, Period: "10s", Burst: 5},
			nil, 0, `"p";r=5;t=10`, 0},
		{"token_bucket", ratelimit.Policy{Algorithm: ratelimit.TokenBucket, Limit: 1, Period: "10s", Burst: 5},
			[]spend{{0, 3, 3}}, 0, `"p";r=2;t=10`, 30},
		{"token_bucket_between_units", ratelimit.Policy{Algorithm: ratelimit.TokenBucket, Limit: 1, Period: "10s", Burst: 5},
			[]spend{{0, 3, 3}}, 4 * time.Second, `"p";r=2;t=6`, 26},
		{"token_bucket_in_debt", ratelimit.Policy{Algorithm: ratelimit.TokenBucket, Limit: 1, Period: "10s", Burst: 5},
			[]spend{{0, 3, 9}}, 4 * time.Second, `"p";r=0;t=46`, 86},
		{"leaky_bucket_empty", ratelimit.Policy{Algorithm: ratelimit.LeakyBucket, Limit: 6, Period: "1m", MaxWait: "35s"},
			nil, 0, `"p";r=4;t=10`, 0},
		{"leaky_bucket", ratelimit.Policy{Algorithm: ratelimit.LeakyBucket, Limit: 6, Period: "1m", MaxWait: "35s"},
			[]spend{{0, 2, 2}}, 0, `"p";r=2;t=5`, 20},
		{"leaky_bucket_full", ratelimit.Policy{Algorithm: ratelimit.LeakyBucket, Limit: 6, Period: "1m", MaxWait: "5m"},
			[]spend{{0, 6, 6}}, time.Second, `"p";r=0;t=9`, 59},
		{"fixed_window", ratelimit.Policy{Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "1m"},
			[]spend{{0, 1, 1}}, 15 * time.Second, `"p";r=9;t=45`, 45},
		{"calendar", ratelimit.Policy{Algorithm: ratelimit.Calendar, Limit: 10, Period: "day"},
			[]spend{{0, 1, 1}}, 15 * time.Hour, `"p";r=9;t=32400`, 32400},
		{"sliding_window_unspent", ratelimit.Policy{Algorithm: ratelimit.SlidingWindow, Limit: 100, Period: "1m"},
			nil, 15 * time.Second, `"p";r=100;t=60`, 0},
		{"sliding_window_first_request", ratelimit.Policy{Algorithm: ratelimit.SlidingWindow, Limit: 100, Period: "1m"},
			[]spend{{18 * time.Second, 1, 1}}, 0, `"p";r=99;t=60`, 60},
		{"sliding_window_estimate", ratelimit.Policy{Algorithm: ratelimit.SlidingWindow, Limit: 100, Period: "1m"},
			[]spend{{0, 10, 10}, {50 * time.Second, 40, 40}, {30 * time.Second, 1, 1}}, 10 * time.Second, `"p";r=74;t=2`, 30},
		{"sliding_window_exact", ratelimit.Policy{Algorithm: ratelimit.SlidingWindow, Limit: 10, Period: "1m"},
			[]spend{{0, 1, 1}, {30 * time.Second, 2, 2}}, 40 * time.Second, `"p";r=8;t=20`, 20},
		{"sliding_log_unspent", ratelimit.Policy{Algorithm: ratelimit.SlidingLog, Limit: 10, Period: "1m"},
			nil, 0, `"p";r=10;t=60`, 0},
		{"sliding_log", ratelimit.Policy{Algorithm: ratelimit.SlidingLog, Limit: 10, Period: "1m"},
			[]spend{{0, 1, 1}, {30 * time.Second, 2, 2}}, 10 * time.Second, `"p";r=7;t=20`, 20},
		{"sliding_log_in_debt", ratelimit.Policy{Algorithm: ratelimit.SlidingLog, Limit: 10, Period: "1m"},
			[]spend{{0, 1, 1}, {30 * time.Second, 2, 15}}, 10 * time.Second, `"p";r=0;t=50`, 20},
		{"concurrency", ratelimit.Policy{Algorithm: ratelimit.Concurrency, Limit: 10}, nil, 0, `"p";r=10`, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			clock := newTestClock()
			l := ratelimit.New(memory.New(), ratelimit.WithClock(clock.now))
			c.policy.Name = "p"
			q := mustQuota(t, c.policy)
			for _, s := range c.spends {
				clock.advance(s.pause)
				var r ratelimit.Reservation
				if err := l.Reserve(ctx, &r, q, "", s.cost); err != nil || !r.Decision.Allowed {
					t.Fatal(err, r.Decision.Statuses())
				}
				if err := r.Commit(ctx, s.actual); err != nil {
					t.Fatal(err)
				}
			}
			clock.advance(c.pause)
			d, err := l.Peek(ctx, q, "")
			if err != nil {
				t.Fatal(err)
			}
			if got := string(d.AppendField(nil)); got != c.want {
				t.Errorf("AppendField = %s, want %s", got, c.want)
			}
			if _, _, reset, _ := d.Legacy(); reset != c.reset {
				t.Errorf("legacy reset = %d, want %d", reset, c.reset)
			}
		})
	}
}

// TestDecision_RetryAfter_effectiveWindow refuses requests at any state. The
// retry may not be earlier than t of a violated policy.
func TestDecision_RetryAfter_effectiveWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clock := newTestClock()
		l := ratelimit.New(memory.New(), ratelimit.WithClock(clock.now))
		policies := rapid.SliceOfNDistinct(validPolicy(), 1, 4, func(p ratelimit.Policy) string { return p.Name }).Draw(t, "policies")
		q, err := ratelimit.NewQuota(policies, ratelimit.Subjects{})
		if err != nil {
			t.Fatal(err)
		}
		var r ratelimit.Reservation
		for range 20 {
			if err := l.Reserve(ctx, &r, q, "", rapid.Int64Range(0, 20).Draw(t, "cost")); err != nil {
				t.Fatal(err)
			}
			items := parseList(t, string(r.Decision.AppendField(nil)))
			after, ok := r.Decision.RetryAfter()
			for i, s := range r.Decision.Statuses() {
				if at, _ := items[i].(httpsfv.Item).Params.Get("t"); ok && !s.Allowed && at != nil && at.(int64) > ratelimit.RetryAfterSeconds(after, 0) {
					t.Fatalf("Retry-After %v is before t=%v of %+v", after, at, s)
				}
			}
			clock.advance(time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "pause")))
		}
	})
}

// TestHeaderFields_Parse parses both fields with an independent implementation of
// structured fields.
func TestHeaderFields_Parse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clock := newTestClock()
		l := ratelimit.New(memory.New(), ratelimit.WithClock(clock.now))
		policies := rapid.SliceOfNDistinct(validPolicy(), 1, 6, func(p ratelimit.Policy) string { return p.Name }).Draw(t, "policies")
		q, err := ratelimit.NewQuota(policies, ratelimit.Subjects{})
		if err != nil {
			t.Fatal(err)
		}
		var r ratelimit.Reservation
		for range 3 {
			if err := l.Reserve(ctx, &r, q, "", rapid.Int64Range(0, ratelimit.MaxCost).Draw(t, "cost")); err != nil {
				t.Fatal(err)
			}
			clock.advance(time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "pause")))
		}
		enforced := r.Decision.Statuses()
		if len(enforced) == 0 {
			if q.PolicyField("") != "" || len(r.Decision.AppendField(nil)) != 0 {
				t.Fatal("fields aren't empty without an enforced policy")
			}
			return
		}
		policyItems := parseList(t, q.PolicyField(""))
		items := parseList(t, string(r.Decision.AppendField(nil)))
		if len(policyItems) != len(enforced) || len(items) != len(enforced) {
			t.Fatalf("%d and %d items for %d policies", len(policyItems), len(items), len(enforced))
		}
		for i, s := range enforced {
			checkItems(t, s, policyItems[i].(httpsfv.Item), items[i].(httpsfv.Item))
		}
	})
}

func parseList(t *rapid.T, field string) httpsfv.List {
	list, err := httpsfv.UnmarshalList([]string{field})
	if err != nil {
		t.Fatalf("%s: %v", field, err)
	}
	return list
}

func checkItems(t *rapid.T, s ratelimit.Status, policy, item httpsfv.Item) {
	if policy.Value != s.Policy.Name || item.Value != s.Policy.Name {
		t.Fatalf("%v and %v for %s", policy.Value, item.Value, s.Policy.Name)
	}
	number := func(i httpsfv.Item, key string) int64 {
		v, ok := i.Params.Get(key)
		if !ok {
			return -1
		}
		return v.(int64)
	}
	if number(policy, "q") != s.Limit || number(item, "r") != s.Remaining {
		t.Fatalf("q=%d r=%d for %+v", number(policy, "q"), number(item, "r"), s)
	}
	wantWindow := s.Policy.Algorithm != ratelimit.Calendar && s.Policy.Algorithm != ratelimit.Concurrency
	if (number(policy, "w") > 0) != wantWindow {
		t.Fatalf("w=%d for %s", number(policy, "w"), s.Policy.Algorithm)
	}
	want := int64((s.EffectiveWindow-1)/time.Second) + 1
	if s.Policy.Algorithm == ratelimit.Concurrency {
		want = -1
	}
	if number(item, "t") != want || want == 0 {
		t.Fatalf("t=%d for %+v", number(item, "t"), s)
	}
}

func TestHeaderNames_Canonical(t *testing.T) {
	for _, name := range []string{
		ratelimit.HeaderRateLimit, ratelimit.HeaderRateLimitPolicy,
		ratelimit.HeaderLegacyLimit, ratelimit.HeaderLegacyRemaining, ratelimit.HeaderLegacyReset,
	} {
		if http.CanonicalHeaderKey(name) != name {
			t.Errorf("%s is not canonical", name)
		}
	}
}

func TestDecision_Legacy(t *testing.T) {
	clock := newTestClock()
	l := ratelimit.New(memory.New(), ratelimit.WithClock(clock.now))
	q := mustQuota(t,
		ratelimit.Policy{Name: "wide", Algorithm: ratelimit.FixedWindow, Limit: 1000, Period: "1h"},
		ratelimit.Policy{Name: "tight", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "1m"},
		ratelimit.Policy{Name: "longer", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "2m"},
		ratelimit.Policy{Name: "ghost", Algorithm: ratelimit.FixedWindow, Limit: 2, Period: "1m", Mode: ratelimit.Shadow},
	)
	var r ratelimit.Reservation
	if err := l.Reserve(ctx, &r, q, "", 4); err != nil {
		t.Fatal(err)
	}
	limit, remaining, reset, ok := r.Decision.Legacy()
	if limit != 10 || remaining != 6 || reset != 120 || !ok {
		t.Errorf("Legacy = %d, %d, %d, %v, want the tightest policy's 10, 6, 120, true", limit, remaining, reset, ok)
	}
	if err := l.Reserve(ctx, &r, mustQuota(t), "", 4); err != nil {
		t.Fatal(err)
	}
	if _, _, _, ok := r.Decision.Legacy(); ok {
		t.Error("Legacy is ok without a policy")
	}
}

func TestRetryAfterSeconds(t *testing.T) {
	for _, c := range []struct {
		after     time.Duration
		random    uint64
		low, high int64
	}{
		{0, 7, 0, 0},
		{1, 12345, 1, 1},
		{time.Second, 999, 1, 1},
		{time.Second + 1, 999, 2, 2},
		{9 * time.Second, 999, 9, 9},
		{100 * time.Second, 0, 100, 100},
		{100 * time.Second, 10, 110, 110},
		{100 * time.Second, 11, 100, 100},
		{99*time.Second + 1, 1<<64 - 1, 100, 110},
		{30 * 24 * time.Hour, 60, 30*24*3600 + 60, 30*24*3600 + 60},
		{30 * 24 * time.Hour, 61, 30 * 24 * 3600, 30 * 24 * 3600},
	} {
		got := ratelimit.RetryAfterSeconds(c.after, c.random)
		if got < c.low || got > c.high {
			t.Errorf("RetryAfterSeconds(%v, %d) = %d", c.after, c.random, got)
		}
	}
}
