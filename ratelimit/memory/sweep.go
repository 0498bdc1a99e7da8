package memory

import "ratelimiter/ratelimit"

const (
	// sweepOnCreate is the number of records swept when a shard has grown. It is
	// more than one, so that idle subjects are removed faster than subjects are
	// created.
	sweepOnCreate = 4
	// sweepEvery is the number of takes of a shard after which it sweeps another
	// shard, so that idle subjects leave shards without takes. A power of two.
	sweepEvery = 64
	// sweepOther is the number of records swept in another shard.
	sweepOther = 16
	// evictSample is the number of eligible subjects compared for an eviction.
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
		if sh.cursor.number < sh.slabs[sh.cursor.class].used {
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
		if sh.record(r).idleAt() < now-int64(ratelimit.Skew) {
			sh.remove(r)
			sh.cursor.number-- // another record took its place
		}
	}
}

// sweepShard sweeps shard n modulo the number of shards, unless it is locked.
func (s *Store) sweepShard(n uint32, now int64) {
	sh := &s.shards[n%uint32(len(s.shards))]
	if sh.mu.TryLock() {
		sh.sweep(now, sweepOther)
		sh.unlock(now)
	}
}

// evict removes a subject of an account that takes at least half of an equal
// share of the shard. Of a sample it removes one of the largest account, the one
// that would become idle first. Such accounts take at least half of all bytes, so
// few records are examined for each byte that is freed. It returns false if the
// shard is empty.
func (sh *shard) evict() bool {
	eligible := sh.accounts.equalShare() / 2
	var victim ref
	var size, found int // size is that of the victim's account
	var idle int64
	for examined := 0; examined < sh.index.used && found < evictSample; examined++ {
		r, _ := sh.nextRecord()
		rec := sh.record(r)
		n := sh.accounts.size(rec.account())
		if n < eligible {
			continue
		}
		found++
		if n > size || n == size && rec.idleAt() < idle {
			victim, size, idle = r, n, rec.idleAt()
		}
	}
	if victim == 0 {
		return false
	}
	sh.remove(victim)
	return true
}
