package middleware

import (
	"context"
	"net/netip"
	"time"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// KeyFilter judges presented keys from memory.
type KeyFilter interface {
	// Check returns the verdict, in time that doesn't depend on it for
	// well-formed keys.
	Check(presented string) models.KeyVerdict
	// LookUp reports whether storage has a live key with the presented id and
	// secret, and corrects the filter. Errors: models.ErrUnavailable, ctx's.
	LookUp(ctx context.Context, presented string) (live bool, err error)
}

// secondLooks limits the queries for keys that the filter doesn't know: for each
// network, and for all of them together. Such a key may have been created on
// another instance a moment ago. Beyond the limit it is refused until the change
// feed has brought it.
var secondLooks = []ratelimit.Policy{
	{Name: "second-looks", Algorithm: ratelimit.TokenBucket, Limit: 10, Period: ratelimit.Every(time.Second), Burst: 20},
	{Name: "all-second-looks", Algorithm: ratelimit.TokenBucket, Limit: 40, Period: ratelimit.Every(time.Second), Burst: 40, Per: ratelimit.PerOwner},
}

// secondLookTimeout is that of other lookups.
const secondLookTimeout = 2 * time.Second

// SetFilter sets what judges presented keys before they are looked up. It must be
// called before the first request. Without a filter every key is looked up.
func (f *FailureLimiter) SetFilter(filter KeyFilter) { f.filter = filter }

// screen returns the filter's verdict, after a second look at an unknown key if
// that is within the limit.
func (f *FailureLimiter) screen(ctx context.Context, address netip.Addr, presented string) (models.KeyVerdict, error) {
	if f.filter == nil {
		return models.KeyUndecided, nil
	}
	verdict := f.filter.Check(presented)
	if verdict != models.KeyUnknown {
		return verdict, nil
	}
	live, err := f.lookAgain(ctx, address, presented)
	if live {
		verdict = models.KeyLive
	}
	return verdict, err
}

// lookAgain looks up a key and corrects the filter, if that is within the limit.
// Concurrent callers with the same key share the query, so that it doesn't end
// with the first one's request.
func (f *FailureLimiter) lookAgain(ctx context.Context, address netip.Addr, presented string) (live bool, err error) {
	found, err, _ := f.again.Do(presented, func() (any, error) {
		networks := networksOf(address)
		var r ratelimit.Reservation
		if err := f.limiter.Reserve(ctx, &r, quotaOf(secondLooks, networks[len(networks)-1]), "", 1); err != nil {
			return false, limiterFailed(err)
		}
		if !r.Decision.Allowed {
			if f.unreachable.Load() {
				return false, models.ErrUnavailable // a 401 could be wrong
			}
			return false, nil
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), secondLookTimeout)
		defer cancel()
		live, err := f.filter.LookUp(ctx, presented)
		f.unreachable.Store(err != nil)
		return live, err
	})
	live, _ = found.(bool)
	return live, err
}

// invalid counts a failure of address and returns the error of a request without
// a valid key.
func (f *FailureLimiter) invalid(ctx context.Context, address netip.Addr) error {
	if tooMany := f.Record(ctx, address); tooMany != nil {
		return tooMany
	}
	return models.ErrInvalidKey
}
