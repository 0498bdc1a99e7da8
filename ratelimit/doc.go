// Package ratelimit is a rate limiting engine: policies, the algorithms that
// decide them, and one primitive for all of them, the reservation.
//
// A [Policy] is one named rule, such as 300 requests per minute. A [Quota] is
// the list of policies of one caller, compiled and bound to the [Subjects]
// whose counters it spends. A [Limiter] takes units from all policies of a
// quota at once, all or nothing, and reports the result as a [Decision]. Units
// that were taken can be given back; see [Reservation].
//
//	quota, err := ratelimit.NewQuota(policies, ratelimit.Subjects{Key: "alice"})
//	…
//	limiter := ratelimit.New(memory.New())
//	var r ratelimit.Reservation
//	if err := limiter.Reserve(ctx, &r, quota, "", 1); err != nil {
//		return err // the store failed
//	}
//	if !r.Decision.Allowed {
//		after, ok := r.Decision.RetryAfter()
//		…
//	}
//
// Each algorithm is a set of pure functions of (policy, state, now, cost) in a
// file of its own. Counters live in a [Store]; package memory keeps them in
// process memory. The package has no dependency on HTTP servers, SQL or API
// keys; [Quota.PolicyField] and [Decision.AppendField] format the RateLimit
// header fields.
package ratelimit
