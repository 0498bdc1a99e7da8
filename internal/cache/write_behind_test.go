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

// ledger is a source of counters that applies each batch once.
type ledger struct {
	mu      sync.Mutex
	totals  map[string]int
	seen    map[[16]byte]bool
	batches int
	fail    func(id [16]byte) (before, after error) // errors before and after applying
	dropped int
}

func newLedger() *ledger { return &ledger{totals: map[string]int{}, seen: map[[16]byte]bool{}} }

func (l *ledger) flush(_ context.Context, b Batch[string, int]) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var after error
	if l.fail != nil {
		var before error
		if before, after = l.fail(b.ID); before != nil {
			return before
		}
	}
	if !l.seen[b.ID] {
		l.seen[b.ID] = true
		l.batches++
		for _, e := range b.Entries {
			l.totals[e.Key] += e.Value
		}
	}
	return after
}

func (l *ledger) failWith(fail func([16]byte) (before, after error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = fail
}

func (l *ledger) read() (sum, batches, dropped int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.totals {
		sum += n
	}
	return sum, l.batches, l.dropped
}

func (l *ledger) drop(b Batch[string, int], _ error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range b.Entries {
		l.dropped += e.Value
	}
}

func newWriteBehind(t *testing.T, l *ledger, change func(*WriteBehindOptions[string, int])) *WriteBehind[string, int] {
	t.Helper()
	opts := WriteBehindOptions[string, int]{
		Size: 1000, Backlog: 2000, BatchSize: 100, Interval: time.Second, Timeout: 5 * time.Second,
		Flush: l.flush, OnDrop: l.drop,
	}
	if change != nil {
		change(&opts)
	}
	b := NewWriteBehind(opts)
	b.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = b.Close(ctx)
	})
	return b
}

func add(t *testing.T, b *WriteBehind[string, int], key string) {
	t.Helper()
	if !b.Update(key, func(n *int) { *n++ }) {
		t.Fatalf("Update(%q) = false", key)
	}
}

func wantLedger(t *testing.T, l *ledger, sum, batches int) {
	t.Helper()
	if s, n, _ := l.read(); s != sum || n != batches {
		t.Fatalf("source has %d in %d batches, want %d in %d", s, n, sum, batches)
	}
}

