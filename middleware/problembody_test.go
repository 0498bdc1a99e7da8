package middleware

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// marshaled encodes a problem as encoding/json does.
func marshaled(t *rapid.T, body any) string {
	data, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestProblem_equals_json(t *testing.T) {
	kinds := []string{ProblemBlank, ProblemQuotaExceeded, ProblemReducedCapacity}
	rapid.Check(t, func(t *rapid.T) {
		text := anyText()
		if rapid.Bool().Draw(t, "plain") {
			text = rapid.StringMatching(`[a-z "\\]{0,9}`)
		}
		p := Problem{
			Type: rapid.SampledFrom(kinds).Draw(t, "type"), Title: "Too Many Requests", Status: rapid.IntRange(400, 599).Draw(t, "status"),
			Code: ProblemCode(text.Draw(t, "code")), Detail: text.Draw(t, "detail"), Instance: text.Draw(t, "instance"), RequestID: text.Draw(t, "id"),
		}
		if rapid.IntRange(0, 3).Draw(t, "faults") == 0 {
			p.Errors = []FieldError{{Location: "body", Pointer: text.Draw(t, "pointer"), Code: FaultMin, Message: "m"}}
		}
		quota := QuotaProblem{Problem: p, Cost: rapid.Int64().Draw(t, "cost"), ViolatedPolicies: rapid.SliceOfN(text, 0, 3).Draw(t, "violated")}
		if rapid.IntRange(0, 3).Draw(t, "nil") == 0 {
			quota.ViolatedPolicies = nil
		}
		if rapid.Bool().Draw(t, "retry") {
			seconds := rapid.OneOf(rapid.Float64(), rapid.Map(rapid.Int64(), func(n int64) float64 { return models.Seconds(time.Duration(n)) })).Draw(t, "seconds")
			quota.RetryAfter = &seconds
		}
		if got, want := string(p.appendTo([]byte("before"))), "before"+marshaled(t, p); got != want {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
		if got, want := string(quota.appendTo(nil)), marshaled(t, quota); got != want {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	})
	seconds := 57.25
	usual := QuotaProblem{
		Problem:          Problem{Detail: `Rate limit exceeded: policy "minute" has 2 of 7 units left.`, Instance: "/v1/products/a%20b", RequestID: "req_4CLHASCY3OD6DWBAZZHK43Y66R"},
		ViolatedPolicies: []string{"burst", "minute"}, RetryAfter: &seconds,
	}
	if _, ok := usual.appendMembers(nil); !ok {
		t.Error("the usual 429 isn't encoded by hand")
	}
}

func TestRefusalDetail(t *testing.T) {
	now := time.Unix(1_700_000_080, 0)
	limiter := ratelimit.New(memory.New(), ratelimit.WithClock(func() time.Time { return now }))
	for _, test := range []struct {
		policy ratelimit.Policy
		costs  []int64 // of the requests; the last one is refused
		want   string
	}{
		{
			ratelimit.Policy{Name: "minute", Algorithm: ratelimit.FixedWindow, Limit: 7, Period: ratelimit.Every(time.Minute)}, []int64{5, 5},
			`Rate limit exceeded: policy "minute" has 2 of 7 units left; this request costs 5. Retry in 20 s.`,
		},
		{
			ratelimit.Policy{Name: "small", Algorithm: ratelimit.FixedWindow, Limit: 7, Period: ratelimit.Every(time.Minute)}, []int64{8},
			`Rate limit exceeded: policy "small" has 7 of 7 units left; this request costs 8. It can never pass.`,
		},
		{
			ratelimit.Policy{Name: "parallel", Algorithm: ratelimit.Concurrency, Limit: 2}, []int64{1, 1, 1},
			`Rate limit exceeded: policy "parallel" allows 2 requests at once, and that many are running. Retry in 1 s.`,
		},
	} {
		quota, err := ratelimit.NewQuota([]ratelimit.Policy{test.policy}, ratelimit.Subjects{Key: test.policy.Name})
		if err != nil {
			t.Fatal(err)
		}
		var got string
		for _, cost := range test.costs {
			var r ratelimit.Reservation
			if err := limiter.Reserve(t.Context(), &r, quota, "", cost); err != nil {
				t.Fatal(err)
			}
			if !r.Decision.Allowed {
				got = refusal(&r.Decision, cost).Error()
			}
		}
		if got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
}
