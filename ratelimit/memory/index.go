package memory

// index finds a subject's record by its hash: open addressing with linear
// probing over words of 8 bytes, half of the hash's second word and the
// record's ref, so that eight subjects share a cache line. The whole hash is
// compared in the record, which is needed anyway.
type index struct {
	slots []uint64
	used  int
}

// minSlots is the first size of an index; all sizes are powers of two.
const minSlots = 16

func indexTag(hash [2]uint64) uint32 { return uint32(hash[1]) }

// first is where the search for a hash begins; next goes on.
func (x *index) first(hash [2]uint64) int { return x.home(indexTag(hash)) }

func (x *index) home(tag uint32) int { return int(tag) & (len(x.slots) - 1) }

func (x *index) next(at int) int { return (at + 1) & (len(x.slots) - 1) }

// at reads one slot: false ends the search, a ref of 0 is another subject's.
func (x *index) at(at int, hash [2]uint64) (ref, bool) {
	if len(x.slots) == 0 || x.slots[at] == 0 {
		return 0, false
	}
	if uint32(x.slots[at]>>32) != indexTag(hash) {
		return 0, true
	}
	return ref(x.slots[at]), true
}

// insert adds a hash that isn't there. Growing rewrites 8 bytes for each
// subject of the shard, some microseconds even for a store of millions.
func (x *index) insert(hash [2]uint64, r ref) {
	if (x.used+1)*4 > len(x.slots)*3 {
		old := x.slots
		x.slots = make([]uint64, max(minSlots, 2*len(old)))
		for _, slot := range old {
			if slot != 0 {
				x.put(slot)
			}
		}
	}
	x.put(uint64(indexTag(hash))<<32 | uint64(r))
	x.used++
}

func (x *index) put(slot uint64) {
	at := x.home(uint32(slot >> 32))
	for x.slots[at] != 0 {
		at = x.next(at)
	}
	x.slots[at] = slot
}

// place is where the slot of a hash and its ref stands; it must be there.
func (x *index) place(hash [2]uint64, r ref) int {
	want := uint64(indexTag(hash))<<32 | uint64(r)
	at := x.first(hash)
	for x.slots[at] != want {
		at = x.next(at)
	}
	return at
}

func (x *index) replace(hash [2]uint64, from, to ref) {
	x.slots[x.place(hash, from)] = uint64(indexTag(hash))<<32 | uint64(to)
}

// remove takes a slot out and moves later ones of its run up, so that no
// search ends too early (Knuth, TAOCP vol. 3, section 6.4, algorithm R).
func (x *index) remove(hash [2]uint64, r ref) {
	hole := x.place(hash, r)
	mask := len(x.slots) - 1
	for at := x.next(hole); x.slots[at] != 0; at = x.next(at) {
		home := x.home(uint32(x.slots[at] >> 32))
		if (at-home)&mask >= (at-hole)&mask {
			x.slots[hole] = x.slots[at]
			hole = at
		}
	}
	x.slots[hole] = 0
	x.used--
}
