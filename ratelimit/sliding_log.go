package ratelimit

import (
	"slices"
	"sort"
	"time"
)

// checkSlidingLog counts the admitted requests of the last period, so that no
// interval of one period holds more than limit units. It is exact and stores 16
// bytes for each instant at which a request was admitted; MaxLogLimit bounds
// that. The idea is the Redis sorted set of "Better rate limiting with Redis
// sorted sets" (Classdojo, 2015), except that refused requests are not logged.
// It also serves sliding_window up to exactWindow.
//
// limit 3, period 10s; entries in (now − 10s, now] are counted:
//
//	time   cost  log before      verdict                    log
//	0 s       2  –               admitted                   0s×2
//	4 s       1  0s×2            admitted                   0s×2 4s×1
//	9 s       1  0s×2 4s×1       refused, retry after 1 s   0s×2 4s×1
//	10 s      1  4s×1            admitted                   4s×1 10s×1
//
// State: N is the units in the log and M the time of its oldest entry. At is the
// time of the added entry, or for a refused cost the time at which it would
// pass. X is the time at which one unit passes, if the log is in debt. Units are given back to their entry, and lost once it has left the log.
// An abandoned reservation stays spent until it leaves the log.
func checkSlidingLog(c *Compiled, l *List, now, cost int64) (State, bool) {
	now = l.observe(now)
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
	if l.Sum > c.capacity {
		s.X = admitsAt(c, l, 1)
	}
	if need <= c.capacity-l.Sum {
		return s, cost >= 0
	}
	s.At = admitsAt(c, l, need)
	return s, cost == 0
}

// admitsAt returns the time at which enough entries have left the log to admit
// need units.
func admitsAt(c *Compiled, l *List, need int64) int64 {
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
	now = l.observe(now)
	l.Sum += cost
	if n := len(l.Entries); n > l.Head && l.Entries[n-1].At == now {
		l.Entries[n-1].N += cost
	} else {
		l.add(Entry{At: now, N: cost})
	}
	return State{At: now, N: l.Sum, M: l.live()[0].At}
}

// maxLogEntries bounds a log, also one whose entries are debts.
const maxLogEntries = MaxLogLimit

// chargeSlidingLog adds units as debt. A full log adds them to its newest entry,
// which leaves later then.
func chargeSlidingLog(c *Compiled, l *List, now, units int64) State {
	checkSlidingLog(c, l, now, 0)
	if live := l.live(); len(live) >= maxLogEntries {
		live[len(live)-1].At = l.Last
	}
	addSlidingLog(l, now, min(units, maxDebt-l.Sum))
	s, _ := checkSlidingLog(c, l, now, 0)
	return s
}

func giveSlidingLog(c *Compiled, l *List, taken State, now, units int64) State {
	checkSlidingLog(c, l, now, 0)
	live := l.live()
	first := sort.Search(len(live), func(i int) bool { return live[i].At >= taken.At })
	if first < len(live) && live[first].At == taken.At {
		back := min(units, live[first].N)
		live[first].N -= back
		l.Sum -= back
		if live[first].N == 0 { // no more entries than units
			l.Entries = slices.Delete(l.Entries, l.Head+first, l.Head+first+1)
		}
	}
	s, _ := checkSlidingLog(c, l, now, 0)
	return s
}

func statusSlidingLog(c *Compiled, s State, now, cost int64, st *Status) {
	st.Remaining = max(0, c.capacity-s.N)
	st.EffectiveWindow = time.Duration(c.period)
	if s.N > 0 {
		st.ResetAfter = time.Duration(satSub(satAdd(s.M, c.period), now))
		st.EffectiveWindow = st.ResetAfter
	}
	if s.N > c.capacity {
		st.EffectiveWindow = time.Duration(satSub(s.X, now))
	}
	if need := c.waits(st, cost); need > 0 {
		st.RetryAfter = time.Duration(satSub(s.At, now))
	}
}
