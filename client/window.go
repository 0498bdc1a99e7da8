package client

// window follows a fixed_window or a calendar: what was charged counts until
// the window ends.
type window struct {
	span
	units int64
	// edge is how much of it was answered when the window may have ended
	// already: it may belong to the next one.
	edge int64
}

// enter moves on to the window of now.
func (w *window) enter(now instant) {
	for now >= w.hi {
		w.units, w.edge = w.edge, 0
		w.next(now)
	}
}

func (w *window) used(now instant) int64 {
	w.enter(now)
	return w.units
}

func (w *window) charge(now instant, units int64) {
	w.enter(now)
	w.units += units
	if now >= w.lo {
		w.edge += units
	}
}

func (w *window) room(now instant, most int64) instant {
	w.enter(now)
	if w.units <= most {
		return now
	}
	return w.hi
}

func (w *window) least(o *observation) int64 { return o.capacity - o.remaining }

func (w *window) observe(o *observation) {
	w.enter(o.answered)
	if o.answered < w.lo {
		w.units = min(w.units, o.most())
	}
	w.span.observe(o)
}
