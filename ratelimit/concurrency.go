package ratelimit

import (
	"slices"
	"time"
)

// concurrencyRetry is the RetryAfter of a refused request. The time at which a
// slot becomes free is unknown.
const concurrencyRetry = time.Second

// checkConcurrency bounds the number of requests that run at once. A request of
// any cost holds one slot until its reservation is committed, released or
// settled, or until hold has passed without a renewal, so that a crashed holder
// doesn't keep its slot. Slots are leases (Gray and Cheriton, "Leases: an
// efficient fault-tolerant mechanism", SOSP 1989) on a counting semaphore.
//
// limit 2, hold 60s:
//
//	time   event      holders before         verdict            holders
//	0 s    A begins   –                      admitted           A until 60s
//	10 s   B begins   A                      admitted           A, B until 70s
//	20 s   C begins   A, B                   refused            A, B
//	50 s   B renews   A, B                                      A, B until 110s
//	60 s   C begins   B (A has expired)      admitted           B, C until 120s
//	65 s   A ends     B, C                   nothing to free    B, C
//
// Entry: At is the holder's expiry, N its number. State: At is no later than the
// first expiry, N the number of holders, M no earlier than the last expiry.
func checkConcurrency(c *Compiled, l *List, now, cost int64) (State, bool) {
	now = l.observe(now)
	if l.Next <= now {
		expireHolders(l, now)
	}
	s := State{At: l.Next, N: int64(len(l.Entries)), M: satAdd(now, c.hold)}
	return s, cost == 0 || cost > 0 && s.N < c.capacity
}

// expireHolders frees the slots whose hold has passed.
func expireHolders(l *List, now int64) {
	kept := l.Entries[:0]
	l.Next = never
	for _, e := range l.Entries {
		if e.At > now {
			kept = append(kept, e)
			l.Next = min(l.Next, e.At)
		}
	}
	l.Entries = kept
}

func addConcurrency(c *Compiled, l *List, now, holder int64) State {
	expires := satAdd(l.observe(now), c.hold)
	if len(l.Entries) == 0 {
		l.Next = expires
	}
	l.Next = min(l.Next, expires)
	l.add(Entry{At: expires, N: holder})
	return State{At: l.Next, N: int64(len(l.Entries)), M: expires}
}

func giveConcurrency(c *Compiled, l *List, now, holder int64) State {
	s, _ := checkConcurrency(c, l, now, 0)
	if i := findHolder(l, holder); i >= 0 {
		last := len(l.Entries) - 1
		l.Entries[i] = l.Entries[last]
		l.Entries = l.Entries[:last]
		s.N--
	}
	return s
}

func renewConcurrency(c *Compiled, l *List, now, holder int64) bool {
	checkConcurrency(c, l, now, 0)
	i := findHolder(l, holder)
	if i < 0 {
		return false
	}
	l.Entries[i].At = satAdd(l.Last, c.hold)
	return true
}

func findHolder(l *List, holder int64) int {
	return slices.IndexFunc(l.Entries, func(e Entry) bool { return e.N == holder })
}

func statusConcurrency(c *Compiled, s State, cost int64, st *Status) {
	st.Remaining = max(0, c.capacity-s.N)
	if (!st.Allowed || cost == 0) && st.Remaining == 0 {
		st.RetryAfter = concurrencyRetry
	}
}
