package client

import (
	"context"
	"maps"
	"net/http"
	"sync"
	"time"
)

// pacer decides when requests are sent, by what responses report of the quota.
// It is safe for concurrent use.
type pacer struct {
	mu      sync.Mutex
	groups  map[string]*group
	waiters map[*policy]*call // the first request that waits for each policy
	changed chan struct{}     // closed and replaced at every change
	sent    uint64            // requests so far
}

// group is the operations to which the same policies apply.
type group struct {
	turn     chan struct{} // of capacity 1: held by the first request that waits
	policies []*policy     // by the latest response
	sentAt   time.Time
	held     time.Time // after a refusal
}

// policy is what responses have reported of one policy of the quota.
type policy struct {
	name      string
	slots     bool      // a concurrency policy: a request takes one unit until it ends
	remaining int64     // units, by the latest response
	resetAt   time.Time // units have returned by then
	reported  uint64    // number of the latest request, when the latest response came
	inFlight  int64     // units of requests without a response
	running   int       // requests that have not ended
	sentAt    time.Time
}

// call is one request over all its attempts.
type call struct {
	op       *operation
	group    *group
	deadline time.Time // for sending the last attempt
	// Of the latest attempt:
	number   uint64
	policies []*policy
	admitted bool
}

const (
	// probeTimeout bounds the wait for another response that would say what
	// remains. A long poll may take half a minute.
	probeTimeout = time.Second
	// askEvery is how often a request is sent although it would have to wait
	// too long: an operator may have raised the quota.
	askEvery = 10 * time.Minute
)

// unknown is later than any reset: only the end of another request helps.
var unknown = time.Unix(1<<40, 0)

func newPacer() *pacer {
	return &pacer{groups: map[string]*group{}, waiters: map[*policy]*call{}, changed: make(chan struct{})}
}

func (p *pacer) arrive(op *operation, deadline time.Time) *call {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.groups[op.group]
	if g == nil { // until the first response, an unnamed policy sends one request at a time
		g = &group{turn: make(chan struct{}, 1), policies: []*policy{{}}}
		p.groups[op.group] = g
	}
	return &call{op: op, group: g, deadline: deadline}
}

// acquire waits until c can be sent: in a group, in the order of arrival. The
// error is the context's, or a *WaitError.
func (p *pacer) acquire(ctx context.Context, c *call) error {
	bounded, cancel := context.WithDeadline(ctx, c.deadline)
	defer cancel()
	select {
	case c.group.turn <- struct{}{}:
		defer func() { <-c.group.turn }()
	case <-bounded.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.leave(c)
	for {
		now := time.Now()
		at, short := p.readyAt(c, now)
		tooLong := bounded.Err() != nil || at.After(c.deadline) && at != unknown
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case tooLong && now.Sub(c.group.sentAt) < askEvery:
			return waitError(at, now, short)
		case tooLong, !at.After(now):
			p.spend(c, now)
			return nil
		}
		p.pause(bounded, at.Sub(now))
	}
}

// pause waits without the lock for d, a change, or the context's end.
func (p *pacer) pause(ctx context.Context, d time.Duration) {
	changed := p.changed
	p.mu.Unlock()
	defer p.mu.Lock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (p *pacer) change() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *pacer) leave(c *call) {
	maps.DeleteFunc(p.waiters, func(_ *policy, waiter *call) bool { return waiter == c })
	p.change()
}

// readyAt returns when c can be sent, and the policies that it waits for. Later
// requests wait for it there, so that cheap ones of other groups don't starve it.
func (p *pacer) readyAt(c *call, now time.Time) (at time.Time, short []*policy) {
	at = c.group.held
	for _, policy := range c.group.policies {
		ready, waiter := policy.readyAt(c), p.waiters[policy]
		if waiter != nil && waiter != c {
			ready = unknown
		}
		at = later(at, ready)
		if ready.After(now) {
			short = append(short, policy)
			if waiter == nil {
				p.waiters[policy] = c
			}
		} else if waiter == c {
			delete(p.waiters, policy)
			p.change()
		}
	}
	return at, short
}

// readyAt returns when the policy has room for c. If too little remains, c goes
// after the reset and alone: its response reports what remains then.
func (p *policy) readyAt(c *call) time.Time {
	units := p.units(c)
	switch {
	case units == 0 || p.remaining-p.inFlight >= units:
		return time.Time{}
	case p.slots && p.running > 0:
		return unknown
	case p.inFlight > 0:
		return later(p.resetAt, p.sentAt.Add(probeTimeout))
	default:
		return p.resetAt
	}
}

func (p *policy) units(c *call) int64 {
	if p.slots {
		return min(c.op.cost, 1)
	}
	return c.op.cost
}

func (p *pacer) spend(c *call, now time.Time) {
	p.sent++
	c.number, c.policies, c.admitted = p.sent, c.group.policies, false
	c.group.sentAt = now
	for _, policy := range c.policies {
		policy.inFlight += policy.units(c)
		policy.running++
		policy.sentAt = now
	}
}

// answered takes over what the response to c reports. It is nil if there is
// none; then c may have been charged. After a refusal, the group is held.
func (p *pacer) answered(c *call, response *http.Response, held time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, policy := range c.policies {
		policy.inFlight -= policy.units(c)
		if response == nil {
			policy.remaining -= policy.units(c)
		}
	}
	if response != nil {
		c.admitted = response.StatusCode != http.StatusTooManyRequests
		p.observe(c, response)
	}
	c.group.held = later(c.group.held, held)
	p.change()
}

// observe updates the policies of c's group. A failure without fields may come
// from a proxy, and says nothing about them.
func (p *pacer) observe(c *call, response *http.Response) {
	reports := reportsOf(response.Header)
	if len(reports) == 0 && response.StatusCode >= http.StatusBadRequest {
		return
	}
	policies := make([]*policy, len(reports))
	for i, r := range reports {
		policy := p.policy(r)
		// Of requests that were in flight together, the lowest report is the latest.
		if c.number > policy.reported || r.remaining <= policy.remaining {
			policy.remaining, policy.resetAt = r.remaining, time.Now().Add(r.reset)
		}
		policy.reported = p.sent
		policies[i] = policy
	}
	c.group.policies = policies
}

// policy returns the policy of a report; it may apply to several groups.
func (p *pacer) policy(r report) *policy {
	for _, g := range p.groups {
		for _, policy := range g.policies {
			if policy.name == r.policy && policy.slots == r.slots {
				return policy
			}
		}
	}
	return &policy{name: r.policy, slots: r.slots}
}

// ended frees the slots of c, which has failed or whose response was read.
func (p *pacer) ended(c *call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, policy := range c.policies {
		policy.running--
		if policy.slots && c.admitted {
			policy.remaining += policy.units(c)
		}
	}
	p.change()
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
