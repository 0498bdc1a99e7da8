package ratelimit

import "time"

// State is the state of one counter. Its zero value is a fresh counter of any
// policy. Each algorithm defines the meaning of the fields in its file; stores
// treat them as opaque.
//
// Times are nanoseconds since the Unix epoch. The pure functions accept any
// State and any time: they don't panic, and they admit no more than a fresh
// counter would.
type State struct {
	At, N, M, X int64
}

// skew is the largest delay, in nanoseconds, between a caller's reading of the
// clock and its access to a counter. Callers read the clock before they lock a
// counter and may be descheduled in between, so times arrive out of order. A
// time at most skew before the counter's own belongs to a late caller and the
// counter's time is used: nothing is refilled twice and no window is reopened.
// An earlier time means that the clock was set back: the counter adopts it and
// keeps the units spent.
const skew = int64(5 * time.Second)

// Skew is the time for which a store must keep an idle counter, so that a late
// caller doesn't find it fresh.
const Skew = time.Duration(skew)

// Never is the RetryAfter of a cost above the capacity.
const Never = time.Duration(never)

// Listed reports whether the policy's counters are Lists. The functions with
// List in their names apply to these, the others to States. It depends on the
// limit of a sliding_window; see ToList and ToState.
func (c *Compiled) Listed() bool { return c.kind >= slidingLog }

// Take decides whether cost units pass at now and returns the new state. If
// they don't pass, that is the state to describe with Status. A store needs to
// keep it only if its At moved back, which means that the clock was set back;
// the counter would otherwise stay in the future. Cost 0 always passes and takes
// nothing.
func (c *Compiled) Take(s State, now, cost int64) (State, bool) {
	switch c.kind {
	case tokenBucket:
		return takeTokenBucket(c, s, now, cost)
	case leakyBucket:
		return takeLeakyBucket(c, s, now, cost)
	case fixedWindow:
		return takeFixedWindow(c, s, now, cost)
	case slidingWindow:
		return takeSlidingWindow(c, s, now, cost)
	default:
		return takeCalendar(c, s, now, cost)
	}
}

// Give gives back units of an earlier Take and returns the new state. taken is
// the state that the Take returned, s the current one. Units that time has
// already restored are not given back again.
func (c *Compiled) Give(s, taken State, now, units int64) State {
	switch c.kind {
	case tokenBucket:
		return giveTokenBucket(c, s, taken, now, units)
	case leakyBucket:
		return giveLeakyBucket(c, s, taken, now, units)
	case fixedWindow:
		return giveFixedWindow(c, s, taken, now, units)
	case slidingWindow:
		return giveSlidingWindow(c, s, taken, now, units)
	default:
		return giveCalendar(c, s, taken, now, units)
	}
}

// Owe takes units whether they pass or not, as debt, and returns the new
// state.
func (c *Compiled) Owe(s State, now, units int64) State {
	switch c.kind {
	case tokenBucket, leakyBucket:
		return c.chargeLevel(s, now, units)
	case slidingWindow:
		return chargeSlidingWindow(c, s, now, units)
	case fixedWindow:
		s = advanceFixedWindow(c, s, now)
	default:
		s = advanceCalendar(c, s, now)
		s.X -= units
	}
	s.N = min(s.N+units, MaxLimit)
	return s
}

// CheckList decides whether cost units pass at now and drops expired entries.
// It adds no entry; see AddList. The returned state summarizes the list for
// Status.
func (c *Compiled) CheckList(l *List, now, cost int64) (State, bool) {
	if c.kind == slidingLog {
		return checkSlidingLog(c, l, now, cost)
	}
	return checkConcurrency(c, l, now, cost)
}

// AddList adds an entry for cost units that CheckList has admitted at now.
// holder identifies the reservation.
func (c *Compiled) AddList(l *List, now, cost, holder int64) State {
	if c.kind == slidingLog {
		return addSlidingLog(l, now, cost)
	}
	return addConcurrency(c, l, now, holder)
}

// OweList takes units whether they pass or not, as debt. It does nothing for
// concurrency, where a request costs its slot only.
func (c *Compiled) OweList(l *List, now, units int64) State {
	if c.kind == slidingLog {
		return chargeSlidingLog(c, l, now, units)
	}
	s, _ := checkConcurrency(c, l, now, 0)
	return s
}

// GiveList gives back units of an entry. taken is the state that AddList
// returned. A concurrency slot is freed regardless of units.
func (c *Compiled) GiveList(l *List, taken State, now, units, holder int64) State {
	if c.kind == slidingLog {
		return giveSlidingLog(c, l, taken, now, units)
	}
	return giveConcurrency(c, l, now, holder)
}

// RenewList extends a concurrency holder's expiry to hold after now. It returns
// false if the holder has expired or was freed.
func (c *Compiled) RenewList(l *List, now, holder int64) bool {
	return c.kind == concurrency && renewConcurrency(c, l, now, holder)
}

// IdleAt returns an instant from which a counter in state s equals a fresh one.
// It may be slightly later than the first such instant.
func (c *Compiled) IdleAt(s State) int64 {
	switch c.kind {
	case tokenBucket, leakyBucket:
		if s.N > c.maxLevel {
			return satAdd(s.At, c.drainTime(min(s.N, maxDebt), c.period))
		}
		return satAdd(s.At, clamp(s.N+1, 0, c.maxLevel)*c.emissionInterval)
	case fixedWindow, slidingLog:
		return satAdd(s.At, c.period)
	case slidingWindow:
		return satAdd(s.X, c.period)
	default: // calendar: end of the period; concurrency: last expiry
		return s.M
	}
}

// Status describes a counter after a Take or CheckList of cost at now. s is the
// returned state and allowed the verdict.
func (c *Compiled) Status(s State, now, cost int64, allowed bool) Status {
	st := Status{Policy: c}
	c.describe(&st, s, now, cost, allowed)
	return st
}

// describe is Status in place. It doesn't write st.Policy.
func (c *Compiled) describe(st *Status, s State, now, cost int64, allowed bool) {
	st.Allowed, st.Limit, st.Remaining = allowed, c.capacity, 0
	st.ResetAfter, st.EffectiveWindow, st.RetryAfter = 0, 0, 0
	switch c.kind {
	case tokenBucket:
		statusTokenBucket(c, s, now, cost, st)
	case leakyBucket:
		statusLeakyBucket(c, s, now, cost, st)
	case fixedWindow:
		statusFixedWindow(c, s, now, cost, st)
	case slidingWindow:
		statusSlidingWindow(c, s, now, cost, st)
	case slidingLog:
		statusSlidingLog(c, s, now, cost, st)
	case calendar:
		statusCalendar(c, s, now, cost, st)
	default:
		statusConcurrency(c, s, cost, st)
	}
}

// waits returns the units that a request of this cost, or a peek, has to wait
// for; 0 if it doesn't. It sets RetryAfter if it can never pass.
func (c *Compiled) waits(st *Status, cost int64) int64 {
	need := max(cost, 1)
	switch {
	case st.Allowed && cost > 0, need <= st.Remaining:
		return 0
	case need > c.capacity:
		st.RetryAfter = Never
		return 0
	default:
		return need
	}
}