func TestWriteBehind_Flush(t *testing.T) {
	inBubble(t, "coalesces_into_batches", func(t *testing.T) {
		l := newLedger()
		b := newWriteBehind(t, l, nil)
		for i := range 10_000 {
			add(t, b, strconv.Itoa(i%250))
		}
		wantLedger(t, l, 0, 0)
		time.Sleep(time.Second)
		synctest.Wait()
		wantLedger(t, l, 10_000, 3) // 250 entries, 100 per batch
		time.Sleep(time.Minute)
		wantLedger(t, l, 10_000, 3) // no empty batches
		add(t, b, "0")
		if err := b.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantLedger(t, l, 10_001, 4)
	})
	inBubble(t, "at_whole_intervals", func(t *testing.T) {
		time.Sleep(1300 * time.Millisecond)
		l := newLedger()
		b := newWriteBehind(t, l, func(o *WriteBehindOptions[string, int]) {
			o.Flush = func(ctx context.Context, batch Batch[string, int]) error {
				if now := time.Now(); !now.Equal(now.Truncate(time.Second)) {
					t.Errorf("flushed at %s", now)
				}
				time.Sleep(1200 * time.Millisecond)
				return l.flush(ctx, batch)
			}
		})
		for range 100 {
			add(t, b, "k")
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		wantLedger(t, l, 100, 6)
	})
	inBubble(t, "retry_is_applied_once", func(t *testing.T) {
		l := newLedger()
		b := newWriteBehind(t, l, nil)
		tries := 0
		l.fail = func([16]byte) (error, error) {
			if tries++; tries <= 3 {
				return nil, errDown // applied, but the response is lost
			}
			return nil, nil
		}
		add(t, b, "k")
		if err := b.Flush(t.Context()); !errors.Is(err, errDown) {
			t.Fatalf("Flush = %v, want %v", err, errDown)
		}
		add(t, b, "k")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		wantLedger(t, l, 2, 2)
	})
	inBubble(t, "timeout_and_panic_are_retried", func(t *testing.T) {
		l := newLedger()
		tries := 0
		b := newWriteBehind(t, l, func(o *WriteBehindOptions[string, int]) {
			o.Flush = func(ctx context.Context, batch Batch[string, int]) error {
				switch tries++; tries {
				case 1:
					<-ctx.Done()
					return ctx.Err()
				case 2:
					panic("test")
				}
				return l.flush(ctx, batch)
			}
		})
		add(t, b, "k")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		wantLedger(t, l, 1, 1)
	})
}

func TestWriteBehind_Close(t *testing.T) {
	inBubble(t, "drains", func(t *testing.T) {
		l := newLedger()
		b := newWriteBehind(t, l, nil)
		for i := range 450 { // less than half of Size, so no early flush
			add(t, b, strconv.Itoa(i))
		}
		down := true
		l.failWith(func([16]byte) (error, error) {
			if down {
				return errDown, nil
			}
			return nil, nil
		})
		go func() {
			time.Sleep(2500 * time.Millisecond)
			l.mu.Lock()
			defer l.mu.Unlock()
			down = false
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := b.Close(ctx); err != nil {
			t.Fatal(err)
		}
		wantLedger(t, l, 450, 5)
		if b.Update("late", func(n *int) { *n++ }) {
			t.Error("Update after Close = true")
		}
		if err := b.Close(ctx); err != nil {
			t.Errorf("second Close = %v", err)
		}
		if err := b.Flush(ctx); err == nil {
			t.Error("Flush after Close returns no error")
		}
	})
	inBubble(t, "reports_dropped_entries", func(t *testing.T) {
		l := newLedger()
		l.fail = func([16]byte) (error, error) { return errDown, nil }
		b := newWriteBehind(t, l, nil)
		for i := range 150 {
			add(t, b, strconv.Itoa(i))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := b.Close(ctx); err == nil || err.Error() != "150 entries dropped: closed before they were flushed" {
			t.Fatalf("Close = %v", err)
		}
		if _, _, dropped := l.read(); dropped != 150 {
			t.Fatalf("OnDrop got %d entries, want 150", dropped)
		}
	})
}

func TestWriteBehind_Bounds(t *testing.T) {
	inBubble(t, "flushes_early_and_rejects_when_full", func(t *testing.T) {
		l := newLedger()
		b := newWriteBehind(t, l, func(o *WriteBehindOptions[string, int]) { o.Size, o.Interval = 10, time.Hour })
		for i := range 5 {
			add(t, b, strconv.Itoa(i))
		}
		synctest.Wait()
		wantLedger(t, l, 0, 0)
		add(t, b, "5")
		synctest.Wait()
		wantLedger(t, l, 6, 1) // long before Interval

		// A running flush blocks further flushes.
		finish := make(chan struct{})
		l.failWith(func([16]byte) (error, error) { <-finish; return nil, nil })
		for i := range 6 {
			add(t, b, strconv.Itoa(i))
		}
		synctest.Wait()
		for i := range 10 {
			add(t, b, strconv.Itoa(i))
		}
		if b.Update("11th", func(n *int) { *n++ }) {
			t.Error("Update of an eleventh entry = true, want false for Size 10")
		}
		add(t, b, "0") // an existing entry needs no room
		close(finish)
		synctest.Wait()
		wantLedger(t, l, 6+6+10+1, 3)
	})
	inBubble(t, "backlog_drops_oldest", func(t *testing.T) {
		l := newLedger()
		l.fail = func([16]byte) (error, error) { return errDown, nil }
		b := newWriteBehind(t, l, func(o *WriteBehindOptions[string, int]) { o.Backlog = 700 })
		accepted := 0
		for i := range 40 { // more new entries than Size and Backlog
			for j := range 50 {
				if b.Update(strconv.Itoa(i*50+j), func(n *int) { *n++ }) {
					accepted++
				}
			}
			time.Sleep(time.Second)
		}
		synctest.Wait()
		l.failWith(nil)
		time.Sleep(time.Second)
		synctest.Wait()
		sum, _, dropped := l.read()
		if accepted != 2000 || sum+dropped != accepted || sum < 700 || sum > 700+1000 {
			t.Fatalf("%d accepted, %d applied, %d dropped", accepted, sum, dropped)
		}
		if l.totals["0"] != 0 || l.totals["1999"] != 1 {
			t.Error("the oldest entries aren't dropped first")
		}
	})
	inBubble(t, "drops_permanently_failing_batch", func(t *testing.T) {
		l := newLedger()
		errBad := errors.New("bad")
		var bad [16]byte
		l.fail = func(id [16]byte) (error, error) {
			if bad == [16]byte{} {
				bad = id
			}
			if id == bad {
				return errBad, nil
			}
			return nil, nil
		}
		b := newWriteBehind(t, l, func(o *WriteBehindOptions[string, int]) {
			o.Permanent = func(err error) bool { return errors.Is(err, errBad) }
		})
		add(t, b, "bad")
		_ = b.Flush(t.Context())
		add(t, b, "good")
		time.Sleep(8 * time.Second)
		wantLedger(t, l, 0, 0)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		wantLedger(t, l, 1, 1)
		if _, _, dropped := l.read(); dropped != 1 {
			t.Errorf("%d entries dropped, want 1", dropped)
		}
	})
}

// TestWriteBehind_ExactTotals checks that every accepted update is applied once
// under concurrent updates and flushes.
func TestWriteBehind_ExactTotals(t *testing.T) {
	l := newLedger()
	b := newWriteBehind(t, l, func(o *WriteBehindOptions[string, int]) { o.Interval = time.Millisecond })
	const writers, each = 4, 20_000
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for i := range each {
				if !b.Update(strconv.Itoa(i%100), func(n *int) { *n++ }) {
					t.Error("Update = false")
					return
				}
			}
		})
	}
	wg.Wait()
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if sum, _, _ := l.read(); sum != writers*each {
		t.Fatalf("source has %d, want %d", sum, writers*each)
	}
}

func TestWriteBehind_UpdateDoesNotAllocate(t *testing.T) {
	l := newLedger()
	b := newWriteBehind(t, l, func(o *WriteBehindOptions[string, int]) { o.Interval = time.Hour })
	by := 1
	update := func() { b.Update("k", func(n *int) { *n += by }) }
	update()
	if n := testing.AllocsPerRun(1000, update); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
