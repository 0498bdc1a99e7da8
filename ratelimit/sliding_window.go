package ratelimit

import (
	"math/bits"
	"time"
)

// exactWindow is the largest limit at which sliding_window is counted like
// sliding_log, which stores at most that many entries. An estimate of so few
// units would refuse evenly spaced requests.
const exactWindow = 32

// takeSlidingWindow smooths fixed windows: the previous window is weighted by
// the part of it that the last period covers. This is Cloudflare's counter ("How
// we built rate limiting capable of scaling to millions of domains", 2017),
// except that windows begin with the first charge instead of a multiple of the
// period. It stores four numbers where sliding_log stores one per request. Its
// error is the assumption that the previous window was spent evenly. It serves
// limits above exactWindow; smaller ones are exact.
//
// limit 100, period 1m; the estimate is used + previous × weight, and the
// weighted part is rounded up:
//
//	time         cost  previous  weight  estimate before  verdict                      used
//	12:00:00        1         0    1            0           admitted                      1
//	12:00:50       79         0    1/6          1           admitted                     80
//	12:01:15       40        80    3/4         60           admitted                     40
//	12:01:15        1        80    3/4        100           refused, retry after 0.75 s  40
//	12:01:15.75     1        80  .7375         99           admitted                     41
//
// Two bounds are applied besides the estimate, which is up to one request too
// high for evenly spaced requests:
//
//   - Nothing is left of a counter whose last charge was a period ago.
//   - n requests of at most cost units each fit into a period if they come
//     period ÷ n apart and n × cost is at most the limit. Charges that do are an
//     even run; see evenRun.
//
// So requests of one cost that are spaced evenly at the limit or below are never
// refused, nor are units that are spent one by one at limit − 3 a period, if each
// comes less than one interval late.
//
// State: At is the start of the current window, N the units used in it, M the
// units used in the window before, X the time of the last charge. The upper bits
// of N and M store the even run. Units are given back to the window that was
// charged while it is the current or the previous one, and lost after that. An
// abandoned reservation stays spent until it has slid out.
func takeSlidingWindow(c *Compiled, s State, now, cost int64) (State, bool) {
	var w window
	w.decode(c, &s, now)
	if cost == 0 {
		return w.encode(), true
	}
	if cost < 0 || cost > w.remaining(c) {
		return w.encode(), false
	}
	w.charge(c, cost)
	return w.encode(), true
}

// window is a sliding_window's state at an instant.
type window struct {
	now      int64 // at least the time of the last charge
	start    int64 // of the current window
	used     int64 // units, in the current window
	previous int64 // units, in the window before
	last     int64 // time of the last charge
	run      evenRun
}

// evenRun is a run of charges that are evenly spaced: each costs at most cost
// units and comes at least period ÷ requests after the one before. It begins with
// a window and includes all charges of the current one.
type evenRun struct {
	cost     int64
	requests int64 // per period; 0: no run
	previous bool  // it includes all charges of the previous window
}

// Bits of N and M.
const (
	unitBits    = 40 // MaxLimit is below 1<<40
	unitMask    = 1<<unitBits - 1
	costMask    = 1<<20 - 1 // MaxCost is below 1<<20
	maxRequests = 1<<22 - 1
	previousBit = 1 << 62 // of N
)

// decode sets w to the state at now. A late caller sees the time of the last
// charge. If the clock was set back, all times are moved back as far, so that the
// units used are kept.
func (w *window) decode(c *Compiled, s *State, now int64) {
	w.now, w.start, w.last = now, clamp(s.At, satSub(s.X, c.period-1), satAdd(s.X, c.period)), s.X
	w.used, w.previous = min(s.N&unitMask, MaxLimit), min(s.M&unitMask, MaxLimit)
	w.run = evenRun{cost: s.N >> unitBits & costMask, requests: s.M >> unitBits & maxRequests, previous: s.N&previousBit != 0}
	if ahead := satSub(w.last, now); ahead > skew {
		w.start, w.last = satSub(w.start, ahead), now
	} else if ahead > 0 {
		w.now = w.last
	}
	if satSub(w.now, w.start) >= c.period {
		w.start, w.used, w.previous = satAdd(w.start, c.period), 0, w.used
		w.run.previous = true // of a run, if there is one
	}
	if satSub(w.now, w.last) >= c.period || w.used|w.previous == 0 {
		*w = window{now: w.now, start: w.now, last: w.now}
	}
}

// encode returns the state to store.
func (w *window) encode() State {
	s := State{At: w.start, N: w.used | w.run.cost<<unitBits, M: w.previous | w.run.requests<<unitBits, X: w.last}
	if w.run.previous {
		s.N |= previousBit
	}
	return s
}

// charge adds units to the current window.
func (w *window) charge(c *Compiled, units int64) {
	if !w.run.fits(c, units) || !w.spaced(c) {
		w.run = evenRun{}
		if w.used == 0 && units <= MaxCost && c.limit/units <= maxRequests {
			w.run = evenRun{cost: units, requests: c.limit / units, previous: w.previous == 0}
		}
	}
	w.used = min(w.used+units, MaxLimit)
	w.last = w.now
}

