package usage

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// decide returns the decision on request number n of cost 1.
func decide(tb testing.TB, n int, policies string) *ratelimit.Decision {
	tb.Helper()
	parsed, err := ratelimit.ParsePolicies([]byte(policies))
	if err != nil {
		tb.Fatal(err)
	}
	quota, err := ratelimit.NewQuota(parsed, ratelimit.Subjects{Key: "k"})
	if err != nil {
		tb.Fatal(err)
	}
	limiter := ratelimit.New(memory.New(), ratelimit.WithClock(func() time.Time { return time.Unix(1_700_000_000, 0) }))
	r := new(ratelimit.Reservation)
	for range n {
		if err := limiter.Reserve(context.Background(), r, quota, "", 1); err != nil {
			tb.Fatal(err)
		}
	}
	return &r.Decision
}

func refusedBy(tb testing.TB) *ratelimit.Decision {
	return decide(tb, 3, `[{"name":"burst","algorithm":"fixed_window","limit":2,"period":"10s"},
		{"name":"hourly","algorithm":"fixed_window","limit":9,"period":"1h"},
		{"name":"trial","algorithm":"fixed_window","limit":1,"period":"10s","mode":"shadow"}]`)
}

func (f *fixture) refusalsOf(key string, q models.RefusalQuery) models.Page[models.Refusal] {
	f.t.Helper()
	if q.Limit == 0 {
		q.Limit = 100
	}
	page, err := f.Refusals(f.t.Context(), key, q)
	if err != nil {
		f.t.Fatal(err)
	}
	return page
}

func TestRecord_Refusal(t *testing.T) {
	f := newFixture(t, "k")
	now := time.Now().UTC().Truncate(time.Microsecond)
	f.Record(request("k"), read, now, ratelimit.Rejected, refusedBy(t))
	f.flush()
	page := f.refusalsOf("k", models.RefusalQuery{RequestID: "req_1"})
	if len(page.Data) != 1 || len(f.refusalsOf("k", models.RefusalQuery{RequestID: "req_2"}).Data) != 0 {
		t.Fatalf("%+v", page)
	}
	got := page.Data[0]
	if got.RequestID != "req_1" || !got.At.Equal(now) || got.Route != read.Name || strings.Join(got.Violated, ",") != "burst" {
		t.Errorf("%+v", got)
	}
	var limits []map[string]any
	if err := json.Unmarshal(got.Limits, &limits); err != nil || len(limits) != 3 {
		t.Fatalf("%s", got.Limits)
	}
	for i, want := range []map[string]any{
		{"policy": "burst", "algorithm": "fixed_window", "limit": 2.0, "remaining": 0.0, "reset_after": 10.0, "retry_after": 10.0, "mode": "enforce", "charge": "requests"},
		{"policy": "hourly", "algorithm": "fixed_window", "limit": 9.0, "remaining": 7.0, "mode": "enforce", "charge": "requests"},
		{"policy": "trial", "limit": 1.0, "remaining": 0.0, "retry_after": 10.0, "mode": "shadow"},
	} {
		for name, value := range want {
			if limits[i][name] != value {
				t.Errorf("limits[%d].%s = %v, want %v", i, name, limits[i][name], value)
			}
		}
	}
	for _, policy := range []struct {
		name   string
		shadow bool
	}{{"burst", false}, {"trial", true}} {
		if n := f.number(`SELECT refused FROM usage_policies WHERE policy = $1 AND shadow = $2`, policy.name, policy.shadow); n != 1 {
			t.Errorf("%s: refused = %d, want 1", policy.name, n)
		}
	}
	history, err := f.Usage(t.Context(), "k", models.UsageQuery{From: now.Add(-time.Hour), To: now.Add(time.Hour), Bucket: models.BucketDay, Policy: "hourly"})
	if err != nil || len(history) == 0 || history[len(history)-1].Refused != 0 {
		t.Errorf("hourly: Usage = %+v, %v, want no refusals", history, err)
	}
	history, err = f.Usage(t.Context(), "k", models.UsageQuery{From: now.Add(-time.Hour), To: now.Add(time.Hour), Bucket: models.BucketHour, Policy: "trial"})
	if err != nil || len(history) != 1 || history[0].Refused != 1 || history[0].Requests != 1 {
		t.Errorf("trial: Usage = %+v, %v, want one refusal", history, err)
	}
}

func TestRecord_ShadowRefusal(t *testing.T) {
	f := newFixture(t, "k")
	decision := decide(t, 2, `[{"name":"trial","algorithm":"fixed_window","limit":1,"period":"10s","mode":"shadow"}]`)
	f.Record(request("k"), read, time.Now(), ratelimit.Succeeded, decision)
	f.flush()
	page := f.refusalsOf("k", models.RefusalQuery{})
	if len(page.Data) != 1 || len(page.Data[0].Violated) != 0 || !strings.Contains(string(page.Data[0].Limits), `"shadow"`) {
		t.Errorf("%+v", page.Data)
	}
	if got := f.history("k", time.Now(), models.BucketDay); len(got) != 1 || got[0].Refused != 0 || got[0].Allowed != 1 {
		t.Errorf("Usage = %+v, want one allowed request", got)
	}
}

func TestRecord_FloodOfRefusals(t *testing.T) {
	f := newFixture(t, "k", "other")
	decision := refusedBy(t)
	now := time.Now()
	for range 10_000 {
		f.Record(request("k"), read, now, ratelimit.Rejected, decision)
	}
	f.Record(request("other"), read, now, ratelimit.Rejected, decision)
	f.flush()
	// Periodic flushes may have stored maxDetails more each.
	if n := len(f.refusalsOf("k", models.RefusalQuery{}).Data); n < maxDetails || n > 3*maxDetails {
		t.Errorf("%d refusals are stored, want about %d", n, maxDetails)
	}
	if n := len(f.refusalsOf("other", models.RefusalQuery{}).Data); n != 1 {
		t.Errorf("%d refusals of the other key are stored, want 1", n)
	}
	if n := f.number(`SELECT sum(refused) FROM usage_policies WHERE key_id = 'k' AND policy = 'burst'`); n != 10_000 {
		t.Errorf("refused = %d, want 10000", n)
	}
	if got := f.history("k", now, models.BucketDay); got[0].Refused != 10_000 {
		t.Errorf("%+v", got)
	}
}

func TestRefusals_Pages(t *testing.T) {
	f := newFixture(t, "k")
	now := time.Now().Truncate(time.Microsecond)
	f.exec(`INSERT INTO refusals SELECT 'k', $1::timestamptz - (i / 2) * interval '1 second', 'id' || i, 'req' || i, 'GET /x', '{}', '[]'
		FROM generate_series(0, 24) AS i`, now)
	var got []string
	q := models.RefusalQuery{Limit: 10}
	for pages := 1; ; pages++ {
		page := f.refusalsOf("k", q)
		for _, r := range page.Data {
			got = append(got, r.RequestID)
		}
		if page.Next == nil {
			if pages != 3 {
				t.Errorf("%d pages, want 3", pages)
			}
			break
		}
		q.After = page.Next
	}
	if len(got) != 25 || got[0] != "req1" || got[1] != "req0" || got[24] != "req24" {
		t.Errorf("%v", got)
	}
}
