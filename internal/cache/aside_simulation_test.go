package cache

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Times of the simulation: those of quotas.
const (
	simTTL, simStale, simMaxAge = time.Minute, 10 * time.Minute, 30 * time.Minute
	simLoad, simPoll            = 2 * time.Second, 3 * time.Second
	simLength                   = 2 * time.Hour
)

// simKinds are the keys of the simulation. "silent" changes without an entry in the
// log; "admin" must not be served stale.
var simKinds = []string{"busy", "quiet", "admin", "silent"}

// simValue is a cached value: a version of a key, loaded at a generation.
type simValue struct {
	kind    int
	version int
	loaded  int64
}

// simulation runs an Aside with a source that changes and fails, and a feed of its
// changes that fails too. Its variants break the promise of one part.
type simulation struct {
	variant string
	rand    *rand.Rand
	cache   *Aside[int, simValue]

	mu        sync.Mutex
	changedAt [][]time.Time // of each version of each kind
	logged    []int         // kinds that have changed since the last read
	down      bool          // the source
	lost      time.Time     // until then the feed reads nothing

	clock  atomic.Int64 // generations, as in internal/quota
	marked []atomic.Int64
	read   atomic.Pointer[time.Time]

	served, old, stale int // what was served: all, longer than TTL after its load, outdated
	fault              error
}

func simulate(t *testing.T, seed uint64, variant string) *simulation {
	s := &simulation{
		variant: variant, rand: rand.New(rand.NewPCG(seed, 0)),
		changedAt: make([][]time.Time, len(simKinds)), marked: make([]atomic.Int64, len(simKinds)),
	}
	for i := range s.changedAt {
		s.changedAt[i] = []time.Time{time.Now()}
	}
	readAt(&s.read, time.Time{})
	opts := Options[simValue]{
		Size: 100, LoadTimeout: simLoad, TTL: simTTL, Stale: simStale, MaxAge: simMaxAge,
		ServeStale: func(v simValue) bool { return simKinds[v.kind] != "admin" },
		Valid:      func(v simValue) bool { return s.marked[v.kind].Load() <= v.loaded },
		AsOf:       func() time.Time { return *s.read.Load() },
	}
	switch variant {
	case "the feed is taken for current while it is lost":
		opts.AsOf = time.Now
	case "changes are ignored":
		opts.Valid = nil
	case "admin keys are served stale":
		opts.ServeStale = nil
	case "no entry is too old":
		opts.MaxAge = 1000 * time.Hour
	}
	var err error
	if s.cache, err = NewAside[int](opts); err != nil {
		t.Fatal(err)
	}
	defer s.cache.Close()
	s.run(t)
	return s
}

// run acts in steps of half a second. Loads, and requests that wait, run in the background.
func (s *simulation) run(t *testing.T) {
	end, nextRead := time.Now().Add(simLength), time.Now()
	for time.Now().Before(end) && s.found() == nil {
		time.Sleep(time.Duration(s.rand.Int64N(int64(time.Second))))
		if s.rand.IntN(2000) == 0 {
			s.down = !s.down
		}
		if s.rand.IntN(6000) == 0 {
			s.lost = time.Now().Add(time.Duration(s.rand.Int64N(int64(30 * time.Minute))))
		}
		s.change()
		if now := time.Now(); !now.Before(nextRead) && now.After(s.lost) {
			s.readLog()
			nextRead = now.Add(simPoll)
		}
		for range s.rand.IntN(3) {
			s.request(t, s.rand.IntN(len(simKinds)))
		}
	}
}

// found returns the fault that was found so far.
func (s *simulation) found() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault
}

// change changes keys at the source.
func (s *simulation) change() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for kind, name := range simKinds {
		if often := map[string]int{"busy": 8}[name]; s.rand.IntN(cmp.Or(often, 20*(1+kind)*(1+kind))) == 0 {
			s.changedAt[kind] = append(s.changedAt[kind], time.Now())
			if name != "silent" {
				s.logged = append(s.logged, kind)
			}
		}
	}
}

