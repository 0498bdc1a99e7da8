package fallback

import (
	"math"
	"sync"
	"time"

	"ratelimiter/ratelimit"
)

// traffic knows, for each counter, the recent units of this process and of all
// others. It is a table of fixed size: a new counter takes the place of the one in
// its set that was seen least recently.
//
// The share of a process is (own + prior ÷ n) ÷ (own + others + prior), with n
// processes. The prior is a sixteenth of what the policy allows in the time over
// which traffic is remembered, or in its period if that is longer, so that a few requests,
// of which others have seen other parts, say little. What others may have spent unseen is
// added: the counter was restored before this process looked again. The shares of processes that have
// seen the same traffic sum to 1: a busy one has nearly everything, and a counter
// without traffic is shared equally.
type traffic struct {
	sets  []set
	locks [1 << 10]sync.Mutex
}

// unknown is the time of the last answer before the first.
const unknown = math.MinInt64 / 2

// setSize is the number of counters that share a set, 160 bytes.
const setSize = 4

type set [setSize]flow

// flow is the traffic of one counter.
type flow struct {
	id uint64 // 0: none
	at int64  // time of the last answer, by the shared store's clock
	// Units of this process, those of others, and those that others may have spent.
	own, others, unseen float64
}

// Bounds of the time in which traffic is halved: the policy's period, but long
// enough to have seen some, and short enough to follow changes.
const (
	minMemory = 10 * time.Second
	maxMemory = time.Hour
)

// priorPart is the part of what a policy allows that the prior is.
const priorPart = 16

func newTraffic(counters int) *traffic {
	sets := 1
	for sets*setSize < counters {
		sets *= 2
	}
	return &traffic{sets: make([]set, sets)}
}

// flowID identifies a counter.
func flowID(subject *ratelimit.Subject, p *ratelimit.Compiled) uint64 {
	return max(1, (subject.Hash[0]^p.ID())*0x9e3779b97f4a7c15)
}

// lock locks the set of a counter.
func (t *traffic) lock(id uint64) (*set, *sync.Mutex) {
	n := id >> 20 & uint64(len(t.sets)-1)
	mu := &t.locks[n%uint64(len(t.locks))]
	mu.Lock()
	return &t.sets[n], mu
}

// late reports whether an answer later than now has been seen. If the clock was
// set back, now is the latest.
func (f *flow) late(now int64) bool { return f.at > now && f.at-now <= int64(ratelimit.Skew) }

// latest reports whether no answer later than now has been seen.
func (t *traffic) latest(id uint64, now int64) bool {
	set, mu := t.lock(id)
	defer mu.Unlock()
	return !set.open(id).late(now)
}

// answered adds the units of an answer. before is the units that were spent as far
// as this process knew.
func (t *traffic) answered(id uint64, p *ratelimit.Compiled, now, before, own, others int64) {
	set, mu := t.lock(id)
	defer mu.Unlock()
	f := set.open(id)
	if !f.late(now) {
		half, allowed, _ := memoryOf(p)
		// An outage is no reason to forget more than half. A clock that was set
		// back has seen no time pass.
		elapsed := float64(max(0, min(time.Duration(now-f.at), half))) / float64(half)
		if f.own+f.others+f.unseen > 0 && elapsed > 0 {
			keep := math.Exp2(-elapsed)
			f.own, f.others, f.unseen = f.own*keep, f.others*keep, f.unseen*keep
		}
		if before == 0 && f.at != unknown {
			f.unseen += elapsed * allowed
		}
		f.at = now
	}
	f.own = max(0, f.own+float64(own))
	f.others += float64(max(0, others))
}

// holders replaces the units of others: of concurrency, the slots in use.
func (t *traffic) holders(id uint64, now, others int64) {
	set, mu := t.lock(id)
	defer mu.Unlock()
	f := set.open(id)
	if !f.late(now) {
		f.at, f.others = now, float64(max(0, others))
	}
}

// share returns this process's part of a counter, and the units of others.
func (t *traffic) share(id uint64, p *ratelimit.Compiled, own int64, instances int) (share float64, others int64) {
	set, mu := t.lock(id)
	defer mu.Unlock()
	var f flow
	for i := range set {
		if set[i].id == id {
			f = set[i]
		}
	}
	_, _, prior := memoryOf(p)
	prior += f.unseen
	mine := f.own + float64(own)
	return min(1, (mine+prior/float64(max(1, instances)))/(mine+f.others+prior)), int64(f.others)
}

// memoryOf returns the time in which a counter's traffic is halved, what the policy
// allows in that time, and the prior.
func memoryOf(p *ratelimit.Compiled) (half time.Duration, allowed, prior float64) {
	period, ok := p.Period.Duration()
	half = min(max(period, minMemory), maxMemory)
	limit := float64(p.Limit)
	allowed = limit
	if ok {
		allowed *= float64(half) / float64(period)
	}
	return half, allowed, max(1, max(limit, allowed)/priorPart)
}

// open returns the flow of a counter.
func (s *set) open(id uint64) *flow {
	oldest := &s[0]
	for i := range s {
		f := &s[i]
		if f.id == id {
			return f
		}
		if f.at < oldest.at {
			oldest = f
		}
	}
	*oldest = flow{id: id, at: unknown}
	return oldest
}
