package ratelimit

import (
	"fmt"
	"math/big"
	"strconv"
	"time"
)

// model is a simple reference implementation of an algorithm. It uses
// arbitrary-precision rationals, keeps the whole history and shares no code with
// the implementation. Time must not go backwards.
type model interface {
	// remaining returns the number of single units that would pass at now.
	remaining(now int64) *big.Int
	// passes reports whether one request of cost would pass at now.
	passes(now, cost int64) bool
	// charge takes cost at now, whether it passes or not.
	charge(now, cost int64) receipt
	// refund gives units of a charge back.
	refund(r receipt, now, units int64)
}

// receipt identifies a charge for a refund.
type receipt struct {
	at    int64
	level *big.Rat
	label string
	units *big.Rat // of a bucket, those that haven't drained
	given *big.Int // of a bucket, all units given back so far
}

func newModel(c *Compiled) model {
	switch c.Algorithm {
	case TokenBucket, LeakyBucket:
		return &bucketModel{c: c, level: new(big.Rat), given: new(big.Int)}
	case FixedWindow:
		return &windowModel{c: c, used: map[string]int64{}}
	case SlidingWindow:
		if c.Limit > 32 {
			return &slidingModel{c: c}
		}
		return &logModel{c: c, entries: map[int64]int64{}}
	case SlidingLog:
		return &logModel{c: c, entries: map[int64]int64{}}
	default:
		return &calendarModel{c: c, used: map[string]int64{}}
	}
}

// atMost reports whether cost is at most remaining.
func atMost(cost int64, remaining *big.Int) bool { return remaining.Cmp(big.NewInt(cost)) >= 0 }

func rat(n int64) *big.Rat { return new(big.Rat).SetInt64(n) }

// floor returns the largest integer that is at most r.
func floor(r *big.Rat) *big.Int { return new(big.Int).Div(r.Num(), r.Denom()) }

// bucketModel models token_bucket and leaky_bucket. It keeps each charge's units
// until they have drained, in the order of the charges.
type bucketModel struct {
	c       *Compiled
	level   *big.Rat // the sum of charges
	charges []*big.Rat
	given   *big.Int // back, each time rounded up
	last    int64
}

// advance drains to now, the oldest units first.
func (m *bucketModel) advance(now int64) {
	level := m.after(m.level, m.last, now)
	drained := new(big.Rat).Sub(m.level, level)
	for drained.Sign() > 0 {
		oldest := m.charges[0]
		part := new(big.Rat).Set(drained)
		if part.Cmp(oldest) >= 0 {
			part.Set(oldest)
			m.charges = m.charges[1:]
		}
		oldest.Sub(oldest, part)
		drained.Sub(drained, part)
	}
	m.level, m.last = level, now
}

// after returns the level at to, given the level at from.
func (m *bucketModel) after(level *big.Rat, from, to int64) *big.Rat {
	drained := new(big.Rat).SetFrac64(m.c.limit, m.c.period)
	drained.Mul(drained, rat(to-from))
	drained.Sub(level, drained)
	if drained.Sign() < 0 {
		return new(big.Rat)
	}
	return drained
}

// remaining of a leaky_bucket counts the single units whose turns begin within
// max_wait, one emission interval apart.
func (m *bucketModel) remaining(now int64) *big.Int {
	level := m.after(m.level, m.last, now)
	room := floor(new(big.Rat).Sub(rat(m.c.capacity), level))
	if m.c.Algorithm == LeakyBucket {
		turns := new(big.Rat).Sub(rat(m.c.maxWait), m.wait(level))
		if turns.Sign() < 0 {
			return new(big.Int)
		}
		turns.Quo(turns, m.emissionInterval())
		if n := floor(turns); n.Cmp(room) < 0 {
			return n.Add(n, big.NewInt(1))
		}
	}
	return room
}

func (m *bucketModel) passes(now, cost int64) bool {
	level := m.after(m.level, m.last, now)
	if m.c.Algorithm == LeakyBucket && m.wait(level).Cmp(rat(m.c.maxWait)) > 0 {
		return false
	}
	return atMost(cost, floor(new(big.Rat).Sub(rat(m.c.capacity), level)))
}

