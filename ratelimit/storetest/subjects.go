package storetest

import (
	"fmt"
	"slices"
	"time"

	"ratelimiter/ratelimit"
)

var subjectCases = slices.Concat(
	perAlgorithm("separate_subjects", func(h *harness, p ratelimit.Policy) {
		a := h.quotaFor(ratelimit.Subjects{Key: "a"}, p)
		b := h.quotaFor(ratelimit.Subjects{Key: "b"}, p)
		h.exhaust(a)
		h.mustRefuse(a, 1, p.Name)
		h.wantRemaining(b, 10)
	}),
	perAlgorithm("shared_owner", func(h *harness, p ratelimit.Policy) {
		p.Per = ratelimit.PerOwner
		a := h.quotaFor(ratelimit.Subjects{Key: "a", Owner: "o"}, p)
		b := h.quotaFor(ratelimit.Subjects{Key: "b", Owner: "o"}, p)
		other := h.quotaFor(ratelimit.Subjects{Key: "a", Owner: "p"}, p)
		for range 5 {
			h.mustAllow(a, 1)
			h.mustAllow(b, 1)
		}
		h.mustRefuse(a, 1, p.Name)
		h.mustRefuse(b, 1, p.Name)
		h.wantRemaining(other, 10)
	}),
	perAlgorithm("reset", func(h *harness, p ratelimit.Policy) {
		q := h.quota(p)
		h.exhaust(q)
		h.noError(h.limiter.Reset(ctx, q, p.Name))
		h.wantRemaining(q, 10)
		h.exhaust(q)
		h.mustRefuse(q, 1, p.Name)
	}),
	[]testCase{
		{"rotated_key", rotatedKey},
		{"key_and_owner_with_same_name", func(h *harness) {
			p := ratelimit.Policy{Name: "p", Algorithm: ratelimit.FixedWindow, Limit: 2, Period: "10s"}
			key := h.quotaFor(ratelimit.Subjects{Key: "x", Owner: "x"}, p)
			p.Per = ratelimit.PerOwner
			owner := h.quotaFor(ratelimit.Subjects{Key: "x", Owner: "x"}, p)
			h.mustAllow(key, 2)
			h.wantRemaining(owner, 2)
		}},
		{"all_or_nothing_over_key_and_owner", keyAndOwner},
		{"reset_some_policies", resetSome},
		{"many_subjects", manySubjects},
	},
)

// rotatedKey spends one subject through two quotas, as before and after the
// rotation of a key.
func rotatedKey(h *harness) {
	p := ratelimit.Policy{Name: "p", Algorithm: ratelimit.TokenBucket, Limit: 10, Period: "1h"}
	before := h.quotaFor(ratelimit.Subjects{Key: "subject", Owner: "o"}, p)
	after := h.quotaFor(ratelimit.Subjects{Key: "subject", Owner: "o"}, p)
	h.mustAllow(before, 6)
	h.wantRemaining(after, 4)
	h.mustAllow(after, 4)
	h.mustRefuse(before, 1, "p")
	h.mustRefuse(after, 1, "p")
}

func keyAndOwner(h *harness) {
	policies := []ratelimit.Policy{
		{Name: "per_key", Algorithm: ratelimit.FixedWindow, Limit: 3, Period: "10s"},
		{Name: "per_owner", Algorithm: ratelimit.FixedWindow, Limit: 4, Period: "10s", Per: ratelimit.PerOwner},
	}
	a := h.quotaFor(ratelimit.Subjects{Key: "a", Owner: "o"}, policies...)
	b := h.quotaFor(ratelimit.Subjects{Key: "b", Owner: "o"}, policies...)
	h.mustAllow(a, 3)
	h.mustRefuse(a, 1, "per_key")
	h.wantRemaining(b, 3, 1)
	h.mustRefuse(b, 2, "per_owner")
	h.wantRemaining(b, 3, 1)
	r := h.mustAllow(b, 1)
	h.wantRemaining(a, 0, 0)
	h.noError(r.Release(ctx))
	h.wantRemaining(b, 3, 1)
}

func resetSome(h *harness) {
	policies := everyAlgorithm()
	policies[1].Per, policies[3].Per = ratelimit.PerOwner, ratelimit.PerOwner
	policies[2].Mode = ratelimit.Shadow
	q := h.quota(policies...)
	h.mustAllow(q, 4)
	h.noError(h.limiter.Reset(ctx, q, "leaky_bucket", "sliding_log", "fixed_window"))
	h.wantRemaining(q, 6, 10, 6, 10, 6, 9)
	if d := h.mustAllow(q, 0).Decision; d.Shadows()[0].Remaining != 10 {
		h.Fatalf("shadow policy isn't reset: %+v", d.Shadows())
	}
	h.wantError(h.limiter.Reset(ctx, q, "calendar", "unknown"), ratelimit.ErrUnknownPolicy)
	h.wantRemaining(q, 6, 10, 6, 10, 6, 9)
	h.noError(h.limiter.Reset(ctx, q))
	h.wantRemaining(q, 10, 10, 10, 10, 10, 10)
}

// manySubjects spends a different cost for each of thousands of subjects while
// other subjects are created and become idle.
func manySubjects(h *harness) {
	day := ratelimit.Policy{Name: "day", Algorithm: ratelimit.Calendar, Limit: 100, Period: ratelimit.Day}
	second := ratelimit.Policy{Name: "second", Algorithm: ratelimit.TokenBucket, Limit: 100, Period: "1s"}
	const subjects = 3000
	quotas := make([]*ratelimit.Quota, subjects)
	for i := range quotas {
		quotas[i] = h.quotaFor(ratelimit.Subjects{Key: fmt.Sprint("k", i), Owner: fmt.Sprint("o", i%50)}, day, second)
		h.mustAllow(quotas[i], int64(i%90+1))
		idle := h.quotaFor(ratelimit.Subjects{Key: fmt.Sprint("idle", i)}, second)
		h.mustAllow(idle, 1)
		h.advance(10 * time.Millisecond)
	}
	h.advance(time.Minute)
	for i, q := range quotas {
		h.wantRemaining(q, 100-int64(i%90+1), 100)
	}
}
