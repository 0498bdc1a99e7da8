package client

// span is when the present window ends: between lo and hi, for the server's
// clock is known only through answers, which took some time. Each answer
// narrows it, and each new window widens it by the drift.
type span struct {
	period instant // 0: the calendar's, whose lengths differ
	lo, hi instant
}

// next moves on to the window after, and when now is far past it, close to now:
// two windows at least are left to pass, so that what was charged is forgotten.
func (s *span) next(now instant) {
	if s.period == 0 {
		s.lo, s.hi = never, never // until an answer tells
		return
	}
	windows, step := instant(1), longer(s.period)
	if idle := now - s.hi; idle > 4*s.period {
		windows = idle/step - 1
	}
	s.hi += windows * step
	s.lo = max(s.lo+windows*(s.period-s.period/drift), s.hi-s.period)
}

// observe takes an answer's reset for the window's end. It may speak of
// another window, a whole number of periods away; where it isn't clear of which,
// since it tells too little for windows so short, nothing is learnt.
func (s *span) observe(o *observation) {
	lo, hi := o.sent+o.resetMin-o.resetMin/drift, o.answered+longer(o.resetMax)
	if s.hi == never {
		s.lo, s.hi = lo, hi
		return
	}
	newLo, newHi := lo, hi
	if s.period > 0 {
		if hi-lo+s.hi-s.lo >= s.period {
			return
		}
		// The shift that brings the two closest: rounded, of twice the
		// distance between their middles.
		twice := (s.lo + s.hi) - (lo + hi)
		if twice < 0 {
			twice -= s.period
		} else {
			twice += s.period
		}
		shift := twice / (2 * s.period) * s.period
		newLo, newHi = lo+shift, hi+shift
	}
	newLo, newHi = max(newLo, s.lo), min(newHi, s.hi)
	if newLo > newHi { // a clock was set, or the calendar's next period began
		newLo, newHi = lo, hi
	}
	s.lo, s.hi = newLo, newHi
}
