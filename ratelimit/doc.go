// Package ratelimit is a rate limiting engine: policies, the algorithms that
// decide them, and one primitive for all of them, the reservation.
//
// A [Policy] is one named rule ("300 requests a minute"). A [Quota] is the
// list of policies that a caller has, compiled and bound to the [Subjects]
// whose counters it spends. A [Limiter] takes units from every policy of a
// quota at once, all or nothing, and says in a [Decision] where the caller
// stands. What was taken can be given back: see [Reservation].
//
//	quota, err := ratelimit.NewQuota(policies, ratelimit.Subjects{Key: "alice"})
//	…
//	limiter := ratelimit.New(memory.New())
//	var r ratelimit.Reservation
//	if err := limiter.Reserve(ctx, &r, quota, "", 1); err != nil {
//		return err // the store failed: the caller decides what that means
//	}
//	if !r.Decision.Allowed {
//		after, ok := r.Decision.RetryAfter()
//		…
//	}
//
// The algorithms are pure functions of (policy, state, now, cost), one file
// each. Counters live in a [Store]; ratelimit/memory keeps them in this
// process. The package knows nothing of API keys, HTTP servers or SQL, except
// that [Quota.PolicyField] and [Decision.AppendField] spell the RateLimit
// header fields.
package ratelimit
