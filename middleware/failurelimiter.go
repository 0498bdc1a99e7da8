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
	Name: "slowed-lookups", Algorithm: ratelimit.LeakyBucket, Limit: 10, Period: ratelimit.Every(2 * time.Second), MaxWait: ratelimit.Every(2 * time.Second),
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

// concurrentLookups is how many lookups of uncached keys the addresses of a stripe
// can run at once. Others wait, up to slotTimeout, and are checked again
// afterwards, so that a burst can't pass before its first failures are counted.
const (
	concurrentLookups = 4
	stripes           = 256
	slotTimeout       = 5 * time.Second
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

// Enter waits until the address may look up a key: for its turn if it has too many
// failures, and for a slot. The caller must call leave after the lookup. Errors:
// too many waiting lookups, models.ErrOverloaded after slotTimeout, ctx's.
func (f *FailureLimiter) Enter(ctx context.Context, address netip.Addr) (leave func(), err error) {
	slots := f.lookups[maphash.Comparable(stripeSeed, site(address))%stripes]
	for slowed := false; ; slowed = true {
		if err := takeSlot(ctx, slots); err != nil {
			return nil, err
		}
		failures, err := f.limiter.Peek(ctx, quotaOf(failedAuthentications, address), "")
		if err == nil && (slowed || failures.Statuses()[0].Remaining > 0) {
			return func() { <-slots }, nil
		}
		<-slots // the addresses of a stripe don't wait for each other's turns
		if err != nil {
			return nil, fmt.Errorf("%w: failure limiter: %w", models.ErrUnavailable, err)
		}
		if err := f.awaitTurn(ctx, address); err != nil {
			return nil, err
		}
	}
}

var stripeSeed = maphash.MakeSeed()

func takeSlot(ctx context.Context, slots chan struct{}) error {
	select {
	case slots <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(slotTimeout)
	defer timer.Stop()
	select {
	case slots <- struct{}{}:
		return nil
	case <-timer.C:
		return models.ErrOverloaded
	case <-ctx.Done():
		return ctx.Err()
	}
}

// awaitTurn waits for a slowed lookup.
func (f *FailureLimiter) awaitTurn(ctx context.Context, address netip.Addr) error {
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
