package middleware

import (
	"context"
	"fmt"
	"hash/maphash"
	"net/netip"
	"time"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// failedAuthentications limits the failures of one address. Mistyped keys fail
// their checksum; this limits guessing.
var failedAuthentications = []ratelimit.Policy{{
	Name: "failed-authentications", Algorithm: ratelimit.SlidingWindow, Limit: 20, Period: ratelimit.Every(time.Minute),
}}

// slowedLookups limits the lookups of an address with too many failures. They
// are slowed and not refused, so that a valid key is never locked out by others
// behind the same address.
var slowedLookups = []ratelimit.Policy{{
	Name: "slowed-lookups", Algorithm: ratelimit.LeakyBucket, Limit: 5, Period: ratelimit.Every(time.Second), MaxWait: ratelimit.Every(2 * time.Second),
}}

// sitePrefix is the length of the IPv6 prefix that one caller is assumed to
// hold: the smallest network that providers assign (RFC 6177).
const sitePrefix = 64

// FailureLimiter limits failed authentications by address, in this instance's
// memory.
type FailureLimiter struct {
	limiter *ratelimit.Limiter     // of failures and of slowed lookups
	lookups [stripes]chan struct{} // semaphores of running lookups, by hash of address
}

// concurrentLookups is how many lookups of uncached keys an address can run at
// once. Others wait and are checked again afterwards, so that a burst can't pass
// before its first failures are counted. Addresses that share a stripe delay
// each other by some milliseconds at worst.
const (
	concurrentLookups = 4
	stripes           = 256
)

// NewFailureLimiter returns a FailureLimiter that counts with limiter, which
// should not be shared.
func NewFailureLimiter(limiter *ratelimit.Limiter) *FailureLimiter {
	f := &FailureLimiter{limiter: limiter}
	for i := range f.lookups {
		f.lookups[i] = make(chan struct{}, concurrentLookups)
	}
	return f
}

// Enter waits until the address may look up a key: for one of its concurrent
// lookups and, if it has too many failures, for a slowed lookup. The caller must
// call leave after the lookup. Errors: too many waiting lookups, ctx's.
func (f *FailureLimiter) Enter(ctx context.Context, address netip.Addr) (leave func(), err error) {
	lookup := f.lookups[maphash.Comparable(stripeSeed, site(address))%stripes]
	select {
	case lookup <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := f.slow(ctx, address); err != nil {
		<-lookup
		return nil, err
	}
	return func() { <-lookup }, nil
}

var stripeSeed = maphash.MakeSeed()

// slow waits for a slowed lookup if the address has too many failures.
func (f *FailureLimiter) slow(ctx context.Context, address netip.Addr) error {
	failures, err := f.limiter.Peek(ctx, quotaOf(failedAuthentications, address), "")
	if err != nil {
		return fmt.Errorf("%w: failure limiter: %w", models.ErrUnavailable, err)
	}
	if failures.Statuses()[0].Remaining > 0 {
		return nil
	}
	var r ratelimit.Reservation
	if err := f.limiter.Reserve(ctx, &r, quotaOf(slowedLookups, address), "", 1); err != nil {
		return fmt.Errorf("%w: failure limiter: %w", models.ErrUnavailable, err)
	}
	if wait, _ := r.Decision.RetryAfter(); !r.Decision.Allowed {
		return tooManyFailures(wait)
	}
	return r.Wait(ctx)
}

// Record counts one failure and fails if it was one too many.
func (f *FailureLimiter) Record(ctx context.Context, address netip.Addr) error {
	var r ratelimit.Reservation
	if err := f.limiter.Reserve(ctx, &r, quotaOf(failedAuthentications, address), "", 1); err != nil {
		return fmt.Errorf("%w: failure limiter: %w", models.ErrUnavailable, err)
	}
	if wait, _ := r.Decision.RetryAfter(); !r.Decision.Allowed {
		return tooManyFailures(wait)
	}
	return nil
}

// site returns what is counted: an IPv4 address, or an IPv6 network.
func site(address netip.Addr) netip.Addr {
	if address.Is6() {
		return netip.PrefixFrom(address, sitePrefix).Masked().Addr()
	}
	return address
}

func quotaOf(policies []ratelimit.Policy, address netip.Addr) *ratelimit.Quota {
	quota, err := ratelimit.NewQuota(policies, ratelimit.Subjects{Key: site(address).String()})
	if err != nil {
		panic(err) // the policies above are constants
	}
	return quota
}

func tooManyFailures(wait time.Duration) error {
	return &limitedError{
		code:       "too_many_failures",
		detail:     "Too many failed authentications from this address.",
		violated:   []string{failedAuthentications[0].Name},
		retryAfter: wait,
	}
}
