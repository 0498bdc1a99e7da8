package cache

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var (
	errAbsent = errors.New("there is no such value")
	errDown   = errors.New("the source is down")
)

// source is what a cache under test loads from.
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

// want checks what the cache says now, and how many loads there were by then.
func want(t *testing.T, a *Aside[string, string], s *source, value string, err error, loads int64) {
	t.Helper()
	got, gotErr := a.Get(t.Context(), "k", time.Now(), s.load)
	synctest.Wait()
	if got != value || !errors.Is(gotErr, err) {
		t.Fatalf("Get = %q, %v; want %q, %v", got, gotErr, value, err)
	}
	if n := s.loads.Load(); n != loads {
		t.Fatalf("%d loads; want %d", n, loads)
	}
}

func TestAValueIsLoadedOnceUntilItsTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := newAside(t), &source{value: "one"}
		want(t, a, s, "one", nil, 1)
		s.set("two", nil)
		time.Sleep(40 * time.Second)
		want(t, a, s, "one", nil, 1)
		time.Sleep(21 * time.Second)
		want(t, a, s, "two", nil, 2)
	})
}

func TestSimultaneousMissesShareOneLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
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
			t.Fatalf("%d answers by %d loads; want 1000 by 1", right.Load(), s.loads.Load())
		}
	})
}

func TestACallerThatGivesUpDoesNotFailTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := newAside(t), &source{value: "one", takes: time.Second}
		first, giveUp := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() { // begins the load
			_, err := a.Get(first, "k", time.Now(), s.load)
			gone <- err
		}()
		synctest.Wait()
		giveUp()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Fatalf("the caller that gave up got %v", err)
		}
		want(t, a, s, "one", nil, 1)
	})
}

func TestAnAbsentValueIsRememberedForAShortTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := newAside(t), &source{err: errAbsent}
		want(t, a, s, "", errAbsent, 1)
		time.Sleep(4 * time.Second)
		s.set("now there is", nil)
		want(t, a, s, "", errAbsent, 1)
		time.Sleep(2 * time.Second)
		want(t, a, s, "now there is", nil, 2)
	})
}

func TestAFailureIsNotRememberedAsAbsence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := newAside(t), &source{err: errDown}
		want(t, a, s, "", errDown, 1)
		s.set("one", nil)
		want(t, a, s, "one", nil, 2)
	})
}

func TestAStaleValueIsServedWhileTheSourceIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := newAside(t), &source{value: "one"}
		want(t, a, s, "one", nil, 1)
		s.set("", errDown)
		time.Sleep(2 * time.Minute)
		want(t, a, s, "one", nil, 2)
		want(t, a, s, "one", nil, 2) // the source isn't asked again at once
		time.Sleep(retryAfterFailure)
		want(t, a, s, "one", nil, 3)
		time.Sleep(9 * time.Minute)
		want(t, a, s, "", errDown, 4) // stale for too long
		s.set("two", nil)
		want(t, a, s, "two", nil, 5)
	})
}

func TestAStaleValueThatIsExceptedIsNotServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := newAside(t), &source{value: "admin"}
		want(t, a, s, "admin", nil, 1)
		s.set("", errDown)
		time.Sleep(2 * time.Minute)
		want(t, a, s, "", errDown, 2)
	})
}

func TestAValueThatIsGoneIsNotServedStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := newAside(t), &source{value: "one"}
		want(t, a, s, "one", nil, 1)
		s.set("", errAbsent)
		time.Sleep(2 * time.Minute)
		want(t, a, s, "", errAbsent, 2)
		s.set("", errDown)
		time.Sleep(6 * time.Second)
		want(t, a, s, "", errDown, 3)
	})
}

func TestAValueInUseIsRefreshedAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := newAside(t), &source{value: "one"}
		want(t, a, s, "one", nil, 1)
		time.Sleep(50 * time.Second) // past 80 % of any life from 54 to 60 s
		v, state := a.Peek("k", time.Now())
		if v != "one" || state != Due {
			t.Fatalf("Peek = %q, %v; want it Due", v, state)
		}
		s.set("two", nil)
		a.Refresh("k", time.Now(), s.load)
		a.Refresh("k", time.Now(), s.load)
		synctest.Wait()
		want(t, a, s, "two", nil, 2)
	})
}

func TestAFailedRefreshIsNotRepeatedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := newAside(t), &source{value: "one"}
		want(t, a, s, "one", nil, 1)
		time.Sleep(50 * time.Second)
		s.set("", errDown)
		a.Refresh("k", time.Now(), s.load)
		synctest.Wait()
		if _, state := a.Peek("k", time.Now()); state != Fresh {
			t.Fatalf("right after a failure the state is %v; want Fresh", state)
		}
		time.Sleep(retryAfterFailure)
		if _, state := a.Peek("k", time.Now()); state != Due {
			t.Fatalf("%v after a failure the state is %v; want Due", retryAfterFailure, state)
		}
	})
}

func TestUntilEndsAnEntryBeforeItsTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := newAside(t), &source{value: "one"}
		end := time.Now().Add(10 * time.Second)
		a.opts.Until = func(string) time.Time { return end }
		want(t, a, s, "one", nil, 1)
		time.Sleep(9 * time.Second)
		want(t, a, s, "one", nil, 1)
		time.Sleep(time.Second)
		want(t, a, s, "one", nil, 2)
	})
}

func TestALoadThatHangsOrPanicsEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := newAside(t), &source{value: "late", takes: time.Hour}
		want(t, a, s, "", context.DeadlineExceeded, 1)
		_, err := a.Get(t.Context(), "k", time.Now(), func(context.Context) (string, error) { panic("oh") })
		if err == nil {
			t.Fatal("a panic in a load is no error")
		}
	})
}

func TestMadeUpKeysDoNotPushOutRealOnes(t *testing.T) {
	a := newAside(t)
	now := time.Now()
	real := func(context.Context) (string, error) { return "real", nil }
	absent := func(context.Context) (string, error) { return "", errAbsent }
	if _, err := a.Get(t.Context(), "real", now, real); err != nil {
		t.Fatal(err)
	}
	for i := range 2000 {
		_, _ = a.Get(t.Context(), "made up "+time.Duration(i).String(), now, absent)
	}
	if _, state := a.Peek("real", now); state != Fresh {
		t.Fatal("2000 made-up keys pushed the real one out")
	}
	a.negative.CleanUp()
	if n := a.negative.EstimatedSize(); n > 10 {
		t.Fatalf("%d absences are remembered; the bound is 10", n)
	}
}

func TestCloseEndsLoadsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := newAside(t), &source{value: "late", takes: time.Second}
		ended := make(chan error, 1)
		go func() {
			_, err := a.Get(t.Context(), "k", time.Now(), s.load)
			ended <- err
		}()
		synctest.Wait()
		a.Close()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Fatalf("a load under way ended with %v", err)
		}
		want(t, a, s, "", context.Canceled, 1)
	})
}

// versioned is a cache whose values count only while they are what valid says.
func versioned(t *testing.T, valid *atomic.Value) *Aside[string, string] {
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

func TestWhatIsNoLongerValidIsLoadedAnewAndNeverServedStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var valid atomic.Value
		valid.Store("old")
		a := versioned(t, &valid)
		s := &source{value: "old"}
		if v, err := a.Get(t.Context(), "k", time.Now(), s.load); v != "old" || err != nil {
			t.Fatalf("%q, %v", v, err)
		}
		valid.Store("new")
		a.Invalidate()
		s.set("", errDown)
		if _, state := a.Peek("k", time.Now()); state != Expired {
			t.Errorf("an invalid entry is in state %d", state)
		}
		if v, err := a.Get(t.Context(), "k", time.Now(), s.load); !errors.Is(err, errDown) {
			t.Errorf("while the source is down: %q, %v", v, err)
		}
		s.set("new", nil)
		if v, err := a.Get(t.Context(), "k", time.Now(), s.load); v != "new" || err != nil {
			t.Errorf("%q, %v; want new", v, err)
		}
	})
}

func TestALoadThatBeganBeforeAnInvalidationIsNeitherJoinedNorRemembered(t *testing.T) {
	for name, before := range map[string]error{"a value": nil, "nothing": errAbsent} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var valid atomic.Value
				valid.Store("old")
				a := versioned(t, &valid)
				slow := &source{value: "old", err: before, takes: time.Second}
				var early sync.WaitGroup
				early.Go(func() { _, _ = a.Get(t.Context(), "k", time.Now(), slow.load) })
				synctest.Wait()

				valid.Store("new")
				a.Invalidate()
				quick := &source{value: "new"}
				if v, err := a.Get(t.Context(), "k", time.Now(), quick.load); v != "new" || err != nil {
					t.Errorf("after the invalidation: %q, %v; want new", v, err)
				}
				early.Wait() // the slow load ends last
				if v, err := a.Get(t.Context(), "k", time.Now(), quick.load); v != "new" || err != nil {
					t.Errorf("after the slow load: %q, %v; want new", v, err)
				}
				if n := quick.loads.Load(); name == "nothing" && n != 1 {
					t.Errorf("%d loads after the invalidation; want 1", n)
				}
			})
		})
	}
}

func TestThatThereWasNothingIsForgottenWithAnInvalidation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var valid atomic.Value
		valid.Store("new")
		a := versioned(t, &valid)
		s := &source{err: errAbsent}
		if _, err := a.Get(t.Context(), "k", time.Now(), s.load); !errors.Is(err, errAbsent) {
			t.Fatal(err)
		}
		s.set("new", nil)
		a.Invalidate()
		if v, err := a.Get(t.Context(), "k", time.Now(), s.load); v != "new" || err != nil {
			t.Errorf("%q, %v; want new", v, err)
		}
	})
}
