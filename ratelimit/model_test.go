package ratelimit

import (
	"fmt"
	"math/big"
	"time"
)

// model is an algorithm in the slow and obvious way: with rationals of any
// size, with everything remembered, and sharing no code with the real one.
// Times never go backwards.
type model interface {
	// remaining is the largest cost that would pass at now.
	remaining(now int64) *big.Int
	// charge takes cost at now, which must pass.
	charge(now, cost int64) receipt
	// refund gives units back.
	refund(r receipt, now, units int64)
}

// receipt is what a model needs for a refund.
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

func rat(n int64) *big.Rat { return new(big.Rat).SetInt64(n) }

// floor rounds down, also below zero.
func floor(r *big.Rat) *big.Int {
	q, m := new(big.Int).DivMod(r.Num(), r.Denom(), new(big.Int))
	_ = m
	return q
}

// bucketModel is both buckets.
type bucketModel struct {
	c     *Compiled
	level *big.Rat
	last  int64
}

// after is what a level has become by a time.
func (m *bucketModel) after(level *big.Rat, from, to int64) *big.Rat {
	drained := new(big.Rat).SetFrac64(m.c.limit, m.c.period)
	drained.Mul(drained, rat(to-from))
	left := new(big.Rat).Sub(level, drained)
	if left.Sign() < 0 {
		return new(big.Rat)
	}
	return left
}

func (m *bucketModel) remaining(now int64) *big.Int {
	level := m.after(m.level, m.last, now)
	if m.c.Algorithm == LeakyBucket {
		wait := new(big.Rat).Mul(level, new(big.Rat).SetFrac64(m.c.period, m.c.limit))
		if wait.Cmp(rat(m.c.maxWait)) > 0 {
			return new(big.Int)
		}
	}
	return floor(new(big.Rat).Sub(rat(m.c.capacity), level))
}

func (m *bucketModel) charge(now, cost int64) receipt {
	m.level = m.after(m.level, m.last, now)
	m.level.Add(m.level, rat(cost))
	m.last = now
	return receipt{at: now, level: new(big.Rat).Set(m.level)}
}

func (m *bucketModel) refund(r receipt, now, units int64) {
	m.level, m.last = m.after(m.level, m.last, now), now
	mine := m.after(r.level, r.at, now)
	if m.c.Algorithm == LeakyBucket && mine.Cmp(m.level) != 0 {
		return
	}
	if mine.Cmp(rat(units)) > 0 {
		mine = rat(units)
	}
	if m.level.Sub(m.level, mine); m.level.Sign() < 0 {
		m.level.SetInt64(0)
	}
}

// windowModel is fixed and sliding windows; it remembers every window.
type windowModel struct {
	c    *Compiled
	used map[string]int64
}

// window is the number of now's window and how much of it has passed.
func (m *windowModel) window(now int64) (n *big.Int, passed int64) {
	n, rest := new(big.Int).DivMod(big.NewInt(now), big.NewInt(m.c.period), new(big.Int))
	return n, rest.Int64()
}

func (m *windowModel) remaining(now int64) *big.Int {
	n, passed := m.window(now)
	left := new(big.Rat).Sub(rat(m.c.capacity), rat(m.used[n.String()]))
	if m.c.Algorithm == SlidingWindow {
		before := rat(m.used[n.Sub(n, big.NewInt(1)).String()])
		left.Sub(left, before.Mul(before, new(big.Rat).SetFrac64(m.c.period-passed, m.c.period)))
	}
	return floor(left)
}

func (m *windowModel) charge(now, cost int64) receipt {
	n, _ := m.window(now)
	m.used[n.String()] += cost
	return receipt{label: n.String()}
}

func (m *windowModel) refund(r receipt, _, units int64) { m.used[r.label] -= units }

// logModel remembers all that was ever admitted.
type logModel struct {
	c       *Compiled
	entries map[int64]int64
}

func (m *logModel) remaining(now int64) *big.Int {
	left := m.c.capacity
	for at, n := range m.entries {
		if at > now-m.c.period {
			left -= n
		}
	}
	return big.NewInt(left)
}

func (m *logModel) charge(now, cost int64) receipt {
	m.entries[now] += cost
	return receipt{at: now}
}

func (m *logModel) refund(r receipt, _, units int64) { m.entries[r.at] -= units }

// calendarModel names each period by its first local date, found by walking
// back day by day.
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

// begins says whether a period begins on a date.
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

func (m *calendarModel) charge(now, cost int64) receipt {
	m.used[m.label(now)] += cost
	return receipt{label: m.label(now)}
}

func (m *calendarModel) refund(r receipt, _, units int64) { m.used[r.label] -= units }
