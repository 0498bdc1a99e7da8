package memory

import (
	"math/bits"
	"unsafe"
)

// account is the memory that the subjects of one owner take in a shard.
type account struct {
	hash       uint64
	size       int    // bytes of its records and lists; 0: free, and hash is the next free number
	first      ref    // of its records; 0: none
	next, prev uint32 // in the ring of accounts of about this size
}

// accounts numbers the accounts of a shard and finds the largest.
type accounts struct {
	byHash   index
	numbered []account
	free     uint64     // number of the first free one; len(numbered): none
	bySize   [32]uint32 // by bits.Len of the size: 1 + the first number of a ring; 0: none
}

func accountHash(hash uint64) [2]uint64 { return [2]uint64{hash, hash} }

// open returns the number of an account, to which the caller must add.
func (a *accounts) open(hash uint64) uint64 {
	for at := a.byHash.first(accountHash(hash)); ; at = a.byHash.next(at) {
		r, ok := a.byHash.at(at, accountHash(hash))
		if !ok {
			break
		}
		if r != 0 && a.numbered[r-1].hash == hash {
			return uint64(r - 1)
		}
	}
	n := a.free
	if n == uint64(len(a.numbered)) {
		a.numbered = append(a.numbered, account{})
		a.free++
	} else {
		a.free = a.numbered[n].hash
	}
	a.numbered[n].hash = hash
	a.byHash.insert(accountHash(hash), ref(n+1))
	return n
}

// add adds bytes to an account and frees the number of one without any.
func (a *accounts) add(number uint64, bytes int) {
	owner := &a.numbered[number]
	from, to := bits.Len(uint(owner.size)), bits.Len(uint(owner.size+bytes))
	owner.size += bytes
	if from == to {
		return
	}
	if from > 0 {
		a.leaveRing(uint32(number), owner, &a.bySize[from])
	}
	if to > 0 {
		a.enterRing(uint32(number), owner, &a.bySize[to])
		return
	}
	a.byHash.remove(accountHash(owner.hash), ref(number+1))
	owner.hash, a.free = a.free, number
}

// enterRing makes an account the last of a ring.
func (a *accounts) enterRing(n uint32, owner *account, first *uint32) {
	if *first == 0 {
		*first, owner.next, owner.prev = n+1, n, n
		return
	}
	next := &a.numbered[*first-1]
	owner.next, owner.prev = *first-1, next.prev
	a.numbered[next.prev].next = n
	next.prev = n
}

func (a *accounts) leaveRing(n uint32, owner *account, first *uint32) {
	if owner.next == n {
		*first = 0
		return
	}
	a.numbered[owner.next].prev, a.numbered[owner.prev].next = owner.prev, owner.next
	if *first == n+1 {
		*first = owner.next + 1
	}
}

// largest returns the accounts of which none has twice the bytes of another, and
// all others have less: the first of their ring. It returns nil without accounts.
func (a *accounts) largest() *uint32 {
	for i := len(a.bySize) - 1; i > 0; i-- {
		if a.bySize[i] != 0 {
			return &a.bySize[i]
		}
	}
	return nil
}

// bytes returns the memory of the table.
func (a *accounts) bytes() int {
	return 8*len(a.byHash.slots) + cap(a.numbered)*int(unsafe.Sizeof(account{}))
}
