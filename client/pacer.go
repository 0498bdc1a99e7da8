package client

import (
	"context"
	"maps"
	"net/http"
	"sync"
	"time"
)

// pacer decides when requests are sent, by what responses report of the quota.
type pacer struct {
	mu      sync.Mutex
	changed sync.Cond
	groups  map[string]*group // of operations that cost units
	free    *group            // of all others: they are never refused by the quota
	waiters map[*policy]*call // the earliest request that waits for each policy
	sent    uint64            // requests so far
}

// group is the operations to which the same policies apply.
type group struct {
	turn     chan struct{} // of capacity 1: held by the first request that waits
	policies []*policy     // by the latest response
	sentAt   time.Time
	held     time.Time // after a refusal
}

// policy is one policy of the quota.
type policy struct {
	name string
	report
	resetAt  time.Time // of the report
	reported uint64    // number of the latest request, when the latest response came
	inFlight int64     // units of requests without a response; of a slot, until its end
	sentAt   time.Time
}

// call is one request over all its attempts.
type call struct {
	op       *operation
	group    *group
	deadline time.Time // for sending the last attempt
	number   uint64    // of the latest attempt
	policies []*policy // that it spends of
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
	p := &pacer{groups: map[string]*group{}, waiters: map[*policy]*call{}}
	p.changed.L = &p.mu
	p.free = &group{turn: make(chan struct{}, 1)}
	return p
}

func (p *pacer) newCall(op *operation, deadline time.Time) *call {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.groups[op.group]
	switch {
	case op.cost == 0:
		g = p.free
	case g == nil: // until the first response, an unnamed policy sends one request at a time
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
	defer context.AfterFunc(bounded, p.wake)()
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() {
		maps.DeleteFunc(p.waiters, func(_ *policy, waiter *call) bool { return waiter == c })
		p.changed.Broadcast()
	}()
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
		timer := time.AfterFunc(at.Sub(now), p.wake)
		p.changed.Wait()
		timer.Stop()
	}
}

// wake makes requests that wait look again. It locks, so that none is missed.
func (p *pacer) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changed.Broadcast()
}

// readyAt returns when c can be sent, and the policies that it waits for. Later
// requests wait for it there, so that cheap ones of other groups don't starve it.
func (p *pacer) readyAt(c *call, now time.Time) (at time.Time, short []*policy) {
	at = c.group.held
	for _, policy := range c.group.policies {
		ready, waiter := policy.readyAt(c.op.cost), p.waiters[policy]
		switch {
		case waiter != nil && waiter.deadline.Before(c.deadline):
			ready = unknown
		case ready.After(now):
			p.waiters[policy] = c
		case waiter == c:
			delete(p.waiters, policy)
			p.changed.Broadcast()
		}
		if ready.After(now) {
			short = append(short, policy)
		}
		at = later(at, ready)
	}
	return at, short
}

// readyAt returns when the policy has room for a request. If too little remains,
// that is after the reset, alone: its response reports what remains then.
func (p *policy) readyAt(cost int64) time.Time {
	missing := p.units(cost) - (p.remaining - p.inFlight)
	at := p.resetAt
	switch {
	case missing <= 0:
		return time.Time{}
	case p.slots && p.inFlight > 0:
		return unknown
	case missing <= p.inFlight: // enough, if the report includes those in flight
		return p.sentAt.Add(probeTimeout)
	case p.inFlight > 0:
		return later(at, p.sentAt.Add(probeTimeout))
	case missing <= p.quota:
		// A reset within a unit's share of the window is that of one unit, and
		// others follow. Otherwise all return at once, as the window ends.
		if unit := p.window / time.Duration(p.quota); p.reset <= unit+time.Second {
			at = at.Add(time.Duration(missing-1) * unit)
		}
	}
	return at
}

func (p *policy) units(cost int64) int64 {
	if p.slots {
		return 1
	}
	return cost
}

func (p *pacer) spend(c *call, now time.Time) {
	p.sent++
	c.number, c.policies, c.group.sentAt = p.sent, c.group.policies, now
	for _, policy := range c.policies {
		policy.inFlight += policy.units(c.op.cost)
		policy.sentAt = now
	}
}

// answered observes the response to c, nil if there is none, and holds the group.
func (p *pacer) answered(c *call, response *http.Response, held time.Time) {
	p.mu.Lock()
	if response != nil && c.group != p.free {
		p.observe(c, response)
	}
	c.group.held = later(c.group.held, held)
	p.mu.Unlock()
	p.end(c, false)
}

// end ends c's units in flight: slots when its body has ended, others before.
func (p *pacer) end(c *call, slots bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, policy := range c.policies {
		if policy.slots == slots {
			policy.inFlight -= policy.units(c.op.cost)
		}
	}
	p.changed.Broadcast()
}

// observe updates the policies of c's group. A failure without fields may come
// from a proxy, and says nothing about them.
func (p *pacer) observe(c *call, response *http.Response) {
	reports := reportsOf(response.Header)
	if len(reports) == 0 && response.StatusCode >= http.StatusBadRequest {
		return
	}
	policies := make([]*policy, 0, len(reports))
	for name, r := range reports {
		policy := p.policy(name, r.slots)
		if r.slots { // as many as could run at once, ours included
			r.remaining = min(r.remaining+policy.inFlight, max(r.quota, 1))
		}
		// Of requests that were in flight together, the lowest report is the latest.
		if c.number > policy.reported || r.remaining <= policy.remaining || r.slots {
			policy.report, policy.resetAt = r, time.Now().Add(r.reset)
		}
		policy.reported = p.sent
		policies = append(policies, policy)
	}
	c.group.policies = policies
}

// policy returns the policy of this name. It may apply to several groups.
func (p *pacer) policy(name string, slots bool) *policy {
	for _, g := range p.groups {
		for _, policy := range g.policies {
			if policy.name == name && policy.slots == slots {
				return policy
			}
		}
	}
	return &policy{name: name, report: report{slots: slots}}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
