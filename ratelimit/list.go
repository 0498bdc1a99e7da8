package ratelimit

// Entry is one element of a List: an admitted request of a sliding_log, or a
// holder of a concurrency slot.
type Entry struct {
	// At is the time of admission, or the holder's expiry.
	At int64
	// N is the units admitted at that instant, or the holder's number.
	N int64
}

// List is the state of a counter that stores an entry per admitted request. Its
// zero value is a fresh counter.
type List struct {
	// Entries from Head on are live; those before it may be overwritten.
	Entries []Entry
	Head    int
	// Sum is the units of all live entries of a sliding_log.
	Sum int64
	// Next is no later than the first expiry of a concurrency holder.
	Next int64
	// Last is the latest time observed.
	Last int64
}

// observe returns the time to use for a caller that read now: at least the
// latest time observed, unless the clock was set back. In that case all entries
// are moved back as far, so that units spent are kept and no entry lives longer.
func (l *List) observe(now int64) int64 {
	back := satSub(l.Last, now)
	switch {
	case back <= 0:
		l.Last = now
	case back <= skew:
		now = l.Last
	default:
		for i := range l.Entries {
			l.Entries[i].At = satSub(l.Entries[i].At, back)
		}
		l.Next = satSub(l.Next, back)
		l.Last = now
	}
	return now
}

// live returns the entries that haven't expired.
func (l *List) live() []Entry { return l.Entries[l.Head:] }

// compact frees the front of the list when at least half of it is dead, so that
// entries are moved at most once per expired entry.
func (l *List) compact() {
	if l.Head > 0 && l.Head*2 >= len(l.Entries) {
		l.Entries = l.Entries[:copy(l.Entries, l.live())]
		l.Head = 0
	}
}

// add appends an entry. A full list of which a fifth has expired is compacted
// instead of grown, so that its capacity is at most 1.6 times its live entries
// when it grows (2.5 times below 256), and at most four entries are moved for each
// expired one.
func (l *List) add(e Entry) {
	if n := len(l.Entries); n == cap(l.Entries) && l.Head > 0 && l.Head*5 >= n {
		l.Entries = l.Entries[:copy(l.Entries, l.live())]
		l.Head = 0
	}
	l.Entries = append(l.Entries, e)
}

// Full reports whether the list can't take another entry without allocating
// memory or compacting itself.
func (l *List) Full() bool { return len(l.Entries) == cap(l.Entries) }

// Empty reports whether the list equals a fresh one.
func (l *List) Empty() bool { return l.Head == len(l.Entries) }
