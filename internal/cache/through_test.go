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

func newThrough(t *testing.T) *Through[string, string] {
	t.Helper()
	c, err := NewThrough[string, string](ThroughOptions{Size: 100, TTL: time.Minute, LoadTimeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// table is a source that can be written.
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

func wantRead(t *testing.T, c *Through[string, string], s *table, value string, loads int64) {
	t.Helper()
	got, err := c.Get(t.Context(), "k", s.load)
	if got != value || err != nil || s.loads.Load() != loads {
		t.Fatalf("Get = %q, %v after %d loads; want %q after %d", got, err, s.loads.Load(), value, loads)
	}
}

func TestAWriteIsInTheSourceAndInTheCacheWhenItReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newThrough(t), &table{source{value: "one"}}
		wantRead(t, c, s, "one", 1)
		if v, err := c.Write(t.Context(), "k", s.write("two", time.Second)); v != "two" || err != nil {
			t.Fatal(v, err)
		}
		wantRead(t, c, s, "two", 1) // no load
		time.Sleep(time.Minute)
		wantRead(t, c, s, "two", 2) // the TTL: others may write too
	})
}

// A load that read the old value before a write, and ends after it, must leave
// no trace: neither in the cache nor with readers who came after the write.
func TestALoadThatBeganBeforeAWriteIsNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newThrough(t), &table{source{value: "one", takes: time.Second}}
		early := make(chan string, 1)
		go func() {
			v, _ := c.Get(t.Context(), "k", s.load)
			early <- v
		}()
		synctest.Wait() // it has read "one", and is on its way
		if _, err := c.Write(t.Context(), "k", s.write("two", 0)); err != nil {
			t.Fatal(err)
		}
		wantRead(t, c, s, "two", 1)
		if v := <-early; v != "one" {
			t.Fatalf("the early reader got %q", v)
		}
		wantRead(t, c, s, "two", 1)
	})
}

func TestALoadThatBeganBeforeAWriteIsNotSharedWithLaterReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newThrough(t), &table{source{value: "one", takes: time.Second}}
		go func() { _, _ = c.Get(t.Context(), "k", s.load) }()
		synctest.Wait()
		_, _ = c.Write(t.Context(), "k", func(context.Context) (string, error) {
			s.set("two", nil)
			return "", errDown // nobody knows whether it was written
		})
		wantRead(t, c, s, "two", 2)
	})
}

func TestAReadDuringAWriteAsksTheSourceAndIsNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newThrough(t), &table{source{value: "one"}}
		wantRead(t, c, s, "one", 1)
		written := make(chan error, 1)
		go func() {
			_, err := c.Write(t.Context(), "k", s.write("two", 2*time.Second))
			written <- err
		}()
		time.Sleep(500 * time.Millisecond)
		wantRead(t, c, s, "one", 2)
		time.Sleep(time.Second) // the source has it, Write hasn't returned
		wantRead(t, c, s, "two", 3)
		if err := <-written; err != nil {
			t.Fatal(err)
		}
		wantRead(t, c, s, "two", 3)
	})
}

func TestWritesBesideEachOtherLeaveNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newThrough(t), &table{}
		// The first to reach the source is the last to return: its value is old.
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

func TestAFailedWriteForgetsTheValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newThrough(t), &table{source{value: "one"}}
		wantRead(t, c, s, "one", 1)
		_, err := c.Write(t.Context(), "k", func(context.Context) (string, error) {
			s.set("two", nil) // committed, and the answer was lost
			return "", errDown
		})
		if !errors.Is(err, errDown) {
			t.Fatal(err)
		}
		wantRead(t, c, s, "two", 2)
		func() {
			defer func() { _ = recover() }()
			_, _ = c.Write(t.Context(), "k", func(context.Context) (string, error) { panic("oh") })
		}()
		wantRead(t, c, s, "two", 3)
		if err := c.Delete(t.Context(), "k", func(context.Context) error { s.set("", errAbsent); return nil }); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Get(t.Context(), "k", s.load); !errors.Is(err, errAbsent) {
			t.Fatalf("a deleted value: %v", err)
		}
	})
}

// Whoever has written reads what it wrote or something newer, whoever else
// reads and writes beside it.
func TestNoReadAfterAWriteIsStale(t *testing.T) {
	c, err := NewThrough[int, int](ThroughOptions{Size: 100, TTL: time.Minute, LoadTimeout: time.Second})
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
				mine, _ := c.Write(t.Context(), k, func(context.Context) (int, error) {
					mu.Lock()
					defer mu.Unlock()
					source[k]++
					return source[k], nil
				})
				if got, err := c.Get(t.Context(), k, load(k)); err != nil || got < mine {
					t.Errorf("read %s after writing %d: %v", strconv.Itoa(got), mine, err)
					return
				}
			}
		})
	}
	callers.Wait()
}
