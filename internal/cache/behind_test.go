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

// ledger is a source of counters that remembers which batches it has counted.
type ledger struct {
	mu      sync.Mutex
	totals  map[string]int
	seen    map[[16]byte]bool
	batches int
	fail    func(id [16]byte) (before, after error) // before or after counting
	lost    int
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

func (l *ledger) read() (sum, batches, lost int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.totals {
		sum += n
	}
	return sum, l.batches, l.lost
}

func (l *ledger) lose(b Batch[string, int], _ error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range b.Entries {
		l.lost += e.Value
	}
}

func newBehind(t *testing.T, l *ledger, change func(*BehindOptions[string, int])) *Behind[string, int] {
	t.Helper()
	opts := BehindOptions[string, int]{
		Size: 1000, Backlog: 2000, BatchSize: 100, Interval: time.Second, Timeout: 5 * time.Second,
		Flush: l.flush, Lost: l.lose,
	}
	if change != nil {
		change(&opts)
	}
	b := NewBehind(opts)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = b.Close(ctx)
	})
	return b
}

func add(t *testing.T, b *Behind[string, int], key string) {
	t.Helper()
	if !b.Update(key, func(n *int) { *n++ }) {
		t.Fatalf("no room for %s", key)
	}
}

func wantLedger(t *testing.T, l *ledger, sum, batches int) {
	t.Helper()
	if s, n, _ := l.read(); s != sum || n != batches {
		t.Fatalf("the source has %d in %d batches; want %d in %d", s, n, sum, batches)
	}
}

func TestWritesAreCoalescedAndFlushedInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		b := newBehind(t, l, nil)
		for i := range 10_000 {
			add(t, b, strconv.Itoa(i%250))
		}
		wantLedger(t, l, 0, 0)
		time.Sleep(time.Second)
		synctest.Wait()
		wantLedger(t, l, 10_000, 3) // 250 entries, 100 a batch
		time.Sleep(time.Minute)
		wantLedger(t, l, 10_000, 3) // nothing, nothing to flush
		add(t, b, "0")
		if err := b.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantLedger(t, l, 10_001, 4)
	})
}

func TestARetriedFlushCountsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		b := newBehind(t, l, nil)
		tries := 0
		l.fail = func([16]byte) (error, error) {
			if tries++; tries <= 3 {
				return nil, errDown // counted, but the answer was lost
			}
			return nil, nil
		}
		add(t, b, "k")
		if err := b.Flush(t.Context()); !errors.Is(err, errDown) {
			t.Fatalf("Flush: %v", err)
		}
		add(t, b, "k")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		wantLedger(t, l, 2, 2)
	})
}

func TestACloseDrainsToTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		b := newBehind(t, l, nil)
		for i := range 450 { // under half of the room: nobody comes early
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
			t.Error("a closed Behind takes updates")
		}
		if err := b.Close(ctx); err != nil {
			t.Errorf("a second Close: %v", err)
		}
		if err := b.Flush(ctx); err == nil {
			t.Error("a closed Behind flushes")
		}
	})
}

func TestACloseThatCannotDrainSaysWhatIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		l.fail = func([16]byte) (error, error) { return errDown, nil }
		b := newBehind(t, l, nil)
		for i := range 150 {
			add(t, b, strconv.Itoa(i))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := b.Close(ctx); err == nil || err.Error() != "150 entries were lost: closed before the source took it" {
			t.Fatalf("Close: %v", err)
		}
		if _, _, lost := l.read(); lost != 150 {
			t.Fatalf("Lost was told of %d", lost)
		}
	})
}

func TestAFailingSourceIsWaitedForUpToABound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		l.fail = func([16]byte) (error, error) { return errDown, nil }
		b := newBehind(t, l, func(o *BehindOptions[string, int]) { o.Backlog = 700 })
		taken := 0
		for i := range 40 { // new entries for longer than there is room
			for j := range 50 {
				if b.Update(strconv.Itoa(i*50+j), func(n *int) { *n++ }) {
					taken++
				}
			}
			time.Sleep(time.Second)
		}
		synctest.Wait()
		l.failWith(nil)
		time.Sleep(time.Second)
		synctest.Wait()
		sum, _, lost := l.read()
		if taken != 2000 || sum+lost != taken || sum < 700 || sum > 700+1000 {
			t.Fatalf("taken %d, counted %d, lost %d", taken, sum, lost)
		}
		if l.totals["0"] != 0 || l.totals["1999"] != 1 {
			t.Error("the oldest have to be lost first")
		}
	})
}

func TestAFullBehindRefusesAndComesEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		b := newBehind(t, l, func(o *BehindOptions[string, int]) { o.Size, o.Interval = 10, time.Hour })
		for i := range 5 {
			add(t, b, strconv.Itoa(i))
		}
		synctest.Wait()
		wantLedger(t, l, 0, 0)
		add(t, b, "5")
		synctest.Wait()
		wantLedger(t, l, 6, 1) // long before the hour

		// While a flush is under way nobody comes for them.
		underWay := make(chan struct{})
		l.failWith(func([16]byte) (error, error) { <-underWay; return nil, nil })
		for i := range 6 {
			add(t, b, strconv.Itoa(i))
		}
		synctest.Wait()
		for i := range 10 {
			add(t, b, strconv.Itoa(i))
		}
		if b.Update("one too many", func(n *int) { *n++ }) {
			t.Error("an eleventh entry of ten was taken")
		}
		add(t, b, "0") // an entry that is there takes no room
		close(underWay)
		synctest.Wait()
		wantLedger(t, l, 6+6+10+1, 3)
	})
}

func TestABatchThatIsItsOwnFaultIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
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
		b := newBehind(t, l, func(o *BehindOptions[string, int]) {
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
		if _, _, lost := l.read(); lost != 1 {
			t.Errorf("lost %d", lost)
		}
	})
}

func TestAFlushThatHangsOrPanicsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		tries := 0
		b := newBehind(t, l, func(o *BehindOptions[string, int]) {
			o.Flush = func(ctx context.Context, batch Batch[string, int]) error {
				switch tries++; tries {
				case 1:
					<-ctx.Done()
					return ctx.Err()
				case 2:
					panic("oh")
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

// Every update that reported true is counted once, whatever runs beside it.
func TestTheTotalsEqualWhatWasSent(t *testing.T) {
	l := newLedger()
	b := newBehind(t, l, func(o *BehindOptions[string, int]) { o.Interval = time.Millisecond })
	const writers, each = 4, 20_000
	var sent sync.WaitGroup
	for range writers {
		sent.Go(func() {
			for i := range each {
				if !b.Update(strconv.Itoa(i%100), func(n *int) { *n++ }) {
					t.Error("no room")
					return
				}
			}
		})
	}
	sent.Wait()
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if sum, _, _ := l.read(); sum != writers*each {
		t.Fatalf("%d were counted; want %d", sum, writers*each)
	}
}

func TestAnUpdateAllocatesNothing(t *testing.T) {
	l := newLedger()
	b := newBehind(t, l, func(o *BehindOptions[string, int]) { o.Interval = time.Hour })
	by := 1
	update := func() { b.Update("k", func(n *int) { *n += by }) }
	update()
	if n := testing.AllocsPerRun(1000, update); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
