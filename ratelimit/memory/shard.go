package memory

import (
	"math"
	"sync"
	"unsafe"

	"ratelimiter/ratelimit"
)

// shard is the part of the store that one lock protects.
type shard struct {
	mu   sync.Mutex
	uses uint32
	// grown is whether memory was allocated since unlock last compared it with
	// maxBytes.
	grown bool

	index      index
	slabs      [len(classes)]slab
	lists      []*ratelimit.List
	freeLists  []uint64
	listBytes  int
	accounts   accounts
	generation uint32
	maxBytes   int
	cursor     sweepCursor

	_ [64]byte // prevents false sharing with the next shard
}

// lookup returns the record of a subject, or 0 and nil. It tries the subject's hint
// first, which saves a cache miss, and sets it to what the index says.
func (sh *shard) lookup(subject *ratelimit.Subject) (ref, record) {
	hash := subject.Hash
	if r := ref(subject.Hint()); sh.has(r) {
		if rec := sh.record(r); rec.belongsTo(hash) {
			return r, rec
		}
	}
	for at := sh.index.first(hash); ; at = sh.index.next(at) {
		r, ok := sh.index.at(at, hash)
		if !ok {
			return 0, nil
		}
		if r == 0 {
			continue
		}
		if rec := sh.record(r); rec.belongsTo(hash) {
			subject.SetHint(uint32(r))
			return r, rec
		}
	}
}

// has reports whether r is a record of the shard, now.
func (sh *shard) has(r ref) bool {
	return r != 0 && r.class() < len(classes) && r.number() < sh.slabs[r.class()].used
}

func (sh *shard) record(r ref) record { return sh.slabs[r.class()].record(r.number()) }

// create adds an empty record for a subject.
func (sh *shard) create(subject *ratelimit.Subject, class int) (ref, record) {
	r, rec := sh.allocate(class)
	rec[0], rec[1] = subject.Hash[0], subject.Hash[1]
	rec.setIdleAt(math.MinInt64)
	rec.setAccount(sh.accounts.open(subject.Account))
	sh.accounts.add(rec.account(), rec.bytes())
	sh.enterRing(r, rec)
	sh.index.insert(subject.Hash, r)
	return r, rec
}

// move moves a record to a larger class. Another record may take its place.
func (sh *shard) move(from ref, class int) (ref, record) {
	old := sh.record(from)
	r, rec := sh.allocate(class)
	copy(rec, old)
	sh.accounts.add(rec.account(), rec.bytes()-old.bytes())
	sh.moved(from, r)
	sh.free(from)
	return r, rec
}

func (sh *shard) allocate(class int) (ref, record) {
	sh.grown = true
	n := sh.slabs[class].add(class)
	return newRef(class, n), sh.slabs[class].record(n)
}

// free removes a record from its slab. The last record takes its place, so that
// slabs have no holes and their memory can serve other classes. free doesn't
// release the record's lists.
func (sh *shard) free(r ref) {
	slab := &sh.slabs[r.class()]
	if last := newRef(r.class(), slab.used-1); r != last {
		copy(sh.record(r), sh.record(last))
		sh.moved(last, r)
	}
	slab.removeLast()
}

// remove removes a subject and its lists. Another record may take its place.
func (sh *shard) remove(r ref) {
	rec := sh.record(r)
	for i := range rec.usedCells() {
		sh.releaseList(rec, rec.cell(cellOffset(headerWords+i*cellWords)))
	}
	sh.index.remove([2]uint64{rec[0], rec[1]}, r)
	sh.leaveRing(r, rec)
	sh.accounts.add(rec.account(), -rec.bytes())
	sh.free(r)
}

// enterRing makes a record the last of its account's.
func (sh *shard) enterRing(r ref, rec record) {
	first := &sh.accounts.numbered[rec.account()].first
	if *first == 0 {
		*first = r
		rec.setNext(r)
		rec.setPrev(r)
		return
	}
	next := sh.record(*first)
	rec.setNext(*first)
	rec.setPrev(next.prev())
	sh.record(next.prev()).setNext(r)
	next.setPrev(r)
}

// leaveRing removes a record from its account's.
func (sh *shard) leaveRing(r ref, rec record) {
	first := &sh.accounts.numbered[rec.account()].first
	if rec.next() == r {
		*first = 0
		return
	}
	sh.record(rec.next()).setPrev(rec.prev())
	sh.record(rec.prev()).setNext(rec.next())
	if *first == r {
		*first = rec.next()
	}
}

// moved updates the references to a record that was copied.
func (sh *shard) moved(from, to ref) {
	rec := sh.record(to)
	sh.index.replace([2]uint64{rec[0], rec[1]}, from, to)
	if rec.next() == from {
		rec.setNext(to)
		rec.setPrev(to)
	} else {
		sh.record(rec.next()).setPrev(to)
		sh.record(rec.prev()).setNext(to)
	}
	if first := &sh.accounts.numbered[rec.account()].first; *first == from {
		*first = to
	}
}

func (sh *shard) list(c cell) *ratelimit.List { return sh.lists[c[4]] }

// newList returns the index of an empty list for a cell of rec.
func (sh *shard) newList(rec record) uint64 {
	var slot uint64
	if n := len(sh.freeLists); n > 0 {
		slot = sh.freeLists[n-1]
		sh.freeLists = sh.freeLists[:n-1]
	} else {
		slot = uint64(len(sh.lists))
		sh.lists = append(sh.lists, nil)
	}
	sh.lists[slot] = new(ratelimit.List)
	sh.resized(rec, listBytes(sh.lists[slot]))
	return slot
}

// releaseList releases the cell's List, if it has one.
func (sh *shard) releaseList(rec record, c cell) {
	if !c.listed() {
		return
	}
	sh.resized(rec, -listBytes(sh.list(c)))
	sh.lists[c[4]] = nil
	sh.freeLists = append(sh.freeLists, c[4])
	if len(sh.freeLists) == len(sh.lists) {
		sh.lists, sh.freeLists = nil, nil
	}
}

// resized records that the lists of rec have changed by n bytes.
func (sh *shard) resized(rec record, n int) {
	sh.listBytes += n
	sh.accounts.add(rec.account(), n)
	sh.grown = true
}

// listBytes returns the memory of a list, which is allocated on its own.
func listBytes(l *ratelimit.List) int {
	return int(unsafe.Sizeof(*l)+7)&^15 + cap(l.Entries)*int(unsafe.Sizeof(ratelimit.Entry{}))
}

// bytes returns the memory of the shard.
func (sh *shard) bytes() int {
	n := sh.listBytes + 8*(len(sh.index.slots)+cap(sh.lists)+cap(sh.freeLists)) + sh.accounts.bytes()
	for class := range sh.slabs {
		n += sh.slabs[class].bytes()
	}
	return n
}

// unlock first sweeps and evicts as much as the shard has grown, when no record
// is in use any more.
func (sh *shard) unlock(now int64) {
	if sh.grown {
		sh.grown = false
		sh.sweep(now, sweepOnCreate)
		for sh.bytes() > sh.maxBytes && sh.evict() {
		}
	}
	sh.mu.Unlock()
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
