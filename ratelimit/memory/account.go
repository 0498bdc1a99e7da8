package memory

import "unsafe"

// account is the memory that the subjects of one owner take in a shard.
type account struct {
	hash uint64
	size int // bytes of its records and lists; 0: free, and hash is the next free number
}

// accounts numbers the accounts of a shard.
type accounts struct {
	byHash   index
	numbered []account
	free     uint64 // number of the first free one; len(numbered): none
	total    int    // bytes of all
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
	owner.size += bytes
	a.total += bytes
	if owner.size == 0 {
		a.byHash.remove(accountHash(owner.hash), ref(number+1))
		owner.hash, a.free = a.free, number
	}
}

// size returns the bytes of an account.
func (a *accounts) size(number uint64) int { return a.numbered[number].size }

// equalShare returns the bytes that each account would have if all had as many.
func (a *accounts) equalShare() int { return a.total / max(1, a.byHash.used) }

// bytes returns the memory of the table.
func (a *accounts) bytes() int {
	return 8*len(a.byHash.slots) + cap(a.numbered)*int(unsafe.Sizeof(account{}))
}
