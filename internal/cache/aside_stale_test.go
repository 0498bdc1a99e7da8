package cache

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestAside_Stale_HangingSource checks that no caller waits for a load if it may
// get a stale value: the clock of the bubble doesn't move.
func TestAside_Stale_HangingSource(t *testing.T) {
	inBubble(t, "served_at_once", func(t *testing.T) {
		a, s := newAside(t), &source{value: "one"}
		want(t, a, s, "one", nil, 1)
		s.hang()
		time.Sleep(2 * time.Minute)
		for range 10 {
			began := time.Now()
			want(t, a, s, "one", nil, 2) // one load of the key at once
			if waited := time.Since(began); waited > 0 {
				t.Fatalf("a stale value was returned after %s, want at once", waited)
			}
		}
		time.Sleep(9 * time.Minute)
		want(t, a, s, "", context.DeadlineExceeded, 3) // past Stale
	})
	inBubble(t, "refreshes_are_bounded", func(t *testing.T) {
		a, s := newAside(t), &source{value: "one"}
		get := func(i int) {
			if v, err := a.Get(t.Context(), strconv.Itoa(i), time.Now(), s.load); v != "one" || err != nil {
				t.Fatalf("Get = %q, %v", v, err)
			}
		}
		for i := range 20 {
			get(i)
		}
		s.hang()
		time.Sleep(2 * time.Minute)
		for i := range 20 {
			get(i)
		}
		synctest.Wait()
		if n := s.loads.Load(); n != 20+maxRefreshes {
			t.Fatalf("%d loads run, want %d", n-20, maxRefreshes)
		}
		time.Sleep(3 * time.Second) // they have failed
		get(19)
		synctest.Wait()
		if n := s.loads.Load(); n != 20+maxRefreshes+1 {
			t.Fatalf("%d loads, want another after the failures", n)
		}
	})
	inBubble(t, "past_until", func(t *testing.T) {
		a, s := newAside(t), &source{value: "one"}
		end := time.Now().Add(10 * time.Second)
		a.opts.Until = func(string) time.Time { return end }
		want(t, a, s, "one", nil, 1)
		s.hang()
		time.Sleep(20 * time.Second)
		want(t, a, s, "one", nil, 2) // the first caller waits: the value has changed
		began := time.Now()
		want(t, a, s, "one", nil, 2)
		time.Sleep(2 * time.Second)
		want(t, a, s, "one", nil, 3)
		if waited := time.Since(began); waited > 2*time.Second {
			t.Fatalf("waited %s, want no wait after a failed load", waited-2*time.Second)
		}
	})
	inBubble(t, "deleted_during_another_change", func(t *testing.T) {
		a, s := newAside(t), &source{value: "one"}
		want(t, a, s, "one", nil, 1)
		time.Sleep(2 * time.Minute)
		s.mu.Lock()
		s.value, s.err, s.takes = "", errAbsent, time.Second
		s.mu.Unlock()
		want(t, a, s, "one", nil, 2) // stale, and its refresh runs
		a.Invalidate()               // of another key
		time.Sleep(2 * time.Second)
		want(t, a, s, "", errAbsent, 3)
	})
	inBubble(t, "invalidated_value_is_not_served", func(t *testing.T) {
		var valid atomic.Value
		valid.Store("old")
		a, s := newVersioned(t, &valid), &source{value: "old"}
		want(t, a, s, "old", nil, 1)
		s.hang()
		time.Sleep(2 * time.Minute)
		want(t, a, s, "old", nil, 2) // stale, and its refresh hangs
		valid.Store("new")
		a.Invalidate()
		want(t, a, s, "", context.DeadlineExceeded, 3)
	})
}
