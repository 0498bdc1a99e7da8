package client

// sliding follows a sliding_window: the window before counts in proportion to
// how much of it the last period still covers.
type sliding struct {
	span
	units  int64 // of this window
	before int64 // of the window before
	edge   int64 // of units: may belong to the next window, as in window
}

func (s *sliding) enter(now instant) {
	for now >= s.hi {
		s.units, s.before, s.edge = s.edge, s.units, 0
		s.next(now)
	}
}

func (s *sliding) used(now instant) int64 {
	s.enter(now)
	covered := min(s.hi-now, s.period)
	return s.units + scaleUp(s.before, int64(covered), int64(s.period))
}

func (s *sliding) charge(now instant, units int64) {
	s.enter(now)
	s.units += units
	if now >= s.lo {
		s.edge += units
	}
}

func (s *sliding) room(now instant, most int64) instant {
	switch {
	case s.used(now) <= most:
		return now
	case most < 0:
		return never
	case s.units <= most:
		covered, _ := scale(most-s.units, int64(s.period), s.before)
		return s.hi - instant(covered)
	default: // in the next window, where units are those before
		covered, _ := scale(most, int64(s.period), s.units)
		return s.hi + s.period - instant(covered)
	}
}

func (s *sliding) least(o *observation) int64 { return o.capacity - o.remaining }

// observe: of all splits of the count over both windows, the one with the most
// in this window is the slowest to slide out, now and in the next window.
func (s *sliding) observe(o *observation) {
	s.enter(o.answered)
	if left := s.lo - o.answered; left > 0 {
		s.units = min(s.units, o.most())
		s.before = min(s.before, scaleUp(o.most()-s.units, int64(s.period), int64(min(left, s.period))))
	}
	s.span.observe(o)
}
