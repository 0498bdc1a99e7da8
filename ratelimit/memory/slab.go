package memory

// classes are the sizes of records, in cells.
var classes = [...]int{1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256}

// classFor is the smallest class with room for n cells.
func classFor(n int) (class int, ok bool) {
	for i, size := range classes {
		if size >= n {
			return i, true
		}
	}
	return 0, false
}

// ref names a record of a shard by class and number; 0 is none.
type ref uint32

const numberBits = 27

func newRef(class int, number uint32) ref { return ref(class<<numberBits) | ref(number) + 1 }

func (r ref) class() int     { return int(r >> numberBits) }
func (r ref) number() uint32 { return uint32(r)&(1<<numberBits-1) - 1 }

// chunkRecords is how many records are allocated at once: few enough that an
// almost empty shard wastes little, and enough that chunks need no list.
const chunkRecords = 16

// slab holds the records of one class. It grows a chunk at a time, so nothing
// is ever copied, and keeps what it has: a free record is used again.
type slab struct {
	chunks [][]uint64
	words  int // of one record
	made   uint32
	free   []uint32
}

func (s *slab) record(n uint32) record {
	from := int(n%chunkRecords) * s.words
	return record(s.chunks[n/chunkRecords][from : from+s.words : from+s.words])
}

// allocate finds a record that is zero but for its idle word.
func (s *slab) allocate(class int) uint32 {
	if last := len(s.free) - 1; last >= 0 {
		n := s.free[last]
		s.free = s.free[:last]
		return n
	}
	if s.made%chunkRecords == 0 {
		s.words = headerWords + classes[class]*cellWords
		s.chunks = append(s.chunks, make([]uint64, chunkRecords*s.words))
	}
	s.made++
	return s.made - 1
}
