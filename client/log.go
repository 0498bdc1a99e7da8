package client

// log follows a sliding_log: each charge counts for one period.
type log struct {
	period  instant // with the drift
	entries []entry // the oldest first; no more than the policy's limit
	sum     int64
}

type entry struct {
	leavesAt instant
	units    int64
}

func (l *log) used(now instant) int64 {
	for len(l.entries) > 0 && l.entries[0].leavesAt <= now {
		l.sum -= l.entries[0].units
		l.entries = l.entries[1:]
	}
	return l.sum
}

func (l *log) charge(now instant, units int64) {
	l.used(now)
	if units <= 0 {
		return
	}
	l.sum += units
	leavesAt := now + l.period
	if n := len(l.entries); n > 0 && l.entries[n-1].leavesAt == leavesAt {
		l.entries[n-1].units += units
		return
	}
	l.entries = append(l.entries, entry{leavesAt: leavesAt, units: units})
}

func (l *log) room(now instant, most int64) instant {
	sum := l.used(now)
	if sum <= most {
		return now
	}
	for _, e := range l.entries {
		if sum -= e.units; sum <= most {
			return e.leavesAt
		}
	}
	return never
}

func (l *log) least(o *observation) int64 { return o.capacity - o.remaining }

// observe takes what is too much from the oldest entries: those that stay are
// the slowest to leave.
func (l *log) observe(o *observation) {
	for excess := l.used(o.answered) - o.most(); excess > 0 && len(l.entries) > 0; {
		gone := min(excess, l.entries[0].units)
		l.entries[0].units -= gone
		l.sum -= gone
		excess -= gone
		if l.entries[0].units == 0 {
			l.entries = l.entries[1:]
		}
	}
}