// readLog invalidates what has changed before the read began.
func (s *simulation) readLog() {
	began, changes := time.Now(), s.logged
	s.logged = nil
	if s.variant == "the feed is current before it has invalidated" {
		readAt(&s.read, began)
		s.request(nil, s.rand.IntN(len(simKinds)))
	}
	for _, kind := range changes {
		s.marked[kind].Store(s.clock.Add(1))
		if s.variant != "earlier loads are shared" {
			s.cache.Invalidate()
		}
	}
	time.Sleep(time.Duration(s.rand.Int64N(int64(time.Second / 2))))
	readAt(&s.read, began)
}

// load reads a key somewhere between its beginning and its end.
func (s *simulation) load(kind int) Load[simValue] {
	before, after := time.Duration(s.rand.Int64N(int64(time.Second))), time.Duration(s.rand.Int64N(int64(time.Second)))
	down := s.down
	return func(ctx context.Context) (simValue, error) {
		v := simValue{kind: kind, loaded: s.clock.Load()}
		time.Sleep(before)
		s.mu.Lock()
		v.version = len(s.changedAt[kind]) - 1
		s.mu.Unlock()
		time.Sleep(after)
		if s.variant == "a load doesn't note when it began" {
			v.loaded = s.clock.Load()
		}
		if down {
			return simValue{}, errDown
		}
		return v, ctx.Err()
	}
}

// request reads a key as requests do, in the background if it has to wait, and
// checks what it gets.
func (s *simulation) request(t *testing.T, kind int) {
	began, asOf := time.Now(), s.cache.opts.AsOf()
	value, state := s.cache.Peek(kind, began)
	switch state {
	case Due, Stale:
		s.cache.Refresh(kind, began, s.load(kind))
	case Absent, Expired:
		load := s.load(kind)
		if t == nil {
			return
		}
		go func() {
			if v, err := s.cache.Get(t.Context(), kind, began, load); err == nil {
				s.check(v, began, asOf)
			}
		}()
		return
	case Fresh:
	}
	e, _ := s.cache.entries.GetIfPresent(kind)
	if began.Sub(e.loadedAt) > simTTL+simLoad && state == Fresh {
		s.old++
	}
	s.check(value, began, asOf)
}

// check checks a value that was served to a request that began when the log had been
// read as of asOf.
func (s *simulation) check(v simValue, began, asOf time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.served++
	name, versions := simKinds[v.kind], s.changedAt[v.kind]
	if v.version == len(versions)-1 {
		return
	}
	s.stale++
	outdated := versions[v.version+1]
	bound := simTTL + simStale + simLoad
	switch name {
	case "admin":
		bound = simTTL + simLoad
	case "silent":
		bound += simMaxAge
	}
	switch {
	case name != "silent" && outdated.Before(asOf):
		s.fault = fmt.Errorf("a version of %s is served that ended %s before the last read of the log", name, asOf.Sub(outdated))
	case began.Sub(outdated) > bound:
		s.fault = fmt.Errorf("a version of %s is served %s after its end; want at most %s", name, began.Sub(outdated), bound)
	}
}

// TestAside_simulation checks what is served of a source that changes and fails,
// with a feed of its changes that fails too: nothing that the feed has invalidated,
// and nothing that is outdated for longer than the bounds. It finds broken variants.
func TestAside_simulation(t *testing.T) {
	const seeds, brokenSeeds = 3, 100 // most variants are found in the first ten
	inBubble(t, "correct", func(t *testing.T) {
		served, old, stale := 0, 0, 0
		for seed := range uint64(seeds) {
			s := simulate(t, seed, "")
			if s.fault != nil {
				t.Errorf("seed %d: %v", seed, s.fault)
			}
			served, old, stale = served+s.served, old+s.old, stale+s.stale
		}
		t.Logf("%d values were served, %d of them fresh after their TTL, %d outdated", served, old, stale)
		if old == 0 || stale == 0 {
			t.Error("the simulation doesn't reach what it tests")
		}
	})
	for _, variant := range []string{
		"the feed is taken for current while it is lost", "the feed is current before it has invalidated", "changes are ignored",
		"earlier loads are shared", "a load doesn't note when it began", "admin keys are served stale", "no entry is too old",
	} {
		inBubble(t, variant, func(t *testing.T) {
			for seed := range uint64(brokenSeeds) {
				if s := simulate(t, seed, variant); s.fault != nil {
					t.Logf("seed %d: %v", seed, s.fault)
					return
				}
			}
			t.Error("the simulation found no fault")
		})
	}
}
