package memory

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

// chunkRecords is the number of records that a slab allocates at once. 16 wastes
// little in an almost empty shard and keeps the number of chunks small.
const chunkRecords = 16

// slab allocates the records of one class in chunks, so that growing copies
// nothing. It reuses freed records and never returns memory.
type slab struct {
	chunks    [][]uint64
	words     int // per record
	allocated uint32
	free      []uint32
}

func (s *slab) record(n uint32) record {
	from := int(n%chunkRecords) * s.words
	return record(s.chunks[n/chunkRecords][from : from+s.words : from+s.words])
}

// allocate returns the number of a record that is zero except its idle word.
func (s *slab) allocate(class int) uint32 {
	if last := len(s.free) - 1; last >= 0 {
		n := s.free[last]
		s.free = s.free[:last]
		return n
	}
	if s.allocated%chunkRecords == 0 {
		s.words = headerWords + classes[class]*cellWords
		s.chunks = append(s.chunks, make([]uint64, chunkRecords*s.words))
	}
	s.allocated++
	return s.allocated - 1
}
