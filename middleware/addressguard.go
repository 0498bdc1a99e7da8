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

// failedAuthentications is what one address may get wrong. A checksum stops
// mistyped keys; this stops those who try keys out.
var failedAuthentications = []ratelimit.Policy{{
	Name: "failed-authentications", Algorithm: ratelimit.SlidingWindow, Limit: 20, Period: ratelimit.Every(time.Minute),
}}

// ipv6Site is the part of an IPv6 address, in bits, that one caller can be
// assumed to hold: the smallest network that providers give out (RFC 6177).
const ipv6Site = 64

// AddressGuard counts failed authentications by address, in local memory only.
type AddressGuard struct {
	limiter *ratelimit.Limiter
	turns   [guardStripes]chan struct{} // look-ups under way, by hash of address
}

// lookupsAtOnce is how many look-ups of unknown keys an address can have under
// way: those beyond wait, and are checked again when their turn comes, so that
// no burst gets past the count of failures before it has begun. Addresses share
// a stripe by chance, which costs them some milliseconds at worst.
const (
	lookupsAtOnce = 4
	guardStripes  = 256
)

// NewAddressGuard returns a guard that counts with limiter, which should be its
// own.
func NewAddressGuard(limiter *ratelimit.Limiter) *AddressGuard {
	g := &AddressGuard{limiter: limiter}
	for i := range g.turns {
		g.turns[i] = make(chan struct{}, lookupsAtOnce)
	}
	return g
}

// Enter waits for a turn to look a key up, and checks that the address has
// failures left. The caller must call leave when the look-up is over. Errors:
// those of Check, ctx's.
func (g *AddressGuard) Enter(ctx context.Context, address netip.Addr) (leave func(), err error) {
	if err := g.Check(ctx, address); err != nil {
		return nil, err
	}
	turn := g.turns[maphash.Comparable(guardSeed, site(address))%guardStripes]
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := g.Check(ctx, address); err != nil {
		<-turn
		return nil, err
	}
	return func() { <-turn }, nil
}

var guardSeed = maphash.MakeSeed()

// Check returns a *models.LimitedError if the address has used up its failures.
func (g *AddressGuard) Check(ctx context.Context, address netip.Addr) error {
	decision, err := g.limiter.Peek(ctx, quotaOf(address), "")
	if err != nil {
		return fmt.Errorf("%w: address guard: %w", models.ErrUnavailable, err)
	}
	if status := decision.Statuses()[0]; status.Remaining == 0 {
		return tooManyFailures(status.RetryAfter)
	}
	return nil
}

// Failed counts one failure, and returns a *models.LimitedError if it was one
// too many.
func (g *AddressGuard) Failed(ctx context.Context, address netip.Addr) error {
	var r ratelimit.Reservation
	if err := g.limiter.Reserve(ctx, &r, quotaOf(address), "", 1); err != nil {
		return fmt.Errorf("%w: address guard: %w", models.ErrUnavailable, err)
	}
	if wait, _ := r.Decision.RetryAfter(); !r.Decision.Allowed {
		return tooManyFailures(wait)
	}
	return nil
}

// site is what shares a count: the address itself, or its IPv6 network.
func site(address netip.Addr) netip.Addr {
	if address.Is6() {
		return netip.PrefixFrom(address, ipv6Site).Masked().Addr()
	}
	return address
}

func quotaOf(address netip.Addr) *ratelimit.Quota {
	quota, err := ratelimit.NewQuota(failedAuthentications, ratelimit.Subjects{Key: site(address).String()})
	if err != nil {
		panic(err) // the policy above is a constant
	}
	return quota
}

func tooManyFailures(wait time.Duration) error {
	return &models.LimitedError{
		Detail:     "Too many failed authentications from this address.",
		Violated:   []string{failedAuthentications[0].Name},
		RetryAfter: wait,
	}
}
