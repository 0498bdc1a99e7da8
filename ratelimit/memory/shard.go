package memory

import (
	"math"
	"sync"

	"ratelimiter/ratelimit"
)

// shard is the part of the store that one lock protects.
type shard struct {
	mu   sync.Mutex
	uses uint32

	index       index
	slabs       [len(classes)]slab
	lists       []ratelimit.List
	freeLists   []uint64
	generation  uint32
	maxSubjects int
	cursor      sweepCursor
	pinned      ref // record that must not be removed; 0: none

	_ [64]byte // prevents false sharing with the next shard
}

// lookup returns the record of a subject, or 0 and nil.
func (sh *shard) lookup(hash [2]uint64) (ref, record) {
	for at := sh.index.first(hash); ; at = sh.index.next(at) {
		r, ok := sh.index.at(at, hash)
		if !ok {
			return 0, nil
		}
		if r == 0 {
			continue
		}
		if rec := sh.record(r); rec[0] == hash[0] && rec[1] == hash[1] {
			return r, rec
		}
	}
}

func (sh *shard) record(r ref) record { return sh.slabs[r.class()].record(r.number()) }

// create adds an empty record for a subject. It first sweeps, so that records
// are freed at least as fast as they are created.
func (sh *shard) create(hash [2]uint64, class int, now int64) (ref, record) {
	sh.sweep(now, sweepOnCreate)
	if sh.index.used >= sh.maxSubjects {
		sh.evict()
	}
	r, rec := sh.allocate(class)
	rec[0], rec[1] = hash[0], hash[1]
	rec.setIdleAt(math.MinInt64)
	sh.index.insert(hash, r)
	return r, rec
}

// move moves a record to a larger class.
func (sh *shard) move(from ref, class int) (ref, record) {
	old := sh.record(from)
	r, rec := sh.allocate(class)
	copy(rec, old)
	sh.index.replace([2]uint64{old[0], old[1]}, from, r)
	sh.free(from)
	return r, rec
}

func (sh *shard) allocate(class int) (ref, record) {
	n := sh.slabs[class].allocate(class)
	return newRef(class, n), sh.slabs[class].record(n)
}

// free returns a record to its slab. It doesn't release the record's lists.
func (sh *shard) free(r ref) {
	rec := sh.record(r)
	clear(rec)
	rec.setIdleAt(unused)
	slab := &sh.slabs[r.class()]
	slab.free = append(slab.free, r.number())
}

// remove removes a subject and its lists.
func (sh *shard) remove(r ref) {
	rec := sh.record(r)
	for i := range rec.usedCells() {
		sh.releaseList(rec.cell(cellOffset(headerWords + i*cellWords)))
	}
	sh.index.remove([2]uint64{rec[0], rec[1]}, r)
	sh.free(r)
}

func (sh *shard) list(c cell) *ratelimit.List { return &sh.lists[c[4]] }

func (sh *shard) newList() uint64 {
	if n := len(sh.freeLists); n > 0 {
		slot := sh.freeLists[n-1]
		sh.freeLists = sh.freeLists[:n-1]
		return slot
	}
	sh.lists = append(sh.lists, ratelimit.List{})
	return uint64(len(sh.lists) - 1)
}

// releaseList releases the cell's List, if it has one.
func (sh *shard) releaseList(c cell) {
	if c.listed() {
		sh.lists[c[4]] = ratelimit.List{}
		sh.freeLists = append(sh.freeLists, c[4])
	}
}

// spins is the number of attempts to lock a shard before blocking. The lock is
// held for about 100 ns, whereas blocking and waking a goroutine takes
// microseconds, which would dominate the time of a take on one hot key.
const spins = 100

func (sh *shard) lock() {
	for range spins {
		if sh.mu.TryLock() {
			return
		}
		for range 8 {
			// Pause without accessing the lock's cache line.
		}
	}
	sh.mu.Lock()
}
