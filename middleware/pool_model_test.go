package middleware

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ratelimiter/models"
)

// guest is a caller of a pool in a made-up hour: when it comes, how long its
// work takes, and when it hangs up (0: never).
type guest struct {
	comes, works, hangsUp time.Duration
	panics                bool
}

// What becomes of a guest.
const (
	served  = "served"
	shed    = "shed"
	hungUp  = "hung up"
	crashed = "crashed"
)

// fate is what became of a guest, and when.
type fate struct {
	what string
	at   time.Duration
}

// foretell is the pool's rule in other words: a simulation, event by event, of
// workers and a queue, first come first served.
func foretell(guests []guest, workers, queue int) []fate {
	type state struct {
		stage string // "", waiting, working, gone
		ends  time.Duration
	}
	fates, states := make([]fate, len(guests)), make([]state, len(guests))
	var line []int // who waits, in order
	working := 0
	begin := func(i int, now time.Duration) {
		working++
		states[i] = state{"working", now + guests[i].works}
		if h := guests[i].hangsUp; h > 0 && h < states[i].ends {
			states[i].ends = h
		}
	}
	for {
		next, at := -1, time.Duration(1<<62) // the next event
		for i, g := range guests {
			when := at
			switch states[i].stage {
			case "":
				when = g.comes
			case "waiting", "working":
				when = states[i].ends
			}
			if when < at {
				next, at = i, when
			}
		}
		if next < 0 {
			return fates
		}
		g := guests[next]
		switch states[next].stage {
		case "":
			switch {
			case working < workers:
				begin(next, at)
			case len(line) < queue:
				line = append(line, next)
				states[next] = state{"waiting", at + maxWait}
				if g.hangsUp > 0 && g.hangsUp < at+maxWait {
					states[next].ends = g.hangsUp
				}
			default:
				states[next].stage, fates[next] = "gone", fate{shed, at}
			}
		case "waiting":
			line = slices.DeleteFunc(line, func(i int) bool { return i == next })
			states[next].stage, fates[next] = "gone", fate{shed, at}
			if at == g.hangsUp {
				fates[next].what = hungUp
			}
		case "working":
			working--
			states[next].stage, fates[next] = "gone", fate{served, at}
			switch {
			case at == g.hangsUp:
				fates[next].what = hungUp
			case g.panics:
				fates[next].what = crashed
			}
			if len(line) > 0 {
				begin(line[0], at)
				line = line[1:]
			}
		}
	}
}

// visit is a guest at a real pool.
func visit(p *Pool, g guest, start time.Time, inside func(int)) (f fate) {
	time.Sleep(g.comes)
	ctx := context.Background()
	if g.hangsUp > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, start.Add(g.hangsUp))
		defer cancel()
	}
	defer func() {
		if recover() != nil {
			f = fate{crashed, time.Since(start)}
		}
	}()
	err := p.Do(ctx, func(ctx context.Context) error {
		inside(1)
		defer inside(-1)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(g.works):
		}
		if g.panics {
			panic("oh")
		}
		return nil
	})
	switch at := time.Since(start); {
	case err == nil:
		return fate{served, at}
	case errors.Is(err, models.ErrOverloaded):
		return fate{shed, at}
	default:
		return fate{hungUp, at}
	}
}

// randomGuests makes a rush. Every instant has its own nanoseconds, so that no
// two events fall together, where any order would be right.
func randomGuests(random *rand.Rand) []guest {
	guests := make([]guest, 1+random.IntN(60))
	rush := time.Duration(1 + random.IntN(2000))
	for i := range guests {
		odd := time.Duration(random.IntN(1_000_000))
		guests[i] = guest{
			comes:  time.Duration(random.Int64N(int64(rush)))*time.Millisecond + odd,
			works:  time.Duration(1+random.IntN(300))*time.Millisecond + time.Duration(random.IntN(1_000_000)),
			panics: random.IntN(10) == 0,
		}
		if random.IntN(4) == 0 {
			guests[i].hangsUp = guests[i].comes + time.Duration(1+random.IntN(700))*time.Millisecond + time.Duration(random.IntN(1_000_000))
		}
	}
	return guests
}

// In any rush, everybody's fate is the one that the model foretells, to the
// nanosecond; never more than workers work; and all places come back.
func TestAPoolDoesWhatItsModelForetells(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		workers, queue := 1+random.IntN(4), random.IntN(8)
		guests := randomGuests(random)
		want := foretell(guests, workers, queue)
		synctest.Test(t, func(t *testing.T) {
			pool := NewPoolOf(workers, queue)
			got := make([]fate, len(guests))
			working, most := make(chan int, 1), 0
			working <- 0
			inside := func(change int) {
				now := <-working + change
				most = max(most, now)
				working <- now
			}
			start := time.Now()
			for i, g := range guests {
				go func() { got[i] = visit(pool, g, start, inside) }()
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			for i := range guests {
				if got[i] != want[i] {
					t.Errorf("seed %d: %d workers, queue %d: guest %d %+v: %+v; want %+v", seed, workers, queue, i, guests[i], got[i], want[i])
				}
				seen[got[i].what]++
			}
			if most > workers {
				t.Errorf("seed %d: %d worked at once; %d may", seed, most, workers)
			}
			pool.empty(t, int64(workers))
		})
		if t.Failed() {
			return
		}
	}
	for _, what := range []string{served, shed, hungUp, crashed} {
		if seen[what] < 100 {
			t.Errorf("%s: only %d guests", what, seen[what])
		}
	}
}
