package cache

import (
	"crypto/rand"
	"encoding/binary"
	"time"
)

// collect moves the entries of the shards into batches at the end of the queue.
// last closes the shards for further updates. If the queue exceeds Backlog, the
// oldest batches are dropped.
func (b *WriteBehind[K, V]) collect(last bool) {
	var entries []Entry[K, V]
	if n := b.count.Load(); n > 0 {
		entries = make([]Entry[K, V], 0, n)
	}
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		entries = append(entries, s.entries...)
		b.count.Add(-int64(len(s.entries)))
		clear(s.entries) // don't retain what the batch references
		s.entries = s.entries[:0]
		clear(s.index)
		s.closed = s.closed || last
		s.mu.Unlock()
	}
	now := time.Now()
	for len(entries) > 0 {
		n := min(len(entries), b.opts.BatchSize)
		b.queue = append(b.queue, Batch[K, V]{ID: newBatchID(now), At: now, Entries: entries[:n:n]})
		b.queued.Add(int64(n))
		entries = entries[n:]
	}
	for b.queued.Load() > int64(b.opts.Backlog) {
		b.drop(b.queue[0], errBacklog)
		b.pop()
	}
}

// newBatchID returns a UUID version 7 (RFC 9562, section 5.7). It is ordered by
// time, so that an index of IDs at the source grows at its end.
func newBatchID(now time.Time) [16]byte {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never returns an error
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(now.UnixMilli()))
	copy(id[:6], ms[2:])
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id
}