func (m *bucketModel) emissionInterval() *big.Rat {
	return new(big.Rat).SetFrac64(m.c.period, m.c.limit)
}

func (m *bucketModel) wait(level *big.Rat) *big.Rat {
	return new(big.Rat).Mul(level, m.emissionInterval())
}

func (m *bucketModel) charge(now, cost int64) receipt {
	m.advance(now)
	m.level = new(big.Rat).Add(m.level, rat(cost))
	m.charges = append(m.charges, rat(cost))
	return receipt{at: now, level: new(big.Rat).Set(m.level), units: m.charges[len(m.charges)-1], given: new(big.Int).Set(m.given)}
}

// refund gives back what undrained says, but never units that have drained.
func (m *bucketModel) refund(r receipt, now, units int64) {
	m.advance(now)
	level := new(big.Rat).Set(r.level)
	if m.c.Algorithm == LeakyBucket {
		if m.after(level, r.at, now).Cmp(m.level) != 0 {
			return
		}
	} else { // those given back since the take were before it, as far as possible
		level.Sub(level, new(big.Rat).SetInt(new(big.Int).Sub(m.given, r.given)))
		if level.Cmp(rat(units)) < 0 {
			level = rat(units)
		}
	}
	back := m.after(level, r.at, now)
	for _, most := range []*big.Rat{rat(units), r.units} {
		if back.Cmp(most) > 0 {
			back.Set(most)
		}
	}
	r.units.Sub(r.units, back)
	m.level = new(big.Rat).Sub(m.level, back)
	up := floor(back)
	if !back.IsInt() {
		up.Add(up, big.NewInt(1))
	}
	m.given.Add(m.given, up)
}

// windowModel models fixed_window.
type windowModel struct {
	c    *Compiled
	used map[string]int64
}

func (m *windowModel) window(now int64) string {
	return new(big.Int).Div(big.NewInt(now), big.NewInt(m.c.period)).String()
}

func (m *windowModel) remaining(now int64) *big.Int {
	return big.NewInt(m.c.capacity - m.used[m.window(now)])
}

func (m *windowModel) passes(now, cost int64) bool { return atMost(cost, m.remaining(now)) }

func (m *windowModel) charge(now, cost int64) receipt {
	m.used[m.window(now)] += cost
	return receipt{label: m.window(now)}
}

func (m *windowModel) refund(r receipt, _, units int64) { m.used[r.label] -= units }

// slidingModel models sliding_window above 32. It keeps all charges.
type slidingModel struct {
	c       *Compiled
	anchor  int64 // start of window 0, at the first charge
	charges []slidingCharge
	run     *slidingRun
}

// slidingCharge is one charge. at doesn't change when units are given back.
type slidingCharge struct{ at, window, units int64 }

// slidingRun is a run of evenly spaced charges. It began with the window first;
// alone reports whether nothing was charged in the one before.
type slidingRun struct {
	cost, requests, first int64
	alone                 bool
}

// used returns the units in a window.
func (m *slidingModel) used(window int64) (units int64) {
	for _, c := range m.charges {
		if c.window == window {
			units += c.units
		}
	}
	return units
}

// fresh reports whether nothing that was charged matters at now.
func (m *slidingModel) fresh(now int64) bool {
	n := len(m.charges)
	if n == 0 || now-m.charges[n-1].at >= m.c.period {
		return true
	}
	// The windows of the last time that the counter was accessed are those of
	// now or earlier, so units given back in them are still there.
	k := (now - m.anchor) / m.c.period
	return m.used(k) == 0 && m.used(k-1) == 0
}

func (m *slidingModel) remaining(now int64) *big.Int {
	if m.fresh(now) {
		return big.NewInt(m.c.capacity)
	}
	k := (now - m.anchor) / m.c.period
	weight := new(big.Rat).SetFrac64((k+1)*m.c.period-(now-m.anchor), m.c.period)
	estimate := new(big.Rat).Mul(rat(m.used(k-1)), weight)
	estimate.Add(estimate, rat(m.used(k)))
	remaining := floor(estimate.Sub(rat(m.c.capacity), estimate))
	if remaining.Sign() < 0 {
		remaining.SetInt64(0)
	}
	if m.run != nil && m.even(k) && m.spaced(now) && !atMost(m.run.cost, remaining) {
		remaining.SetInt64(m.run.cost)
	}
	return remaining
}

