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
	wantReset := int64((s.ResetAfter + time.Second - 1) / time.Second)
	if s.Policy.Algorithm == ratelimit.Concurrency {
		wantReset = -1
	}
	if number(item, "t") != wantReset {
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
	} {
		got := ratelimit.RetryAfterSeconds(c.after, c.random)
		if got < c.low || got > c.high {
			t.Errorf("RetryAfterSeconds(%v, %d) = %d", c.after, c.random, got)
		}
	}
}
