package memory

import "ratelimiter/ratelimit"

const (
	// sweepOnCreate is the number of records swept when a subject is created.
	// It is more than one, so that idle subjects are removed faster than
	// subjects are created.
	sweepOnCreate = 4
	// sweepEvery is the number of takes of a shard after which it sweeps another
	// shard, so that idle subjects leave shards without takes. A power of two.
	sweepEvery = 64
	// sweepOther is the number of records swept in another shard.
	sweepOther = 16
	// evictSample is the number of subjects compared for an eviction.
	evictSample = 8
)

// sweepCursor is the position of the next record to sweep.
type sweepCursor struct {
	class  int
	number uint32
}

// nextRecord advances the cursor and returns the next record. It returns false
// if the shard has none.
func (sh *shard) nextRecord() (ref, bool) {
	for range len(classes) + 1 {
		if sh.cursor.number < sh.slabs[sh.cursor.class].allocated {
			r := newRef(sh.cursor.class, sh.cursor.number)
			sh.cursor.number++
			return r, true
		}
		sh.cursor = sweepCursor{class: (sh.cursor.class + 1) % len(classes)}
	}
	return 0, false
}

// sweep checks up to n records and removes idle subjects. It keeps them for
// ratelimit.Skew, so that a late caller doesn't find a fresh counter.
func (sh *shard) sweep(now int64, n int) {
	for range n {
		r, ok := sh.nextRecord()
		if !ok {
			return
		}
		if idle := sh.record(r).idleAt(); r != sh.pinned && idle < now-int64(ratelimit.Skew) {
			sh.remove(r)
		}
	}
}

// sweepShard sweeps shard n modulo the number of shards, unless it is locked.
func (s *Store) sweepShard(n uint32, now int64) {
	sh := &s.shards[n%uint32(len(s.shards))]
	if sh.mu.TryLock() {
		sh.sweep(now, sweepOther)
		sh.mu.Unlock()
	}
}

// evict removes the subject of a sample that would become idle first.
func (sh *shard) evict() {
	var victim ref
	first := int64(unused)
	for range evictSample {
		r, ok := sh.nextRecord()
		if !ok {
			break
		}
		if idle := sh.record(r).idleAt(); r != sh.pinned && idle < first {
			victim, first = r, idle
		}
	}
	if victim != 0 {
		sh.remove(victim)
	}
}