// fits reports whether a request of cost units can continue the run. After the
// limit was lowered, nothing does.
func (r *evenRun) fits(c *Compiled, cost int64) bool {
	return r.requests > 0 && cost <= r.cost && r.requests*r.cost <= c.limit
}

// gap returns the time between two requests of the run. It is rounded down, so
// that a caller who divides the period likewise isn't early.
func (r *evenRun) gap(c *Compiled) int64 { return c.period / r.requests }

// spaced reports whether a request now continues the run: whether the time since
// the last charge, which is less than a period, is at least gap.
func (w *window) spaced(c *Compiled) bool {
	hi, lo := bits.Mul64(uint64(satSub(w.now, w.last)+1), uint64(w.run.requests))
	return hi > 0 || lo > uint64(c.period)
}

// even reports whether only the run was charged in the last period.
func (w *window) even() bool { return w.run.previous || w.previous == 0 }

// remaining returns the largest cost that passes.
func (w *window) remaining(c *Compiled) int64 {
	r := max(0, c.capacity-w.used-w.weightedPrevious(c))
	if r < w.run.cost && w.even() && w.run.fits(c, w.run.cost) && w.spaced(c) {
		return w.run.cost
	}
	return r
}

// evenFrom returns the time from which a request of cost units passes because it
// continues the run and only the run was charged in the last period.
func (w *window) evenFrom(c *Compiled, cost int64) int64 {
	if !w.run.fits(c, cost) {
		return never
	}
	next := satAdd(w.last, w.run.gap(c))
	if !w.even() { // once the charges before the run have left both windows
		return max(next, satAdd(w.start, c.period))
	}
	return next
}

// weightedPrevious returns the previous window's part of the estimate, in units
// rounded up.
func (w *window) weightedPrevious(c *Compiled) int64 {
	if w.previous == 0 {
		return 0
	}
	covered := c.period - clamp(satSub(w.now, w.start), 0, c.period-1)
	return mulDivUp(w.previous, covered, c.period)
}

func chargeSlidingWindow(c *Compiled, s State, now, units int64) State {
	var w window
	w.decode(c, &s, now)
	w.charge(c, units)
	return w.encode()
}

func giveSlidingWindow(c *Compiled, s, taken State, now, units int64) State {
	var w window
	w.decode(c, &s, now)
	switch age := satSub(taken.At, w.start); {
	case age >= 0:
		w.used = max(0, w.used-units)
	case age >= -c.period:
		w.previous = max(0, w.previous-units)
	}
	return w.encode()
}

// ToList converts a counter of the policy's shape that was a State under a higher
// limit, above exactWindow. Only sliding_window needs it. The units keep the
// latest times at which they can have been spent.
func (*Compiled) ToList(s State) List {
	l := List{Last: s.X}
	for _, e := range [...]Entry{{s.At, s.M & unitMask}, {s.X, s.N & unitMask}} {
		if e.N > 0 {
			l.Entries, l.Sum = append(l.Entries, e), l.Sum+e.N
		}
	}
	return l
}

// ToState converts a counter of the policy's shape that was a List under a lower
// limit, up to exactWindow. Only sliding_window needs it.
func (c *Compiled) ToState(l *List) State {
	var s State
	var w window
	for _, e := range l.live() {
		if e.N > 0 {
			w.decode(c, &s, e.At)
			w.charge(c, e.N)
			s = w.encode()
		}
	}
	return s
}

func statusSlidingWindow(c *Compiled, s State, now, cost int64, st *Status) {
	var w window
	w.decode(c, &s, now)
	st.Remaining = w.remaining(c)
	st.EffectiveWindow = time.Duration(c.period)
	if st.Remaining < c.capacity {
		st.EffectiveWindow = time.Duration(satSub(w.passesFrom(c, st.Remaining+1), now))
	}
	if w.used|w.previous > 0 {
		st.ResetAfter = time.Duration(max(0, satSub(satAdd(w.start, c.period), now)))
	}
	if need := c.waits(st, cost); need > 0 {
		st.RetryAfter = time.Duration(satSub(w.passesFrom(c, need), now))
	}
}

// passesFrom returns the first instant at which a request of cost units, which
// doesn't pass now, passes if nothing else is charged.
func (w *window) passesFrom(c *Compiled, cost int64) int64 {
	return min(w.estimateReaches(c, c.capacity-cost), w.evenFrom(c, cost), satAdd(w.last, c.period))
}

// estimateReaches returns the first instant at which the estimate is at most
// target.
func (w *window) estimateReaches(c *Compiled, target int64) int64 {
	if target >= w.used && w.previous > 0 {
		// In the current window: used + previous × (period − e) ÷ period ≤ target.
		if e := c.period - coverage(c, target-w.used, w.previous); e < c.period {
			return satAdd(w.start, e)
		}
	}
	// In the next window, whose previous one is the current one.
	next := satAdd(w.start, c.period)
	return satAdd(next, c.period-coverage(c, target, w.used))
}

// coverage returns the largest part of a window of used units, in nanoseconds,
// whose weighted units are at most target.
func coverage(c *Compiled, target, used int64) int64 {
	if target >= used {
		return c.period
	}
	q, _, _ := mulDiv(target, c.period, used)
	return q
}
