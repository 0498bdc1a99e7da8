package ratelimit

// Spent returns the units of a counter in state s that time hasn't restored at
// now: the level of a bucket, the units in the window or the log, the slots in
// use. It is above the capacity if the counter is in debt. The state of a List
// must be the one that CheckList or AddList has returned at now.
func (c *Compiled) Spent(s State, now int64) int64 {
	switch c.kind {
	case tokenBucket, leakyBucket:
		return c.drain(s, now).level()
	case fixedWindow:
		return advanceFixedWindow(c, s, now).used()
	case slidingWindow:
		var w window
		w.decode(c, &s, now)
		return w.used + w.weightedPrevious(c)
	case calendar:
		return advanceCalendar(c, s, now).used()
	default:
		return s.N
	}
}
