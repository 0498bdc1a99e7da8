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

// evict removes a subject of the largest accounts: of a sample, the one that would
// become idle first. So an account never loses a counter while another has twice
// its bytes. It returns false if the shard is empty.
func (sh *shard) evict() bool {
	ring := sh.accounts.largest()
	if ring == nil {
		return false
	}
	var victim ref
	var idle int64
	for range evictSample { // of each account in turn, the next record
		owner := &sh.accounts.numbered[*ring-1]
		rec := sh.record(owner.first)
		if victim == 0 || rec.idleAt() < idle {
			victim, idle = owner.first, rec.idleAt()
		}
		*ring, owner.first = owner.next+1, rec.next()
	}
	sh.remove(victim)
	return true
}
