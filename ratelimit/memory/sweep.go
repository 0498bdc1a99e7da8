package memory

import "ratelimiter/ratelimit"

const (
	// sweepOnCreate is how many records a new subject's take looks at: more
	// than one, so that the idle ones are found faster than new ones come.
	sweepOnCreate = 4
	// sweepEvery takes of a shard, the next other shard is looked at, so that
	// quiet shards give up their idle subjects too. A power of two.
	sweepEvery = 64
	// sweepAway is how many records are looked at there.
	sweepAway = 16
	// evictSample is how many subjects are compared when the store is full.
	evictSample = 8
)

// hand is the place in a shard's slabs that is looked at next.
type hand struct {
	class  int
	number uint32
}

// advance moves the hand to the next record; false means that there is none.
func (sh *shard) advance() (ref, bool) {
	for range len(classes) + 1 {
		if sh.hand.number < sh.slabs[sh.hand.class].made {
			r := newRef(sh.hand.class, sh.hand.number)
			sh.hand.number++
			return r, true
		}
		sh.hand = hand{class: (sh.hand.class + 1) % len(classes)}
	}
	return 0, false
}

// sweep looks at up to n records and forgets the idle ones. It waits a little
// beyond idleness, so that a late caller doesn't find a fresh counter.
func (sh *shard) sweep(now int64, n int) {
	for range n {
		r, ok := sh.advance()
		if !ok {
			return
		}
		if idle := sh.record(r).idleAt(); r != sh.pinned && idle < now-int64(ratelimit.Skew) {
			sh.forget(r)
		}
	}
}

// sweepNext sweeps one other shard, in turn, unless it is busy.
func (s *Store) sweepNext(turn uint32, now int64) {
	sh := &s.shards[turn%uint32(len(s.shards))]
	if sh.mu.TryLock() {
		sh.sweep(now, sweepAway)
		sh.mu.Unlock()
	}
}

// evict forgets one of a few subjects, the one that would be idle first.
func (sh *shard) evict() {
	var victim ref
	first := int64(unused)
	for range evictSample {
		r, ok := sh.advance()
		if !ok {
			break
		}
		if idle := sh.record(r).idleAt(); r != sh.pinned && idle < first {
			victim, first = r, idle
		}
	}
	if victim != 0 {
		sh.forget(victim)
	}
}
