package middleware

import (
	"context"
	"fmt"
	"hash/maphash"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// failedAuthentications limits the failures of each network of an address. Mistyped
// keys fail their checksum; this limits guessing. By index of ipv6Networks: each
// holds 256 of the ones before and may fail four times as often, so that a caller
// who changes networks runs into the next limit.
var failedAuthentications = [][]ratelimit.Policy{failures(20), failures(80), failures(320)}

func failures(limit int64) []ratelimit.Policy {
	return []ratelimit.Policy{{
		Name: "failed-authentications", Algorithm: ratelimit.SlidingWindow, Limit: limit, Period: ratelimit.Every(time.Minute),
	}}
}

// slowedLookups limits the lookups of a network with too many failures. They
// are slowed and not refused, so that a valid key is never locked out by others
// behind the same address.
var slowedLookups = []ratelimit.Policy{{
	Name: "slowed-lookups", Algorithm: ratelimit.LeakyBucket, Limit: 10, Period: ratelimit.Every(2 * time.Second), MaxWait: ratelimit.Every(2 * time.Second),
}}

// ipv6Networks are the lengths of the prefixes that one caller may hold: the
// smallest network that providers assign, and the usual ones of homes and sites
// (RFC 6177).
var ipv6Networks = [...]int{64, 56, 48}

// FailureLimiter limits failed authentications by address, in this instance's
// memory.
type FailureLimiter struct {
	unreachable atomic.Bool            // the last second look failed
	limiter     *ratelimit.Limiter     // of failures and of lookups
	lookups     [stripes]chan struct{} // semaphores of running lookups, by hash of the widest network
	filter      KeyFilter              // nil: none
	again       singleflight.Group     // second looks, by presented key
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
	networks := networksOf(address)
	slots := f.lookups[maphash.Comparable(stripeSeed, networks[len(networks)-1])%stripes]
	for slowed := false; ; slowed = true {
		if err := takeSlot(ctx, slots); err != nil {
			return nil, err
		}
		exhausted, err := f.exhausted(ctx, networks)
		if err == nil && (slowed || exhausted < 0) {
			return func() { <-slots }, nil
		}
		<-slots // the addresses of a stripe don't wait for each other's turns
		if err != nil {
			return nil, err
		}
		if err := f.awaitTurn(ctx, networks[exhausted]); err != nil {
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

// exhausted returns the index of the widest network with too many failures; -1:
// none.
func (f *FailureLimiter) exhausted(ctx context.Context, networks []netip.Prefix) (int, error) {
	for i, network := range slices.Backward(networks) {
		failures, err := f.limiter.Peek(ctx, quotaOf(failedAuthentications[i], network), "")
		if err != nil {
			return -1, limiterFailed(err)
		}
		if failures.Statuses()[0].Remaining == 0 {
			return i, nil
		}
	}
	return -1, nil
}

// awaitTurn waits for a slowed lookup.
func (f *FailureLimiter) awaitTurn(ctx context.Context, network netip.Prefix) error {
	var r ratelimit.Reservation
	if err := f.limiter.Reserve(ctx, &r, quotaOf(slowedLookups, network), "", 1); err != nil {
		return limiterFailed(err)
	}
	if wait, _ := r.Decision.RetryAfter(); !r.Decision.Allowed {
		return tooManyFailures(wait)
	}
	return r.Wait(ctx)
}

// Record counts one failure and fails if it was one too many. A network counts
// what its parts didn't refuse, so that one part can't use it up.
func (f *FailureLimiter) Record(ctx context.Context, address netip.Addr) error {
	for i, network := range networksOf(address) {
		var r ratelimit.Reservation
		if err := f.limiter.Reserve(ctx, &r, quotaOf(failedAuthentications[i], network), "", 1); err != nil {
			return limiterFailed(err)
		}
		if wait, _ := r.Decision.RetryAfter(); !r.Decision.Allowed {
			return tooManyFailures(wait)
		}
	}
	return nil
}

// networksOf returns what is counted, from narrow to wide: an IPv4 address, or
// IPv6 networks.
func networksOf(address netip.Addr) []netip.Prefix {
	if !address.Is6() {
		return []netip.Prefix{netip.PrefixFrom(address, address.BitLen())}
	}
	networks := make([]netip.Prefix, len(ipv6Networks))
	for i, bits := range ipv6Networks {
		networks[i] = netip.PrefixFrom(address, bits).Masked()
	}
	return networks
}

func quotaOf(policies []ratelimit.Policy, network netip.Prefix) *ratelimit.Quota {
	quota, err := ratelimit.NewQuota(policies, ratelimit.Subjects{Key: network.String(), Owner: "all"})
	if err != nil {
		panic(err) // the policies are constants
	}
	return quota
}

func limiterFailed(err error) error {
	return fmt.Errorf("%w: failure limiter: %w", models.ErrUnavailable, err)
}

func tooManyFailures(wait time.Duration) error {
	return &limitedError{
		code:       "too_many_failures",
		detail:     "Too many failed authentications from this address or its network.",
		violated:   []string{failedAuthentications[0][0].Name},
		retryAfter: wait,
	}
}
