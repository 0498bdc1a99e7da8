package cache

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// newWriteThrough returns a cache of numbers that are their own versions. Values end
// after a minute at the latest.
func newWriteThrough(t *testing.T, s *source) *WriteThrough[string, string] {
	t.Helper()
	w, err := NewWriteThrough[string](Options[string]{
		Size: 100, LoadTimeout: 2 * time.Second, TTL: time.Minute, Stale: 10 * time.Minute,
		Negative: func(err error) bool { return errors.Is(err, errAbsent) }, NegativeSize: 10, NegativeTTL: 5 * time.Second,
	}, func(ctx context.Context, _ string) (string, error) { return s.load(ctx) },
		func(v string) int64 { n, _ := strconv.ParseInt(v, 10, 64); return n })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// wantRead checks the result of Get and the number of loads so far.
func wantRead(t *testing.T, w *WriteThrough[string, string], s *source, value string, err error, loads int64) {
	t.Helper()
	got, gotErr := w.Get(t.Context(), "k", time.Now())
	synctest.Wait()
	if got != value || !errors.Is(gotErr, err) || s.loads.Load() != loads {
		t.Fatalf("Get = %q, %v after %d loads; want %q, %v after %d", got, gotErr, s.loads.Load(), value, err, loads)
	}
}

func TestWriteThrough_Put(t *testing.T) {
	inBubble(t, "is_read_without_a_load", func(t *testing.T) {
		s := &source{value: "1"}
		w := newWriteThrough(t, s)
		wantRead(t, w, s, "1", nil, 1)
		s.set("2", nil)
		w.Put("k", "2")
		wantRead(t, w, s, "2", nil, 1)
		time.Sleep(10*time.Minute + time.Minute)
		wantRead(t, w, s, "2", nil, 2)
	})
	inBubble(t, "older_version_is_dropped", func(t *testing.T) {
		s := &source{}
		w := newWriteThrough(t, s)
		w.Put("k", "3")
		w.Put("k", "2")
		wantRead(t, w, s, "3", nil, 0)
	})
	inBubble(t, "replaces_a_negative_entry", func(t *testing.T) {
		s := &source{err: errAbsent}
		w := newWriteThrough(t, s)
		wantRead(t, w, s, "", errAbsent, 1)
		end := time.Now().Add(time.Second)
		w.aside.opts.Until = func(string) time.Time { return end }
		w.Put("k", "1")
		wantRead(t, w, s, "1", nil, 1)
		s.set("1", nil)
		time.Sleep(2 * time.Second) // the value has ended, the negative entry wouldn't have
		wantRead(t, w, s, "1", nil, 2)
	})
	// A load reads the old value before a write and ends after it.
	inBubble(t, "earlier_load_is_not_cached", func(t *testing.T) {
		s := &source{value: "1", takes: time.Second}
		w := newWriteThrough(t, s)
		early := make(chan string, 1)
		go func() {
			v, _ := w.Get(t.Context(), "k", time.Now())
			early <- v
		}()
		synctest.Wait() // the load has read 1
		w.Put("k", "2")
		if v := <-early; v != "1" {
			t.Fatalf("earlier Get = %q; want 1", v)
		}
		wantRead(t, w, s, "2", nil, 1)
	})
}

func TestWriteThrough_Remove(t *testing.T) {
	inBubble(t, "next_read_loads", func(t *testing.T) {
		s := &source{value: "1"}
		w := newWriteThrough(t, s)
		wantRead(t, w, s, "1", nil, 1)
		s.set("", errAbsent)
		w.Remove("k")
		wantRead(t, w, s, "", errAbsent, 2)
	})
	inBubble(t, "earlier_load_is_not_shared", func(t *testing.T) {
		s := &source{value: "1", takes: time.Second}
		w := newWriteThrough(t, s)
		go func() { _, _ = w.Get(t.Context(), "k", time.Now()) }()
		synctest.Wait()
		s.set("2", nil)
		w.Remove("k")
		wantRead(t, w, s, "2", nil, 2)
		wantRead(t, w, s, "2", nil, 2)
	})
	inBubble(t, "earlier_absence_is_not_cached", func(t *testing.T) {
		s := &source{err: errAbsent, takes: time.Second}
		w := newWriteThrough(t, s)
		go func() { _, _ = w.Get(t.Context(), "k", time.Now()) }()
		synctest.Wait()
		s.set("1", nil)
		w.Remove("k")
		time.Sleep(2 * time.Second)
		wantRead(t, w, s, "1", nil, 2)
	})
}

func TestWriteThrough_Invalidate(t *testing.T) {
	for _, test := range []struct {
		name    string
		version int64
		loads   int64
	}{{"later_version", 3, 1}, {"own_write", 2, 0}, {"earlier_version", 1, 0}, {"deletion", 0, 1}} {
		inBubble(t, test.name, func(t *testing.T) {
			s := &source{value: "2"}
			w := newWriteThrough(t, s)
			w.Put("k", "2")
			w.Invalidate("k", test.version)
			wantRead(t, w, s, "2", nil, test.loads)
		})
	}
	inBubble(t, "not_cached", func(t *testing.T) {
		s := &source{err: errAbsent}
		w := newWriteThrough(t, s)
		wantRead(t, w, s, "", errAbsent, 1)
		s.set("1", nil)
		w.Invalidate("k", 1)
		wantRead(t, w, s, "1", nil, 2)
	})
	inBubble(t, "all", func(t *testing.T) {
		s := &source{value: "1", takes: time.Second}
		w := newWriteThrough(t, s)
		w.Put("other", "1")
		go func() { _, _ = w.Get(t.Context(), "k", time.Now()) }()
		synctest.Wait()
		w.InvalidateAll()
		if _, state := w.aside.Peek("other", time.Now()); state != Absent {
			t.Error("an entry is still cached")
		}
		s.set("2", nil)
		wantRead(t, w, s, "2", nil, 2)
	})
}

func TestWriteThrough_Get(t *testing.T) {
	inBubble(t, "refreshes_ahead", func(t *testing.T) {
		s := &source{value: "1"}
		w := newWriteThrough(t, s)
		wantRead(t, w, s, "1", nil, 1)
		s.set("2", nil)
		time.Sleep(50 * time.Second)
		wantRead(t, w, s, "1", nil, 2) // at once; loaded behind
		wantRead(t, w, s, "2", nil, 2)
	})
	inBubble(t, "stale_while_source_fails", func(t *testing.T) {
		s := &source{value: "1"}
		w := newWriteThrough(t, s)
		wantRead(t, w, s, "1", nil, 1)
		s.set("", errDown)
		time.Sleep(2 * time.Minute)
		wantRead(t, w, s, "1", nil, 2)
	})
}

// TestWriteThrough_reads_own_writes checks that a read after a write returns that
// write or a later one, under concurrent reads and writes.
func TestWriteThrough_reads_own_writes(t *testing.T) {
	const keys, writers, rounds = 5, 4, 500
	var mu sync.Mutex
	var table [keys]int64
	load := func(_ context.Context, k int) (int64, error) {
		mu.Lock()
		defer mu.Unlock()
		return table[k], nil
	}
	w, err := NewWriteThrough(Options[int64]{Size: 100, LoadTimeout: time.Second, TTL: time.Minute}, load, func(v int64) int64 { return v })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	var callers sync.WaitGroup
	for i := range writers {
		callers.Go(func() {
			for round := range rounds {
				k := (i + round) % keys
				mu.Lock()
				table[k]++
				written := table[k]
				mu.Unlock()
				if k == 0 { // not both: a Put that comes after a later write's Remove isn't ordered
					w.Remove(k)
				} else {
					w.Put(k, written)
				}
				if got, err := w.Get(t.Context(), k, time.Now()); err != nil || got < written {
					t.Errorf("Get = %d, %v after writing %d", got, err, written)
					return
				}
			}
		})
	}
	callers.Wait()
}
