package cache

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var (
	errAbsent = errors.New("value doesn't exist")
	errDown   = errors.New("source is down")
)

// inBubble runs a sub-test in a synctest bubble.
func inBubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

// source is the source of a cache under test.
type source struct {
	loads atomic.Int64
	mu    sync.Mutex
	value string
	err   error
	takes time.Duration
}

func (s *source) set(value string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.value, s.err = value, err
}

func (s *source) load(ctx context.Context) (string, error) {
	s.loads.Add(1)
	s.mu.Lock()
	value, err, takes := s.value, s.err, s.takes
	s.mu.Unlock()
	select {
	case <-time.After(takes):
		return value, err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// hang makes further loads wait until their context ends.
func (s *source) hang() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takes = 24 * time.Hour
}

func newAside(t *testing.T) *Aside[string, string] {
	t.Helper()
	a, err := NewAside[string](Options[string]{
		Size: 100, LoadTimeout: 2 * time.Second, TTL: time.Minute,
		Stale: 10 * time.Minute, ServeStale: func(v string) bool { return v != "admin" },
		Negative: func(err error) bool { return errors.Is(err, errAbsent) }, NegativeSize: 10, NegativeTTL: 5 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

// want checks the result of Get and the number of loads so far.
func want(t *testing.T, a *Aside[string, string], s *source, value string, err error, loads int64) {
	t.Helper()
	got, gotErr := a.Get(t.Context(), "k", time.Now(), s.load)
	synctest.Wait()
	if got != value || !errors.Is(gotErr, err) {
		t.Fatalf("Get = %q, %v, want %q, %v", got, gotErr, value, err)
	}
	if n := s.loads.Load(); n != loads {
		t.Fatalf("%d loads, want %d", n, loads)
	}
}

func TestAside_Get(t *testing.T) {
	inBubble(t, "loads_once_until_TTL", func(t *testing.T) {
		a, s := newAside(t), &source{value: "one"}
		want(t, a, s, "one", nil, 1)
		s.set("two", nil)
		time.Sleep(40 * time.Second)
		want(t, a, s, "one", nil, 1)
		time.Sleep(21 * time.Second)
		want(t, a, s, "one", nil, 2) // stale, and loaded behind
		want(t, a, s, "two", nil, 2)
	})
	inBubble(t, "until_before_TTL", func(t *testing.T) {
		a, s := newAside(t), &source{value: "one"}
		end := time.Now().Add(10 * time.Second)
		a.opts.Until = func(string) time.Time { return end }
		want(t, a, s, "one", nil, 1)
		s.set("two", nil)
		time.Sleep(8 * time.Second)
		want(t, a, s, "one", nil, 1)
		time.Sleep(2 * time.Second)
		want(t, a, s, "two", nil, 2)
	})
	inBubble(t, "concurrent_misses_share_a_load", func(t *testing.T) {
		a, s := newAside(t), &source{value: "one", takes: time.Second}
		var right atomic.Int64
		for range 1000 {
			go func() {
				if v, err := a.Get(t.Context(), "k", time.Now(), s.load); v == "one" && err == nil {
					right.Add(1)
				}
			}()
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if right.Load() != 1000 || s.loads.Load() != 1 {
			t.Fatalf("%d correct results by %d loads, want 1000 by 1", right.Load(), s.loads.Load())
		}
	})
	inBubble(t, "canceled_caller", func(t *testing.T) {
		a, s := newAside(t), &source{value: "one", takes: time.Second}
		first, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() { // begins the load
			_, err := a.Get(first, "k", time.Now(), s.load)
			result <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Fatalf("canceled Get = %v, want Canceled", err)
		}
		want(t, a, s, "one", nil, 1)
	})
	inBubble(t, "load_timeout_and_panic", func(t *testing.T) {
		a, s := newAside(t), &source{value: "late", takes: time.Hour}
		want(t, a, s, "", context.DeadlineExceeded, 1)
		_, err := a.Get(t.Context(), "k", time.Now(), func(context.Context) (string, error) { panic("test") })
		if err == nil {
			t.Fatal("Get returns no error after a panic of load")
		}
	})
}

func TestAside_Negative(t *testing.T) {
	inBubble(t, "cached_for_NegativeTTL", func(t *testing.T) {
		a, s := newAside(t), &source{err: errAbsent}
		want(t, a, s, "", errAbsent, 1)
		time.Sleep(4 * time.Second)
		s.set("one", nil)
		want(t, a, s, "", errAbsent, 1)
		time.Sleep(2 * time.Second)
		want(t, a, s, "one", nil, 2)
	})
	inBubble(t, "other_errors_are_not_cached", func(t *testing.T) {
		a, s := newAside(t), &source{err: errDown}
		want(t, a, s, "", errDown, 1)
		s.set("one", nil)
		want(t, a, s, "one", nil, 2)
	})
}

func TestAside_Stale(t *testing.T) {
	inBubble(t, "served_while_source_fails", func(t *testing.T) {
		a, s := newAside(t), &source{value: "one"}
		want(t, a, s, "one", nil, 1)
		s.set("", errDown)
		time.Sleep(2 * time.Minute)
		want(t, a, s, "one", nil, 2)
		want(t, a, s, "one", nil, 2) // no second load within retryAfterFailure
		time.Sleep(retryAfterFailure)
		want(t, a, s, "one", nil, 3)
		time.Sleep(9 * time.Minute)
		want(t, a, s, "", errDown, 4) // past Stale
		s.set("two", nil)
		want(t, a, s, "two", nil, 5)
	})
	inBubble(t, "not_served_if_excluded", func(t *testing.T) {
		a, s := newAside(t), &source{value: "admin"}
		want(t, a, s, "admin", nil, 1)
		s.set("", errDown)
		time.Sleep(2 * time.Minute)
		want(t, a, s, "", errDown, 2)
	})
	inBubble(t, "not_served_if_deleted", func(t *testing.T) {
		a, s := newAside(t), &source{value: "one"}
		want(t, a, s, "one", nil, 1)
		s.set("", errAbsent)
		time.Sleep(2 * time.Minute)
		want(t, a, s, "one", nil, 2)
		want(t, a, s, "", errAbsent, 2)
		s.set("", errDown)
		time.Sleep(6 * time.Second)
		want(t, a, s, "", errDown, 3)
	})
}

func TestAside_Refresh(t *testing.T) {
	inBubble(t, "before_expiry", func(t *testing.T) {
		a, s := newAside(t), &source{value: "one"}
		want(t, a, s, "one", nil, 1)
		time.Sleep(50 * time.Second) // more than 80 % of every lifetime from 54 to 60 s
		v, state := a.Peek("k", time.Now())
		if v != "one" || state != Due {
			t.Fatalf("Peek = %q, %v, want state Due", v, state)
		}
		s.set("two", nil)
		a.Refresh("k", time.Now(), s.load)
		a.Refresh("k", time.Now(), s.load)
		synctest.Wait()
		want(t, a, s, "two", nil, 2)
	})
	inBubble(t, "retry_after_failure", func(t *testing.T) {
		a, s := newAside(t), &source{value: "one"}
		want(t, a, s, "one", nil, 1)
		time.Sleep(50 * time.Second)
		s.set("", errDown)
		a.Refresh("k", time.Now(), s.load)
		synctest.Wait()
		if _, state := a.Peek("k", time.Now()); state != Fresh {
			t.Fatalf("state after a failure = %v, want Fresh", state)
		}
		time.Sleep(retryAfterFailure)
		if _, state := a.Peek("k", time.Now()); state != Due {
			t.Fatalf("state %v after a failure = %v, want Due", retryAfterFailure, state)
		}
	})
}

// Keys that are read again and again stay while others are read once, although not
// each read is reported to the eviction policy.
func TestAside_KeepsKeysInUse(t *testing.T) {
	a := newAside(t)
	load := func(context.Context) (string, error) { return "v", nil }
	get := func(key string) {
		if _, err := a.Get(t.Context(), key, time.Now(), load); err != nil {
			t.Fatal(err)
		}
	}
	const used = 50 // of 100 that are cached
	for i := range 200 * used {
		get("used" + strconv.Itoa(i%used))
		a.Len() // the policy gets reports in the background, or now
	}
	for i := range 2000 {
		get("once" + strconv.Itoa(i))
		for j := range 10 {
			a.Peek("used"+strconv.Itoa((10*i+j)%used), time.Now()) // if it isn't cached, it stays so
		}
		a.Len()
	}
	kept := 0
	for i := range used {
		if _, state := a.Peek("used"+strconv.Itoa(i), time.Now()); state == Fresh {
			kept++
		}
	}
	if kept < used*8/10 {
		t.Errorf("%d of %d keys in use are cached", kept, used)
	}
}

func TestAside_NegativeEntriesDoNotEvictValues(t *testing.T) {
	a := newAside(t)
	now := time.Now()
	existing := func(context.Context) (string, error) { return "existing", nil }
	absent := func(context.Context) (string, error) { return "", errAbsent }
	if _, err := a.Get(t.Context(), "existing", now, existing); err != nil {
		t.Fatal(err)
	}
	for i := range 2000 {
		_, _ = a.Get(t.Context(), "unknown "+time.Duration(i).String(), now, absent)
	}
	if _, state := a.Peek("existing", now); state != Fresh {
		t.Fatal("2000 unknown keys evicted an existing one")
	}
	a.negative.CleanUp()
	if n := a.negative.EstimatedSize(); n > 10 {
		t.Fatalf("%d negative entries, want at most 10", n)
	}
}

func TestAside_Close(t *testing.T) {
	inBubble(t, "cancels_running_loads", func(t *testing.T) {
		a, s := newAside(t), &source{value: "late", takes: time.Second}
		ended := make(chan error, 1)
		go func() {
			_, err := a.Get(t.Context(), "k", time.Now(), s.load)
			ended <- err
		}()
		synctest.Wait()
		a.Close()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Fatalf("running load ended with %v, want Canceled", err)
		}
		want(t, a, s, "", context.Canceled, 1)
	})
}

// newVersioned returns a cache in which only the value of valid is valid.
func newVersioned(t *testing.T, valid *atomic.Value) *Aside[string, string] {
	t.Helper()
	a, err := NewAside[string](Options[string]{
		Size: 100, LoadTimeout: 2 * time.Second, TTL: time.Minute, Stale: 10 * time.Minute,
		Negative: func(err error) bool { return errors.Is(err, errAbsent) }, NegativeSize: 10, NegativeTTL: 5 * time.Second,
		Valid: func(v string) bool { return v == valid.Load() },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

func TestAside_Invalidate(t *testing.T) {
	inBubble(t, "invalid_value_is_reloaded_and_not_served_stale", func(t *testing.T) {
		var valid atomic.Value
		valid.Store("old")
		a := newVersioned(t, &valid)
		s := &source{value: "old"}
		if v, err := a.Get(t.Context(), "k", time.Now(), s.load); v != "old" || err != nil {
			t.Fatalf("%q, %v", v, err)
		}
		valid.Store("new")
		a.Invalidate()
		s.set("", errDown)
		if _, state := a.Peek("k", time.Now()); state != Expired {
			t.Errorf("state of an invalid entry = %d, want Expired", state)
		}
		if v, err := a.Get(t.Context(), "k", time.Now(), s.load); !errors.Is(err, errDown) {
			t.Errorf("Get while the source is down = %q, %v, want %v", v, err, errDown)
		}
		s.set("new", nil)
		if v, err := a.Get(t.Context(), "k", time.Now(), s.load); v != "new" || err != nil {
			t.Errorf("Get = %q, %v, want new", v, err)
		}
	})
	inBubble(t, "removes_negative_entries", func(t *testing.T) {
		var valid atomic.Value
		valid.Store("new")
		a := newVersioned(t, &valid)
		s := &source{err: errAbsent}
		if _, err := a.Get(t.Context(), "k", time.Now(), s.load); !errors.Is(err, errAbsent) {
			t.Fatal(err)
		}
		s.set("new", nil)
		a.Invalidate()
		if v, err := a.Get(t.Context(), "k", time.Now(), s.load); v != "new" || err != nil {
			t.Errorf("Get = %q, %v, want new", v, err)
		}
	})
}

// TestAside_Invalidate_EarlierLoad checks that a load that began before an
// invalidation is neither shared with later reads nor cached.
func TestAside_Invalidate_EarlierLoad(t *testing.T) {
	for name, result := range map[string]error{"value": nil, "negative": errAbsent} {
		inBubble(t, name, func(t *testing.T) {
			var valid atomic.Value
			valid.Store("old")
			a := newVersioned(t, &valid)
			slow := &source{value: "old", err: result, takes: time.Second}
			var early sync.WaitGroup
			early.Go(func() { _, _ = a.Get(t.Context(), "k", time.Now(), slow.load) })
			synctest.Wait()

			valid.Store("new")
			a.Invalidate()
			quick := &source{value: "new"}
			if v, err := a.Get(t.Context(), "k", time.Now(), quick.load); v != "new" || err != nil {
				t.Errorf("Get after Invalidate = %q, %v, want new", v, err)
			}
			early.Wait() // the slow load ends last
			if v, err := a.Get(t.Context(), "k", time.Now(), quick.load); v != "new" || err != nil {
				t.Errorf("Get after the earlier load = %q, %v, want new", v, err)
			}
			if n := quick.loads.Load(); name == "negative" && n != 1 {
				t.Errorf("%d loads after Invalidate, want 1", n)
			}
		})
	}
}
