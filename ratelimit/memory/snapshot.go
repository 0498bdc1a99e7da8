package memory

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"ratelimiter/ratelimit"
)

// A snapshot is a header, records and the SHA-256 of all before it, in
// little-endian words of 64 bits:
//
//	header  magic, time of the snapshot in nanoseconds since the Unix epoch
//	record  hash (2), account, idle time, number of counters (1 to 256)
//	counter policy's ID, its fingerprint and in bit 32 whether it is a List, then
//	        At, N, M, X of a State, or Sum, Next, Last, number of entries of a List
//	        and At, N of each
//	end     a record of zeros
const (
	// magic includes the version of the format and of the states' meaning. It
	// changes with either.
	magic = uint64(0x32_54_4e_43_4c_52) // "RLCNT2"
	// listFlag in the word of the fingerprint marks a List.
	listFlag = uint64(1) << 32
	// maxSnapshotAge is more than the longest period: no counter is older.
	maxSnapshotAge = 367 * 24 * int64(3600e9)
)

// ErrSnapshot reports a snapshot that can't be used: of another version, damaged,
// or older than the longest period.
var ErrSnapshot = errors.New("memory: unusable snapshot")

// Save writes a snapshot of the counters that aren't idle at now. Takes that run
// at the same time are in it or not.
func (s *Store) Save(w io.Writer, now int64) error {
	hash := sha256.New()
	buffered := bufio.NewWriterSize(w, 1<<16)
	out := &words{w: io.MultiWriter(buffered, hash)}
	out.put(magic, uint64(now))
	for i := range s.shards {
		s.shards[i].lock()
		s.shards[i].save(out, now)
		s.shards[i].mu.Unlock()
	}
	out.put(0, 0, 0, 0, 0)
	out.flush()
	_, err := buffered.Write(hash.Sum(nil))
	return errors.Join(out.err, err, buffered.Flush())
}

// words writes or reads words, and keeps the first error.
type words struct {
	w    io.Writer
	r    io.Reader
	data []byte
	err  error
}

func (o *words) put(values ...uint64) {
	for _, v := range values {
		o.data = binary.LittleEndian.AppendUint64(o.data, v)
	}
	if len(o.data) >= 1<<12 {
		o.flush()
	}
}

func (o *words) flush() {
	if _, err := o.w.Write(o.data); o.err == nil {
		o.err = err
	}
	o.data = o.data[:0]
}

func (o *words) get(values []uint64) bool {
	for i := range values {
		var word [8]byte
		if o.err == nil {
			_, o.err = io.ReadFull(o.r, word[:])
		}
		values[i] = binary.LittleEndian.Uint64(word[:])
	}
	return o.err == nil
}

// save writes the records of a locked shard.
func (sh *shard) save(out *words, now int64) {
	for class := range sh.slabs {
		for n := range sh.slabs[class].used {
			rec := sh.slabs[class].record(n)
			if cells := rec.usedCells(); cells > 0 && rec.idleAt() > now {
				out.put(rec[0], rec[1], sh.accounts.numbered[rec.account()].hash, uint64(rec.idleAt()), uint64(cells))
				for i := range cells {
					sh.saveCell(out, rec.cell(cellOffset(headerWords+i*cellWords)))
				}
			}
		}
	}
}

func (sh *shard) saveCell(out *words, c cell) {
	if !c.listed() {
		out.put(c[0], uint64(c.fingerprint()))
		out.put(c[2:]...)
		return
	}
	l := sh.list(c)
	live := l.Entries[l.Head:]
	out.put(c[0], uint64(c.fingerprint())|listFlag, uint64(l.Sum), uint64(l.Next), uint64(l.Last), uint64(len(live)))
	for _, e := range live {
		out.put(uint64(e.At), uint64(e.N))
	}
}

// Load adds the counters of a snapshot that aren't idle at now to an empty store,
// and returns their subjects' number. It reads r twice, so that nothing is added
// of a damaged snapshot. The error is ErrSnapshot or r's.
func (s *Store) Load(r io.ReadSeeker, now int64) (subjects int, err error) {
	size, err := checkSnapshot(r)
	if err != nil {
		return 0, err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	in := &words{r: bufio.NewReaderSize(io.LimitReader(r, size), 1<<16)}
	var header [2]uint64
	if !in.get(header[:]) || header[0] != magic || now-int64(header[1]) > maxSnapshotAge {
		return 0, fmt.Errorf("%w: another version, or too old", ErrSnapshot)
	}
	for {
		var head [5]uint64
		if !in.get(head[:]) || head[4] > uint64(classes[len(classes)-1]) {
			return subjects, fmt.Errorf("%w: %w", ErrSnapshot, in.err)
		}
		if head[4] == 0 {
			return subjects, nil
		}
		if s.loadRecord(in, head, now) {
			subjects++
		}
	}
}

// checkSnapshot compares the checksum of a snapshot and returns the size of what
// is before it.
func checkSnapshot(r io.ReadSeeker) (size int64, err error) {
	end, err := r.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	if size = end - sha256.Size; size < 0 {
		return 0, fmt.Errorf("%w: too short", ErrSnapshot)
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	hash := sha256.New()
	if _, err := io.CopyN(hash, r, size); err != nil {
		return 0, err
	}
	var sum [sha256.Size]byte
	if _, err := io.ReadFull(r, sum[:]); err != nil {
		return 0, err
	}
	if !bytes.Equal(sum[:], hash.Sum(nil)) {
		return 0, fmt.Errorf("%w: damaged", ErrSnapshot)
	}
	return size, nil
}

// loadRecord reads a record and adds it if it isn't idle.
func (s *Store) loadRecord(in *words, head [5]uint64, now int64) bool {
	subject := ratelimit.Subject{Hash: [2]uint64{head[0], head[1]}, Account: head[2]}
	class, _ := classFor(int(head[4]))
	sh := &s.shards[shardOf(&subject)]
	sh.lock()
	defer sh.unlock(now)
	_, rec := sh.create(&subject, class)
	for i := range int(head[4]) {
		sh.loadCell(in, rec, rec.cell(cellOffset(headerWords+i*cellWords)))
	}
	rec.setIdleAt(int64(head[3]))
	return int64(head[3]) > now
}

// loadCell reads a counter. The checksum was right, so that lengths are.
func (sh *shard) loadCell(in *words, rec record, c cell) {
	var values [6]uint64
	if !in.get(values[:]) {
		return
	}
	sh.generation++
	c[0], c[1] = values[0], tag(uint32(values[1]), sh.generation)
	if values[1]&listFlag == 0 {
		copy(c[2:], values[2:])
		return
	}
	c[3], c[4] = listMark, sh.newList(rec)
	l := sh.list(c)
	before := listBytes(l)
	*l = ratelimit.List{Sum: int64(values[2]), Next: int64(values[3]), Last: int64(values[4]), Entries: make([]ratelimit.Entry, values[5])}
	for i := range l.Entries {
		var entry [2]uint64
		in.get(entry[:])
		l.Entries[i] = ratelimit.Entry{At: int64(entry[0]), N: int64(entry[1])}
	}
	sh.resized(rec, listBytes(l)-before)
}
