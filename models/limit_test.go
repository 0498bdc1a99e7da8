package models

import (
	"encoding/json"
	"testing"
	"time"

	"ratelimiter/ratelimit"
)

func TestLimitsOf(t *testing.T) {
	policy := &ratelimit.Compiled{Policy: ratelimit.Policy{Name: "a", Algorithm: ratelimit.FixedWindow, Mode: ratelimit.Enforce, Charge: ratelimit.Requests}}
	got, err := json.Marshal(LimitsOf([]ratelimit.Status{
		{Policy: policy, Limit: 5, Remaining: 2, ResetAfter: 45*time.Second + 22*time.Millisecond + 1, RetryAfter: 1},
		{Policy: policy, Limit: 5, RetryAfter: ratelimit.Never},
	}))
	want := `[{"policy":"a","algorithm":"fixed_window","limit":5,"remaining":2,"reset_after":45.023,"retry_after":0.001,"mode":"enforce","charge":"requests"},` +
		`{"policy":"a","algorithm":"fixed_window","limit":5,"remaining":0,"reset_after":0,"retry_after":null,"mode":"enforce","charge":"requests"}]`
	if string(got) != want || err != nil {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
}
