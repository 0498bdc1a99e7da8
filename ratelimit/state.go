package ratelimit

import "time"

// State is what an algorithm remembers of one counter. Its zero value is a
// fresh counter of any policy. What the words mean is each algorithm's own
// business and told in its file; a store only keeps them.
//
// Times in states and in the pure functions are nanoseconds since the Unix
// epoch. No State and no time, however wild, makes a pure function panic or
// admit more than the policy allows from a fresh counter.
type State struct {
	At, N, M int64
}

// skew is how late a caller's reading of the clock may reach a counter.
// Callers read the clock before they get a counter's lock, so their times
// arrive out of order, and a caller can lose the processor in between. A time
// at most this far behind the counter's own is a late caller's, and the
// counter's time stands: nothing is refilled twice and no window is opened
// again. A time further behind means that the clock was set back: the counter
// follows it, keeping what was spent.
const skew = int64(5 * time.Second)

// Skew is how long a store must keep a counter that has become idle, so that
// a late caller can't find it fresh.
const Skew = time.Duration(skew)

// Never is the RetryAfter of a cost that is above the capacity.
const Never = time.Duration(never)

// Listed says whether the policy's counters keep a list of entries besides
// their State: use the List functions for these, and the others for the rest.
func (c *Compiled) Listed() bool { return c.kind >= slidingLog }

// Take decides whether cost units pass at now. It returns the counter's state
// afterwards; when they don't pass, that is the state brought up to now. A
// store need not keep that, unless its At went back: then the clock was set
// back, and a store that forgets it would find the counter stuck in a time to
// come. Cost 0 always passes and takes nothing.
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

// Untake is the state that a Take of cost units would have left, had it taken
// nothing: for the policies that pass while another one refuses.
func (c *Compiled) Untake(s State, cost int64) State {
	s.N -= cost
	return s
}

// Give returns units of what a Take took, and the state afterwards: taken is
// the state that the Take left, s the present one. Units whose time has
// passed are given back to nowhere.
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

// CheckList decides whether cost units pass at now, dropping the entries that
// have had their time; it adds none: see AddList. The state that it returns
// describes the list, for Status.
func (c *Compiled) CheckList(l *List, now, cost int64) (State, bool) {
	if c.kind == slidingLog {
		return checkSlidingLog(c, l, now, cost)
	}
	return checkConcurrency(c, l, now, cost)
}

// AddList adds what CheckList has just let pass. holder numbers the
// reservation.
func (c *Compiled) AddList(l *List, now, cost, holder int64) State {
	if c.kind == slidingLog {
		return addSlidingLog(l, now, cost)
	}
	return addConcurrency(c, l, now, holder)
}

// GiveList returns units of what AddList added, whose state was taken. A
// concurrency slot is freed whole.
func (c *Compiled) GiveList(l *List, taken State, now, units, holder int64) State {
	if c.kind == slidingLog {
		return giveSlidingLog(c, l, taken, now, units)
	}
	return giveConcurrency(c, l, now, holder)
}

// RenewList lets a concurrency holder live for another hold from now; false
// means that it has already expired or been freed.
func (c *Compiled) RenewList(l *List, now, holder int64) bool {
	return c.kind == concurrency && renewConcurrency(c, l, now, holder)
}

// IdleAt is an instant from which a counter in this state equals a fresh one,
// not much later than the first such instant.
func (c *Compiled) IdleAt(s State) int64 {
	switch c.kind {
	case tokenBucket, leakyBucket:
		return satAdd(s.At, clamp(s.N+1, 0, c.most)*c.interval)
	case fixedWindow, slidingLog:
		return satAdd(s.At, c.period)
	case slidingWindow:
		return satAdd(satAdd(s.At, c.period), c.period)
	default: // Calendar: the period's end; Concurrency: the last holder's
		return s.M
	}
}

// Status tells where a counter stands: s is the state after a take of cost at
// now, allowed whether it passed.
func (c *Compiled) Status(s State, now, cost int64, allowed bool) Status {
	st := Status{Policy: c}
	c.describe(&st, s, now, cost, allowed)
	return st
}

// describe is Status in place, leaving st.Policy as it is.
func (c *Compiled) describe(st *Status, s State, now, cost int64, allowed bool) {
	st.Allowed, st.Limit, st.ResetAfter, st.RetryAfter = allowed, c.capacity, 0, 0
	st.Remaining = 0
	switch c.kind {
	case tokenBucket:
		statusTokenBucket(c, s, now, cost, st)
	case leakyBucket:
		statusLeakyBucket(c, s, now, cost, st)
	case fixedWindow:
		statusFixedWindow(c, s, now, cost, st)
	case slidingWindow:
		statusSlidingWindow(c, s, now, cost, st)
	case calendar:
		statusCalendar(c, s, now, cost, st)
	case slidingLog:
		statusSlidingLog(c, s, now, cost, st)
	default:
		statusConcurrency(c, s, cost, st)
	}
}
