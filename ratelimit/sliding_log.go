package ratelimit

import (
	"sort"
	"time"
)

// sliding_log remembers each admitted request and counts those of the last
// period, so that no window of that length, wherever it begins, holds more
// than limit units. It is exact and pays with 16 bytes for each instant at
// which something was admitted, which is why its limit is bounded by
// MaxLogLimit. The idea is that of the Redis sorted set ("Better rate limiting
// with Redis sorted sets", Classdojo, 2015), without its fault of logging
// refused requests too.
//
// limit 3, period 10s; an entry counts in (now − 10s, now]:
//
//	time   cost  log before      verdict                    log
//	0 s       2  –               admitted                   0s×2
//	4 s       1  0s×2            admitted                   0s×2 4s×1
//	9 s       1  0s×2 4s×1       refused, retry after 1 s   0s×2 4s×1
//	10 s      1  4s×1            admitted                   4s×1 10s×1
//
// State: N is the units in the log and M its oldest entry's time. At is the
// time of the entry that was added, or for a cost that must wait, when it
// would pass. What is given back is taken from its entry; once that has left,
// from nowhere. A forgotten reservation stays until it leaves the log.
func checkSlidingLog(c *Compiled, l *List, now, cost int64) (State, bool) {
	now = l.arrive(now)
	live := l.live()
	for len(live) > 0 && (live[0].N == 0 || satAdd(live[0].At, c.period) <= now) {
		l.Sum -= live[0].N
		live = live[1:]
	}
	l.Head = len(l.Entries) - len(live)
	l.compact()
	need := max(cost, 1)
	s := State{At: now, N: l.Sum}
	if len(live) > 0 {
		s.M = live[0].At
	}
	if need <= c.capacity-l.Sum {
		return s, cost >= 0
	}
	s.At = leavesAt(c, l, need)
	return s, cost == 0
}

// leavesAt is when enough entries have left for need more units.
func leavesAt(c *Compiled, l *List, need int64) int64 {
	sum := l.Sum
	for _, e := range l.live() {
		sum -= e.N
		if need <= c.capacity-sum {
			return satAdd(e.At, c.period)
		}
	}
	return never
}

func addSlidingLog(l *List, now, cost int64) State {
	now = l.arrive(now)
	l.Sum += cost
	if n := len(l.Entries); n > l.Head && l.Entries[n-1].At == now {
		l.Entries[n-1].N += cost
	} else {
		l.Entries = append(l.Entries, Entry{At: now, N: cost})
	}
	return State{At: now, N: l.Sum, M: l.live()[0].At}
}

func giveSlidingLog(c *Compiled, l *List, taken State, now, units int64) State {
	checkSlidingLog(c, l, now, 0)
	live := l.live()
	first := sort.Search(len(live), func(i int) bool { return live[i].At >= taken.At })
	if first < len(live) && live[first].At == taken.At {
		back := min(units, live[first].N)
		live[first].N -= back
		l.Sum -= back
	}
	s, _ := checkSlidingLog(c, l, now, 0)
	return s
}

func statusSlidingLog(c *Compiled, s State, now, cost int64, st *Status) {
	st.Remaining = max(0, c.capacity-s.N)
	if s.N > 0 {
		st.ResetAfter = time.Duration(satSub(satAdd(s.M, c.period), now))
	}
	if st.Allowed && cost > 0 {
		return
	}
	cost = max(cost, 1)
	switch {
	case cost > c.capacity:
		st.RetryAfter = Never
	case cost > st.Remaining:
		st.RetryAfter = time.Duration(satSub(s.At, now))
	}
}
