package fallback_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"ratelimiter/ratelimit"
)

// A slot is held for longer than its hold while it is renewed, for all instances. In an
// outage it is renewed in the instance alone; the server forgets it, and Renew says so
// after the return.
func TestStore_renew_long(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := quotaOf(t, ratelimit.Policy{Name: "p", Algorithm: ratelimit.Concurrency, Limit: 1, Hold: "5s"})
		f := newFleet(t, 2)
		defer f.stop()
		a, b := f.nodes[0], f.nodes[1]
		slot := a.take(q)
		renew := func(rounds int, of *node) {
			t.Helper()
			for range rounds {
				time.Sleep(2 * time.Second)
				a.must(slot.Renew(t.Context()))
				if of.take(q).Decision.Allowed {
					t.Fatal("the slot is taken twice")
				}
			}
		}
		renew(10, b)
		f.lose()
		renew(10, a)
		f.cut(false)
		f.awaitReturn()
		if err := slot.Renew(t.Context()); !errors.Is(err, ratelimit.ErrExpired) {
			t.Errorf("Renew after the outage = %v, want ErrExpired", err)
		}
		a.must(slot.Release(t.Context()))
		if !b.take(q).Decision.Allowed {
			t.Error("the slot isn't free after the release")
		}
	})
}