// even reports whether all charges of windows k and k-1 are a run.
func (m *slidingModel) even(k int64) bool {
	return m.run.first < k || m.run.alone || m.used(k-1) == 0
}

// spaced reports whether the run can be continued at now.
func (m *slidingModel) spaced(now int64) bool {
	return now-m.charges[len(m.charges)-1].at >= m.c.period/m.run.requests
}

func (m *slidingModel) passes(now, cost int64) bool { return atMost(cost, m.remaining(now)) }

func (m *slidingModel) charge(now, cost int64) receipt {
	if m.fresh(now) {
		m.anchor, m.charges, m.run = now, nil, nil
	}
	k := (now - m.anchor) / m.c.period
	if m.run == nil || cost > m.run.cost || !m.spaced(now) {
		m.run = nil
		if n := m.c.limit / cost; n > 0 && n < 1<<22 && m.used(k) == 0 {
			m.run = &slidingRun{cost: cost, requests: n, first: k, alone: m.used(k-1) == 0}
		}
	}
	m.charges = append(m.charges, slidingCharge{now, k, cost})
	return receipt{at: now, level: rat(k), label: strconv.FormatInt(m.anchor, 10)}
}

func (m *slidingModel) refund(r receipt, now, units int64) {
	if m.fresh(now) || r.label != strconv.FormatInt(m.anchor, 10) {
		return // all of it has left
	}
	if k := (now - m.anchor) / m.c.period; r.level.Cmp(rat(k-1)) < 0 {
		return
	}
	for i := range m.charges {
		if c := &m.charges[i]; c.at == r.at { // charges of one instant are alike
			back := min(units, c.units)
			c.units, units = c.units-back, units-back
		}
	}
}

// logModel models sliding_log.
type logModel struct {
	c       *Compiled
	entries map[int64]int64
}

func (m *logModel) remaining(now int64) *big.Int {
	remaining := m.c.capacity
	for at, n := range m.entries {
		if at > now-m.c.period {
			remaining -= n
		}
	}
	return big.NewInt(remaining)
}

func (m *logModel) passes(now, cost int64) bool { return atMost(cost, m.remaining(now)) }

func (m *logModel) charge(now, cost int64) receipt {
	m.entries[now] += cost
	return receipt{at: now}
}

func (m *logModel) refund(r receipt, _, units int64) { m.entries[r.at] -= units }

// calendarModel models calendar. It labels each period with its first local date,
// which it finds by stepping back day by day.
type calendarModel struct {
	c    *Compiled
	used map[string]int64
}

func (m *calendarModel) label(now int64) string {
	year, month, day := time.Unix(0, now).In(m.c.zone).Date()
	for d := 0; ; d++ {
		date := time.Date(year, month, day-d, 12, 0, 0, 0, time.UTC)
		if m.begins(date) {
			return fmt.Sprint(date.Date())
		}
	}
}

// begins reports whether a period begins on date.
func (m *calendarModel) begins(date time.Time) bool {
	switch m.c.Period {
	case Day:
		return true
	case Week:
		return date.Weekday() == time.Monday
	default: // Month
	}
	tomorrow := date.AddDate(0, 0, 1)
	lastOfMonth := tomorrow.Day() == 1
	return date.Day() == m.c.anchorDay || lastOfMonth && date.Day() < m.c.anchorDay
}

func (m *calendarModel) remaining(now int64) *big.Int {
	return big.NewInt(m.c.capacity - m.used[m.label(now)])
}

func (m *calendarModel) passes(now, cost int64) bool { return atMost(cost, m.remaining(now)) }

func (m *calendarModel) charge(now, cost int64) receipt {
	m.used[m.label(now)] += cost
	return receipt{label: m.label(now)}
}

func (m *calendarModel) refund(r receipt, _, units int64) { m.used[r.label] -= units }
