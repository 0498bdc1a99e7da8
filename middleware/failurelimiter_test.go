package middleware

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// A flood from one address is refused beyond its queue of 2 s, and an address of
// the same stripe doesn't wait for it.
func TestFailureLimiter_flood_delays_itself_only(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFailureLimiter(ratelimit.New(memory.New()))
		for i := range f.lookups {
			f.lookups[i] = f.lookups[0]
		}
		flooder, other := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2")
		for range 20 {
			_ = f.Record(t.Context(), flooder)
		}
		began := time.Now()
		var calls sync.WaitGroup
		var mu sync.Mutex
		var admitted, refused int
		for range 100 {
			calls.Go(func() {
				leave, err := f.Enter(t.Context(), flooder)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					leave()
					admitted++
					return
				}
				if limited, ok := errors.AsType[*limitedError](err); !ok || limited.code != "too_many_failures" {
					t.Errorf("got error %v", err)
				}
				refused++
			})
		}
		synctest.Wait()
		leave, err := f.Enter(t.Context(), other)
		if waited := time.Since(began); err != nil || waited != 0 {
			t.Errorf("another address: got error %v after %v", err, waited)
		} else {
			leave()
		}
		calls.Wait()
		if waited := time.Since(began); admitted != 10 || refused != 90 || waited > 2*time.Second {
			t.Errorf("got %d lookups and %d refusals in %v; want 10 and 90 in 2 s", admitted, refused, waited)
		}
	})
}

// Lookups that don't end hold others up for a bounded time.
func TestFailureLimiter_slot_timeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, address := NewFailureLimiter(ratelimit.New(memory.New())), netip.MustParseAddr("2001:db8:1::1")
		for i := range concurrentLookups { // from several networks of one site
			if _, err := f.Enter(t.Context(), netip.MustParseAddr(fmt.Sprintf("2001:db8:1:%x::1", 0x1000*i))); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		if _, err := f.Enter(t.Context(), address); !errors.Is(err, models.ErrOverloaded) || time.Since(began) != slotTimeout {
			t.Errorf("got error %v after %v; want %v after %v", err, time.Since(began), models.ErrOverloaded, slotTimeout)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := f.Enter(ctx, address); !errors.Is(err, context.Canceled) {
			t.Errorf("got error %v; want %v", err, context.Canceled)
		}
	})
}
