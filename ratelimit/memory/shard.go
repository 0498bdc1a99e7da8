package memory

import (
	"math"
	"sync"

	"ratelimiter/ratelimit"
)

// shard is a part of the store under one lock.
type shard struct {
	mu   sync.Mutex
	turn uint32 // how often it was used

	index       index
	slabs       [len(classes)]slab
	lists       []ratelimit.List
	freeLists   []uint64
	generation  uint32
	maxSubjects int
	hand        hand
	pinned      ref // a record that must stay for now

	_ [64]byte // neighbours don't share a cache line
}

// lookup finds a subject's record.
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

// create makes an empty record for a subject that has none, and pays for it
// by looking for idle ones.
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

// move puts a record into a larger class.
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

// free gives the memory of a record back, not the lists that it points to.
func (sh *shard) free(r ref) {
	rec := sh.record(r)
	clear(rec)
	rec.setIdleAt(unused)
	slab := &sh.slabs[r.class()]
	slab.free = append(slab.free, r.number())
}

// forget removes a subject.
func (sh *shard) forget(r ref) {
	rec := sh.record(r)
	for i := range rec.used() {
		sh.dropList(rec.cell(cellAt(headerWords + i*cellWords)))
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

// dropList frees the list of a cell that has one.
func (sh *shard) dropList(c cell) {
	if c.listed() {
		sh.lists[c[4]] = ratelimit.List{}
		sh.freeLists = append(sh.freeLists, c[4])
	}
}

// spins is how often a shard is tried for before its lock puts the goroutine to
// sleep. What is done under the lock takes some 100 ns, and a sleep with its
// wake-up some microseconds, so on one hot key sleeping would cost more than
// all the rest.
const spins = 100

// lock locks the shard.
func (sh *shard) lock() {
	for range spins {
		if sh.mu.TryLock() {
			return
		}
		for range 8 {
			// Wait a moment without touching the lock.
		}
	}
	sh.mu.Lock()
}
