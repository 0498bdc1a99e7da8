package memory

import "ratelimiter/ratelimit"

// record is the counters of one subject: a header followed by cells, in one
// slice without pointers.
//
//	word 0, 1  hash of the subject
//	word 2     instant from which all its counters equal fresh ones, in units of
//	           2^accountBits ns; number of its account in the low bits
//	word 3     next and previous record of the account, in a ring
//
// Each cell:
//
//	word 0     ID of the policy; 0: unused. Used cells come first.
//	word 1     fingerprint and generation
//	word 2–5   State: At, N, M, X. For a List: N is listMark, M its index in the shard.
type record []uint64

const (
	headerWords = 4
	cellWords   = 6
	idleWord    = 2
	ringWord    = 3
)

// listMark in N marks a cell with a List. No State has a negative N.
const listMark = uint64(1 << 63)

// accountBits is the part of the idle word for the account. The rest is precise
// to 17 ms.
const (
	accountBits = 24
	accountMask = 1<<accountBits - 1
)

// cellOffset is the position of a cell in its record, in words.
type cellOffset int32

// noCell is the offset of a missing cell. Offset 0 is the header.
const noCell cellOffset = 0

// belongsTo reports whether the record is that of the subject with this hash.
func (r record) belongsTo(hash [2]uint64) bool { return r[0] == hash[0] && r[1] == hash[1] }

// find returns the offset of a policy's cell.
func (r record) find(id uint64) cellOffset {
	for i := headerWords; i+cellWords <= len(r); i += cellWords {
		switch r[i] {
		case id:
			return cellOffset(i)
		case 0:
			return noCell
		}
	}
	return noCell
}

// usedCells returns the number of used cells.
func (r record) usedCells() int {
	n := 0
	for i := headerWords; i < len(r) && r[i] != 0; i += cellWords {
		n++
	}
	return n
}

func (r record) freeCells() int { return (len(r)-headerWords)/cellWords - r.usedCells() }

// idleAt is rounded up.
func (r record) idleAt() int64 { return int64(r[idleWord] | accountMask) }

func (r record) setIdleAt(at int64) { r[idleWord] = uint64(at)&^accountMask | r.account() }

func (r record) account() uint64 { return r[idleWord] & accountMask }

func (r record) setAccount(account uint64) { r[idleWord] = r[idleWord]&^accountMask | account }

func (r record) next() ref { return ref(r[ringWord] >> 32) }
func (r record) prev() ref { return ref(r[ringWord]) }

func (r record) setNext(n ref) { r[ringWord] = uint64(n)<<32 | uint64(r.prev()) }
func (r record) setPrev(p ref) { r[ringWord] = uint64(r.next())<<32 | uint64(p) }

// bytes returns the memory of the record without its lists.
func (r record) bytes() int { return 8 * len(r) }

// cell is the part of a record that stores one counter.
type cell []uint64

func (r record) cell(at cellOffset) cell { return cell(r[at : at+cellWords : at+cellWords]) }

func tag(fingerprint, generation uint32) uint64 {
	return uint64(fingerprint)<<32 | uint64(generation)
}

func (c cell) fingerprint() uint32 { return uint32(c[1] >> 32) }
func (c cell) generation() uint32  { return uint32(c[1]) }
func (c cell) listed() bool        { return c[3] == listMark }

func (c cell) state() ratelimit.State {
	return ratelimit.State{At: int64(c[2]), N: int64(c[3]), M: int64(c[4]), X: int64(c[5])}
}

func (c cell) setState(s ratelimit.State) {
	c[2], c[3], c[4], c[5] = uint64(s.At), uint64(s.N), uint64(s.M), uint64(s.X)
}
