package cache

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestAside_Stats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone, down := errors.New("gone"), errors.New("down")
		a, err := NewAside[string](Options[string]{
			Size: 10, LoadTimeout: time.Second, TTL: time.Minute, Stale: time.Hour,
			Negative: func(err error) bool { return errors.Is(err, gone) }, NegativeSize: 10, NegativeTTL: time.Minute,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		get := func(key string, err error) {
			_, _ = a.Get(t.Context(), key, time.Now(), func(context.Context) (string, error) { return "v", err })
			synctest.Wait()
		}
		get("a", nil)  // miss
		get("a", nil)  // hit
		get("b", gone) // miss
		get("b", gone) // negative
		get("c", down) // miss
		time.Sleep(2 * time.Minute)
		get("a", down) // stale
		got, want := a.Stats(), Stats{Hits: 1, Stale: 1, Negative: 1, Misses: 3, Loaded: 1, Absent: 1, Failed: 2, Entries: 1}
		if got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

func TestWriteBehind_Len(t *testing.T) {
	down := true
	b := NewWriteBehind(WriteBehindOptions[int, int]{
		Size: 100, Backlog: 100, BatchSize: 2, Interval: time.Hour, Timeout: time.Second,
		Flush: func(context.Context, Batch[int, int]) error {
			if down {
				return errors.New("down")
			}
			return nil
		},
	})
	b.Start()
	for i := range 5 {
		b.Update(i, func(*int) {})
	}
	before := b.Len()
	_ = b.Flush(t.Context()) // moves them to batches
	queued := b.Len()
	down = false
	if err := b.Flush(t.Context()); err != nil || before != 5 || queued != 5 || b.Len() != 0 {
		t.Errorf("error %v; %d entries, %d in batches, %d flushed", err, before, queued, b.Len())
	}
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
