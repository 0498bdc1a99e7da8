package memory

// index maps the hash of a subject to the ref of its record. It is a hash table
// with open addressing and linear probing. A slot has 8 bytes, half of the
// hash's second word and the ref, so that a cache line holds eight. The record
// has the full hash.
type index struct {
	slots []uint64 // 0: empty
	used  int
}

// minSlots is the initial number of slots, a power of two like all others.
const minSlots = 16

func indexTag(hash [2]uint64) uint32 { return uint32(hash[1]) }

// first returns the slot at which the search for a hash begins.
func (x *index) first(hash [2]uint64) int { return x.home(indexTag(hash)) }

func (x *index) home(tag uint32) int { return int(tag) & (len(x.slots) - 1) }

// next returns the slot at which a search continues after slot.
func (x *index) next(slot int) int { return (slot + 1) & (len(x.slots) - 1) }

// at reads a slot in the search for hash. false ends the search. A ref of 0
// belongs to another subject.
func (x *index) at(slot int, hash [2]uint64) (ref, bool) {
	if len(x.slots) == 0 || x.slots[slot] == 0 {
		return 0, false
	}
	if uint32(x.slots[slot]>>32) != indexTag(hash) {
		return 0, true
	}
	return ref(x.slots[slot]), true
}

// insert adds a hash that isn't in the index.
func (x *index) insert(hash [2]uint64, r ref) {
	if (x.used+1)*4 > len(x.slots)*3 {
		x.resize(max(minSlots, 2*len(x.slots)))
	}
	x.put(uint64(indexTag(hash))<<32 | uint64(r))
	x.used++
}

// resize copies 8 bytes per subject of the shard, which takes some ten
// microseconds in a store of millions of subjects.
func (x *index) resize(slots int) {
	old := x.slots
	x.slots = make([]uint64, slots)
	for _, entry := range old {
		if entry != 0 {
			x.put(entry)
		}
	}
}

func (x *index) put(entry uint64) {
	slot := x.home(uint32(entry >> 32))
	for x.slots[slot] != 0 {
		slot = x.next(slot)
	}
	x.slots[slot] = entry
}

// slotOf returns the slot of a hash and its ref, which must be in the index.
func (x *index) slotOf(hash [2]uint64, r ref) int {
	want := uint64(indexTag(hash))<<32 | uint64(r)
	slot := x.first(hash)
	for x.slots[slot] != want {
		slot = x.next(slot)
	}
	return slot
}

func (x *index) replace(hash [2]uint64, from, to ref) {
	x.slots[x.slotOf(hash, from)] = uint64(indexTag(hash))<<32 | uint64(to)
}

// remove deletes an entry and moves later ones of its probe sequence forward
// (Knuth, TAOCP vol. 3, section 6.4, algorithm R).
func (x *index) remove(hash [2]uint64, r ref) {
	hole := x.slotOf(hash, r)
	mask := len(x.slots) - 1
	for slot := x.next(hole); x.slots[slot] != 0; slot = x.next(slot) {
		home := x.home(uint32(x.slots[slot] >> 32))
		if (slot-home)&mask >= (slot-hole)&mask {
			x.slots[hole] = x.slots[slot]
			hole = slot
		}
	}
	x.slots[hole] = 0
	x.used--
	if len(x.slots) > minSlots && x.used*8 < len(x.slots) {
		x.resize(len(x.slots) / 2)
	}
}
