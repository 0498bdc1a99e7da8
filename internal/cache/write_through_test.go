package cache

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func newWriteThrough(t *testing.T) *WriteThrough[string, string] {
	t.Helper()
	c, err := NewWriteThrough[string, string](WriteThroughOptions{Size: 100, TTL: time.Minute, LoadTimeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// table is a writable source.
type table struct {
	source
}

func (s *table) write(value string, takes time.Duration) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		time.Sleep(takes / 2)
		s.set(value, nil)
		time.Sleep(takes / 2)
		return value, nil
	}
}

func wantRead(t *testing.T, c *WriteThrough[string, string], s *table, value string, loads int64) {
	t.Helper()
	got, err := c.Get(t.Context(), "k", s.load)
	if got != value || err != nil || s.loads.Load() != loads {
		t.Fatalf("Get = %q, %v after %d loads, want %q after %d", got, err, s.loads.Load(), value, loads)
	}
}

func TestWriteThrough_Write(t *testing.T) {
	inBubble(t, "updates_source_and_cache", func(t *testing.T) {
		c, s := newWriteThrough(t), &table{source{value: "one"}}
		wantRead(t, c, s, "one", 1)
		if v, err := c.Write(t.Context(), "k", s.write("two", time.Second)); v != "two" || err != nil {
			t.Fatal(v, err)
		}
		wantRead(t, c, s, "two", 1) // no load
		time.Sleep(time.Minute)
		wantRead(t, c, s, "two", 2) // after the TTL
	})
	inBubble(t, "failure_removes_the_value", func(t *testing.T) {
		c, s := newWriteThrough(t), &table{source{value: "one"}}
		wantRead(t, c, s, "one", 1)
		_, err := c.Write(t.Context(), "k", func(context.Context) (string, error) {
			s.set("two", nil) // committed, but the response is lost
			return "", errDown
		})
		if !errors.Is(err, errDown) {
			t.Fatal(err)
		}
		wantRead(t, c, s, "two", 2)
		func() {
			defer func() { _ = recover() }()
			_, _ = c.Write(t.Context(), "k", func(context.Context) (string, error) { panic("test") })
		}()
		wantRead(t, c, s, "two", 3)
		if err := c.Delete(t.Context(), "k", func(context.Context) error { s.set("", errAbsent); return nil }); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Get(t.Context(), "k", s.load); !errors.Is(err, errAbsent) {
			t.Fatalf("Get of a deleted value = %v, want %v", err, errAbsent)
		}
	})
	inBubble(t, "concurrent_writes_cache_nothing", func(t *testing.T) {
		c, s := newWriteThrough(t), &table{}
		// The first write at the source returns last, with an outdated value.
		var writes sync.WaitGroup
		writes.Go(func() {
			_, _ = c.Write(t.Context(), "k", func(context.Context) (string, error) {
				s.set("one", nil)
				time.Sleep(3 * time.Second)
				return "one", nil
			})
		})
		writes.Go(func() { _, _ = c.Write(t.Context(), "k", s.write("two", 2*time.Second)) })
		writes.Wait()
		wantRead(t, c, s, "two", 1)
		wantRead(t, c, s, "two", 1)
	})
}

func TestWriteThrough_Get(t *testing.T) {
	// A load reads the old value before a write and ends after it.
	inBubble(t, "earlier_load_is_not_cached", func(t *testing.T) {
		c, s := newWriteThrough(t), &table{source{value: "one", takes: time.Second}}
		early := make(chan string, 1)
		go func() {
			v, _ := c.Get(t.Context(), "k", s.load)
			early <- v
		}()
		synctest.Wait() // the load has read "one"
		if _, err := c.Write(t.Context(), "k", s.write("two", 0)); err != nil {
			t.Fatal(err)
		}
		wantRead(t, c, s, "two", 1)
		if v := <-early; v != "one" {
			t.Fatalf("earlier Get = %q, want one", v)
		}
		wantRead(t, c, s, "two", 1)
	})
	inBubble(t, "earlier_load_is_not_shared_with_later_reads", func(t *testing.T) {
		c, s := newWriteThrough(t), &table{source{value: "one", takes: time.Second}}
		go func() { _, _ = c.Get(t.Context(), "k", s.load) }()
		synctest.Wait()
		_, _ = c.Write(t.Context(), "k", func(context.Context) (string, error) {
			s.set("two", nil)
			return "", errDown // committed, but the response is lost
		})
		wantRead(t, c, s, "two", 2)
	})
	inBubble(t, "read_during_write_is_not_cached", func(t *testing.T) {
		c, s := newWriteThrough(t), &table{source{value: "one"}}
		wantRead(t, c, s, "one", 1)
		written := make(chan error, 1)
		go func() {
			_, err := c.Write(t.Context(), "k", s.write("two", 2*time.Second))
			written <- err
		}()
		time.Sleep(500 * time.Millisecond)
		wantRead(t, c, s, "one", 2)
		time.Sleep(time.Second) // the source has changed, Write hasn't returned
		wantRead(t, c, s, "two", 3)
		if err := <-written; err != nil {
			t.Fatal(err)
		}
		wantRead(t, c, s, "two", 3)
	})
}

// TestWriteThrough_ReadYourWrites checks that a read after a write returns that
// write or a newer one, under concurrent reads and writes.
func TestWriteThrough_ReadYourWrites(t *testing.T) {
	c, err := NewWriteThrough[int, int](WriteThroughOptions{Size: 100, TTL: time.Minute, LoadTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	const keys, writers, rounds = 5, 4, 500
	var mu sync.Mutex
	var source [keys]int
	load := func(k int) Load[int] {
		return func(context.Context) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return source[k], nil
		}
	}
	var callers sync.WaitGroup
	for w := range writers {
		callers.Go(func() {
			for i := range rounds {
				k := (w + i) % keys
				written, _ := c.Write(t.Context(), k, func(context.Context) (int, error) {
					mu.Lock()
					defer mu.Unlock()
					source[k]++
					return source[k], nil
				})
				if got, err := c.Get(t.Context(), k, load(k)); err != nil || got < written {
					t.Errorf("Get = %d, %v after writing %d", got, err, written)
					return
				}
			}
		})
	}
	callers.Wait()
}
