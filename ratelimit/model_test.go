package ratelimit

import (
	"fmt"
	"math/big"
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
	// charge takes cost, which must pass, at now.
	charge(now, cost int64) receipt
	// refund gives units of a charge back.
	refund(r receipt, now, units int64)
}

// receipt identifies a charge for a refund.
type receipt struct {
	at    int64
	level *big.Rat
	label string
}

func newModel(c *Compiled) model {
	switch c.Algorithm {
	case TokenBucket, LeakyBucket:
		return &bucketModel{c: c, level: new(big.Rat)}
	case FixedWindow, SlidingWindow:
		return &windowModel{c: c, used: map[string]int64{}}
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

// bucketModel models token_bucket and leaky_bucket.
type bucketModel struct {
	c     *Compiled
	level *big.Rat
	last  int64
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
	m.level = m.after(m.level, m.last, now)
	m.level.Add(m.level, rat(cost))
	m.last = now
	return receipt{at: now, level: new(big.Rat).Set(m.level)}
}

func (m *bucketModel) refund(r receipt, now, units int64) {
	m.level, m.last = m.after(m.level, m.last, now), now
	undrained := m.after(r.level, r.at, now)
	if m.c.Algorithm == LeakyBucket && undrained.Cmp(m.level) != 0 {
		return
	}
	if undrained.Cmp(rat(units)) > 0 {
		undrained = rat(units)
	}
	if m.level.Sub(m.level, undrained); m.level.Sign() < 0 {
		m.level.SetInt64(0)
	}
}

// windowModel models fixed_window and sliding_window.
type windowModel struct {
	c    *Compiled
	used map[string]int64
}

// window returns the number of the window of now and the time since its start.
func (m *windowModel) window(now int64) (n *big.Int, passed int64) {
	n, rest := new(big.Int).DivMod(big.NewInt(now), big.NewInt(m.c.period), new(big.Int))
	return n, rest.Int64()
}

func (m *windowModel) remaining(now int64) *big.Int {
	n, passed := m.window(now)
	remaining := new(big.Rat).Sub(rat(m.c.capacity), rat(m.used[n.String()]))
	if m.c.Algorithm == SlidingWindow {
		previous := rat(m.used[n.Sub(n, big.NewInt(1)).String()])
		remaining.Sub(remaining, previous.Mul(previous, new(big.Rat).SetFrac64(m.c.period-passed, m.c.period)))
	}
	return floor(remaining)
}

func (m *windowModel) passes(now, cost int64) bool { return atMost(cost, m.remaining(now)) }

func (m *windowModel) charge(now, cost int64) receipt {
	n, _ := m.window(now)
	m.used[n.String()] += cost
	return receipt{label: n.String()}
}

func (m *windowModel) refund(r receipt, _, units int64) { m.used[r.label] -= units }

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
