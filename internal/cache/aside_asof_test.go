package cache

import (
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// newFollowing returns a cache that follows a log of changes, which was read at
// *read last.
func newFollowing(t *testing.T, read *atomic.Pointer[time.Time]) *Aside[string, string] {
	t.Helper()
	a, err := NewAside[string](Options[string]{
		Size: 100, LoadTimeout: 2 * time.Second, TTL: time.Minute,
		Stale: 10 * time.Minute, ServeStale: func(v string) bool { return v != "admin" },
		Negative: func(err error) bool { return errors.Is(err, errAbsent) }, NegativeSize: 10, NegativeTTL: 5 * time.Second,
		AsOf: func() time.Time { return *read.Load() }, MaxAge: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

// readAt sets the time of the last read of the log.
func readAt(read *atomic.Pointer[time.Time], at time.Time) { read.Store(&at) }

func TestAside_AsOf(t *testing.T) {
	inBubble(t, "entry_is_fresh_while_the_log_is_read", func(t *testing.T) {
		var read atomic.Pointer[time.Time]
		readAt(&read, time.Time{})
		a, s := newFollowing(t, &read), &source{value: "one"}
		want(t, a, s, "one", nil, 1)
		for range 590 { // less than 50 % of MaxAge
			time.Sleep(3 * time.Second)
			readAt(&read, time.Now())
			if _, state := a.Peek("k", time.Now()); state != Fresh {
				t.Fatalf("state = %v, want Fresh", state)
			}
		}
		want(t, a, s, "one", nil, 1)
	})
	inBubble(t, "TTL_begins_at_the_last_read", func(t *testing.T) {
		var read atomic.Pointer[time.Time]
		readAt(&read, time.Time{})
		a, s := newFollowing(t, &read), &source{value: "one"}
		want(t, a, s, "one", nil, 1)
		time.Sleep(20 * time.Minute)
		readAt(&read, time.Now())
		time.Sleep(40 * time.Second)
		want(t, a, s, "one", nil, 1)
		time.Sleep(10 * time.Second) // more than 80 % of every lifetime
		if _, state := a.Peek("k", time.Now()); state != Due {
			t.Fatalf("state = %v, want Due", state)
		}
		time.Sleep(10 * time.Second)
		if _, state := a.Peek("k", time.Now()); state != Stale {
			t.Fatalf("state = %v, want Stale", state)
		}
		readAt(&read, time.Now()) // the log is read again
		if _, state := a.Peek("k", time.Now()); state != Fresh {
			t.Fatalf("state = %v, want Fresh, without a load", state)
		}
		time.Sleep(11*time.Minute + time.Second)
		s.set("", errDown)
		want(t, a, s, "", errDown, 2) // past Stale
		s.set("two", nil)
		want(t, a, s, "two", nil, 3)
		time.Sleep(40 * time.Second)
		if _, state := a.Peek("k", time.Now()); state != Fresh {
			t.Fatalf("state = %v, want Fresh: it was loaded after the last read", state)
		}
	})
	inBubble(t, "not_served_stale_if_excluded", func(t *testing.T) {
		var read atomic.Pointer[time.Time]
		readAt(&read, time.Time{})
		a, s := newFollowing(t, &read), &source{value: "admin"}
		want(t, a, s, "admin", nil, 1)
		time.Sleep(20 * time.Minute)
		readAt(&read, time.Now())
		want(t, a, s, "admin", nil, 1)
		s.set("", errDown)
		time.Sleep(time.Minute)
		want(t, a, s, "", errDown, 2)
	})
	inBubble(t, "until_ends_an_entry", func(t *testing.T) {
		var read atomic.Pointer[time.Time]
		readAt(&read, time.Time{})
		a, s := newFollowing(t, &read), &source{value: "one"}
		end := time.Now().Add(10 * time.Minute)
		a.opts.Until = func(string) time.Time { return end }
		want(t, a, s, "one", nil, 1)
		time.Sleep(10*time.Minute - time.Second)
		readAt(&read, time.Now())
		if _, state := a.Peek("k", time.Now()); state != Fresh {
			t.Fatalf("state = %v, want Fresh", state)
		}
		time.Sleep(time.Second)
		s.set("two", nil)
		readAt(&read, time.Now().Add(time.Second)) // during the request
		want(t, a, s, "two", nil, 2)
	})
	inBubble(t, "until_ends_an_entry_of_which_a_load_has_failed_before", func(t *testing.T) {
		var read atomic.Pointer[time.Time]
		readAt(&read, time.Time{})
		a, s := newFollowing(t, &read), &source{value: "one"}
		end := time.Now().Add(10 * time.Minute)
		a.opts.Until = func(string) time.Time { return end }
		want(t, a, s, "one", nil, 1)
		s.set("", errDown)
		time.Sleep(time.Minute)
		want(t, a, s, "one", nil, 2) // stale; the load fails
		s.set("two", nil)
		for range 9 {
			readAt(&read, time.Now()) // fresh again, without a load
			want(t, a, s, "one", nil, 2)
			time.Sleep(time.Minute)
		}
		readAt(&read, time.Now())
		want(t, a, s, "two", nil, 3)
	})
	inBubble(t, "MaxAge_ends_the_trust", func(t *testing.T) {
		var read atomic.Pointer[time.Time]
		readAt(&read, time.Time{})
		a, s := newFollowing(t, &read), &source{value: "one"}
		want(t, a, s, "one", nil, 1)
		s.set("two", nil) // the log lacks it
		time.Sleep(time.Hour + 50*time.Second)
		readAt(&read, time.Now())
		if _, state := a.Peek("k", time.Now()); state == Fresh {
			t.Fatal("an entry is fresh that is older than MaxAge and 80 % of TTL")
		}
		a.Refresh("k", time.Now(), s.load)
		synctest.Wait()
		want(t, a, s, "two", nil, 2)
	})
}

// Entries that are loaded together are loaded again at different times.
func TestAside_MaxAge_differs(t *testing.T) {
	inBubble(t, "due", func(t *testing.T) {
		var read atomic.Pointer[time.Time]
		readAt(&read, time.Time{})
		a, s := newFollowing(t, &read), &source{value: "one"}
		const entries = 60
		for i := range entries {
			if _, err := a.Get(t.Context(), strconv.Itoa(i), time.Now(), s.load); err != nil {
				t.Fatal(err)
			}
		}
		due := func(after time.Duration) (n int) {
			time.Sleep(after)
			readAt(&read, time.Now())
			for i := range entries {
				if _, state := a.Peek(strconv.Itoa(i), time.Now()); state != Fresh {
					n++
				}
			}
			return n
		}
		if early, half := due(30*time.Minute), due(15*time.Minute); early != 0 || half < entries/6 || half > entries*5/6 {
			t.Errorf("%d of %d entries are due after 50 %% of MaxAge, %d after 75 %%", early, entries, half)
		}
		if all := due(16 * time.Minute); all != entries {
			t.Errorf("%d of %d entries are due after MaxAge and TTL", all, entries)
		}
	})
}
