package memory

import (
	"math"

	"ratelimiter/ratelimit"
)

// A record is one subject's counters: a few words of header and then its
// cells, in one piece of memory without pointers.
//
//	word 0, 1  the subject's hash
//	word 2     the instant from which all its counters equal fresh ones
//	then, for each cell:
//	word 0     the policy's ID; 0 is an unused cell, and ends the used ones
//	word 1     fingerprint and generation
//	word 2–4   State: At, N, M; or for a list, listMark in N and its slot in M
type record []uint64

const (
	headerWords = 3
	cellWords   = 5
	idleWord    = 2
)

// listMark in N marks a cell whose state is a list; no State has a negative N.
const listMark = uint64(1 << 63)

// unused in the idle word marks a record that belongs to nobody.
const unused = math.MaxInt64

// cellAt is a cell's place among the words of its record.
type cellAt int32

// noCell is the place of a cell that isn't there. It is 0, where the header is.
const noCell cellAt = 0

// find is the place of a policy's cell.
func (r record) find(id uint64) cellAt {
	for i := headerWords; i+cellWords <= len(r); i += cellWords {
		switch r[i] {
		case id:
			return cellAt(i)
		case 0:
			return noCell
		}
	}
	return noCell
}

// used is how many cells are taken; they are the first ones.
func (r record) used() int {
	n := 0
	for i := headerWords; i < len(r) && r[i] != 0; i += cellWords {
		n++
	}
	return n
}

func (r record) room() int { return (len(r)-headerWords)/cellWords - r.used() }

func (r record) idleAt() int64 { return int64(r[idleWord]) }

func (r record) setIdleAt(at int64) { r[idleWord] = uint64(at) }

// cell is the part of a record that is one counter.
type cell []uint64

func (r record) cell(at cellAt) cell { return cell(r[at : at+cellWords : at+cellWords]) }

func tag(fingerprint, generation uint32) uint64 {
	return uint64(fingerprint)<<32 | uint64(generation)
}

func (c cell) fingerprint() uint32 { return uint32(c[1] >> 32) }
func (c cell) generation() uint32  { return uint32(c[1]) }
func (c cell) listed() bool        { return c[3] == listMark }

func (c cell) state() ratelimit.State {
	return ratelimit.State{At: int64(c[2]), N: int64(c[3]), M: int64(c[4])}
}

func (c cell) setState(s ratelimit.State) {
	c[2], c[3], c[4] = uint64(s.At), uint64(s.N), uint64(s.M)
}
