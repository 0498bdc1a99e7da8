package ratelimit

// Entry is one element of a counter that keeps a list: an admitted request of
// a sliding_log, or a holder of a concurrency slot.
type Entry struct {
	// At is when the request was admitted, or when the holder expires.
	At int64
	// N is the units admitted at that instant, or the holder's number.
	N int64
}

// List is what the algorithms remember that can't do with a State: one entry
// for each admitted request. Its zero value is a fresh counter.
type List struct {
	// Entries from Head on are live; those before are to be overwritten.
	Entries []Entry
	Head    int
	// Sum is the units of all live entries of a sliding_log.
	Sum int64
	// Next is no later than the first expiry of a concurrency holder.
	Next int64
	// Last is the latest time that the list has seen.
	Last int64
}

// arrive is the time that counts for a caller who read now: not before what
// the list has seen, unless the clock was set back. Then every entry is moved
// back as far, so that what was spent is kept and nothing lives longer.
func (l *List) arrive(now int64) int64 {
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

// live are the entries that have not had their time.
func (l *List) live() []Entry { return l.Entries[l.Head:] }

// compact makes room at the front when half the list is dead, so that each
// entry is moved at most once for each that has died.
func (l *List) compact() {
	if l.Head > 0 && l.Head*2 >= len(l.Entries) {
		l.Entries = l.Entries[:copy(l.Entries, l.live())]
		l.Head = 0
	}
}

// Empty says whether the list equals a fresh one.
func (l *List) Empty() bool { return l.Head == len(l.Entries) }
