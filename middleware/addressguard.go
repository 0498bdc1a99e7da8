package middleware

import (
	"context"
	"fmt"
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
}

// NewAddressGuard returns a guard that counts with limiter, which should be its
// own.
func NewAddressGuard(limiter *ratelimit.Limiter) *AddressGuard {
	return &AddressGuard{limiter: limiter}
}

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

func quotaOf(address netip.Addr) *ratelimit.Quota {
	if address.Is6() {
		address = netip.PrefixFrom(address, ipv6Site).Masked().Addr()
	}
	quota, err := ratelimit.NewQuota(failedAuthentications, ratelimit.Subjects{Key: address.String()})
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
