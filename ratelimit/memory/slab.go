package memory

import "unsafe"

// classes are the sizes of records in cells.
var classes = [...]int{1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256}

// classFor returns the smallest class with at least n cells.
func classFor(n int) (class int, ok bool) {
	for i, size := range classes {
		if size >= n {
			return i, true
		}
	}
	return 0, false
}

// ref identifies a record of a shard by class and number. 0 is no record.
type ref uint32

const numberBits = 27

func newRef(class int, number uint32) ref { return ref(class<<numberBits) | ref(number) + 1 }

func (r ref) class() int     { return int(r >> numberBits) }
func (r ref) number() uint32 { return uint32(r)&(1<<numberBits-1) - 1 }

// slab allocates the records of one class in chunks, so that growing copies
// nothing. Its records have the numbers 0 to used − 1. It keeps at most one
// empty chunk.
type slab struct {
	chunks [][]uint64
	words  int // per record
	shift  int // binary logarithm of the records per chunk
	used   uint32
}

// chunkShift returns the binary logarithm of the records per chunk: eight small
// ones or two large ones. They waste little in an almost empty shard, and nothing
// or little of the runtime's size classes.
func chunkShift(class int) int { return 3 - class/6 }

func (s *slab) record(n uint32) record {
	from := int(n&(1<<s.shift-1)) * s.words
	return record(s.chunks[n>>s.shift][from : from+s.words : from+s.words])
}

// add returns the number of a new record, which is zero.
func (s *slab) add(class int) uint32 {
	if int(s.used>>chunkShift(class)) == len(s.chunks) {
		s.words, s.shift = headerWords+classes[class]*cellWords, chunkShift(class)
		s.chunks = append(s.chunks, make([]uint64, s.words<<s.shift))
	}
	s.used++
	return s.used - 1
}

// removeLast removes the record of the highest number.
func (s *slab) removeLast() {
	s.used--
	clear(s.record(s.used))
	if last := len(s.chunks) - 1; int(s.used>>s.shift) < last {
		s.chunks[last] = nil
		s.chunks = s.chunks[:last]
	}
}

// bytes returns the memory of the slab.
func (s *slab) bytes() int {
	return cap(s.chunks)*int(unsafe.Sizeof(s.chunks[0])) + len(s.chunks)*8*s.words<<s.shift
}
