package storetest

import (
	"errors"
	"fmt"
	"time"

	"ratelimiter/ratelimit"
)

var subjectCases = all(
	eachAlgorithm("subjects don't share", func(h *harness, p ratelimit.Policy) {
		a := h.quotaFor(ratelimit.Subjects{Key: "a"}, p)
		b := h.quotaFor(ratelimit.Subjects{Key: "b"}, p)
		for range 10 {
			h.pass(a, 1)
		}
		h.refuse(a, 1, p.Name)
		h.remaining(b, 10)
	}),
	eachAlgorithm("keys of one owner share per owner", func(h *harness, p ratelimit.Policy) {
		p.Per = ratelimit.PerOwner
		a := h.quotaFor(ratelimit.Subjects{Key: "a", Owner: "o"}, p)
		b := h.quotaFor(ratelimit.Subjects{Key: "b", Owner: "o"}, p)
		other := h.quotaFor(ratelimit.Subjects{Key: "a", Owner: "p"}, p)
		for range 5 {
			h.pass(a, 1)
			h.pass(b, 1)
		}
		h.refuse(a, 1, p.Name)
		h.refuse(b, 1, p.Name)
		h.remaining(other, 10)
	}),
	eachAlgorithm("reset makes a counter fresh", func(h *harness, p ratelimit.Policy) {
		q := h.quota(p)
		for range 10 {
			h.pass(q, 1)
		}
		h.ok(h.limiter.Reset(ctx, q, p.Name))
		h.remaining(q, 10)
		for range 10 {
			h.pass(q, 1)
		}
		h.refuse(q, 1, p.Name)
	}),
	[]testCase{
		{"a rotated key keeps its subject and what it has spent", rotated},
		{"a key and an owner of one name are two", func(h *harness) {
			p := ratelimit.Policy{Name: "p", Algorithm: ratelimit.FixedWindow, Limit: 2, Period: "10s"}
			key := h.quotaFor(ratelimit.Subjects{Key: "x", Owner: "x"}, p)
			p.Per = ratelimit.PerOwner
			owner := h.quotaFor(ratelimit.Subjects{Key: "x", Owner: "x"}, p)
			h.pass(key, 2)
			h.remaining(owner, 2)
		}},
		{"all or nothing over key and owner", keyAndOwner},
		{"reset of some policies leaves the others", resetSome},
		{"many subjects stay apart", manySubjects},
	},
)

// rotated: the new key's quota is another object over the same subject, as
// after a rotation, and gets nothing more out of it.
func rotated(h *harness) {
	p := ratelimit.Policy{Name: "p", Algorithm: ratelimit.TokenBucket, Limit: 10, Period: "1h"}
	before := h.quotaFor(ratelimit.Subjects{Key: "subject", Owner: "o"}, p)
	after := h.quotaFor(ratelimit.Subjects{Key: "subject", Owner: "o"}, p)
	h.pass(before, 6)
	h.remaining(after, 4)
	h.pass(after, 4)
	h.refuse(before, 1, "p")
	h.refuse(after, 1, "p")
}

func keyAndOwner(h *harness) {
	policies := []ratelimit.Policy{
		{Name: "mine", Algorithm: ratelimit.FixedWindow, Limit: 3, Period: "10s"},
		{Name: "ours", Algorithm: ratelimit.FixedWindow, Limit: 4, Period: "10s", Per: ratelimit.PerOwner},
	}
	a := h.quotaFor(ratelimit.Subjects{Key: "a", Owner: "o"}, policies...)
	b := h.quotaFor(ratelimit.Subjects{Key: "b", Owner: "o"}, policies...)
	h.pass(a, 3)
	h.refuse(a, 1, "mine")
	h.remaining(b, 3, 1)
	h.refuse(b, 2, "ours")
	h.remaining(b, 3, 1)
	r := h.pass(b, 1)
	h.remaining(a, 0, 0)
	h.ok(r.Release(ctx))
	h.remaining(b, 3, 1)
}

func resetSome(h *harness) {
	policies := everyAlgorithm()
	policies[1].Per, policies[3].Per = ratelimit.PerOwner, ratelimit.PerOwner
	policies[2].Mode = ratelimit.Shadow
	q := h.quota(policies...)
	h.pass(q, 4)
	h.ok(h.limiter.Reset(ctx, q, "leaky_bucket", "sliding_log", "fixed_window"))
	h.remaining(q, 6, 10, 6, 10, 6, 9)
	if d := h.pass(q, 0).Decision; d.Shadows()[0].Remaining != 10 {
		h.Fatalf("the shadow was not reset: %+v", d.Shadows())
	}
	if err := h.limiter.Reset(ctx, q, "calendar", "nobody"); !errors.Is(err, ratelimit.ErrUnknownPolicy) {
		h.Fatal(err)
	}
	h.remaining(q, 6, 10, 6, 10, 6, 9)
	h.ok(h.limiter.Reset(ctx, q))
	h.remaining(q, 10, 10, 10, 10, 10, 10)
}

// manySubjects spends a different amount for each of a few thousand subjects,
// while others come and become idle.
func manySubjects(h *harness) {
	day := ratelimit.Policy{Name: "day", Algorithm: ratelimit.Calendar, Limit: 100, Period: ratelimit.Day}
	second := ratelimit.Policy{Name: "second", Algorithm: ratelimit.TokenBucket, Limit: 100, Period: "1s"}
	const subjects = 3000
	quotas := make([]*ratelimit.Quota, subjects)
	for i := range quotas {
		quotas[i] = h.quotaFor(ratelimit.Subjects{Key: fmt.Sprint("k", i), Owner: fmt.Sprint("o", i%50)}, day, second)
		h.pass(quotas[i], int64(i%90+1))
		passing := h.quotaFor(ratelimit.Subjects{Key: fmt.Sprint("passing", i)}, second)
		h.pass(passing, 1)
		h.advance(10 * time.Millisecond)
	}
	h.advance(time.Minute)
	for i, q := range quotas {
		h.remaining(q, 100-int64(i%90+1), 100)
	}
}
