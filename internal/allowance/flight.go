package allowance

import (
	"context"
	"time"

	"ratelimiter/ratelimit"
)

// enqueue adds an entry to those that have something to ask. s.mu is held.
func (s *Service) enqueue(e *entry) {
	if e.queued || e.flying {
		return // it is asked for with, or after, the present statement
	}
	e.queued = true
	s.ready = append(s.ready, e)
	if e.call != nil {
		s.urgent++
	}
}

// dispatch starts statements while requests wait, and a timer while only
// prefetches do. s.mu is held.
func (s *Service) dispatch() {
	for s.flights < maxFlights && (s.urgent > 0 || len(s.ready) >= maxBatch) {
		s.launch()
	}
	if len(s.ready) > 0 && s.timer == nil && s.flights < maxFlights {
		s.timer = time.AfterFunc(prefetchDelay, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.timer = nil
			if len(s.ready) > 0 && s.flights < maxFlights && !s.stopped {
				s.launch()
			}
		})
	}
}

// asked is an entry's part of a statement.
type asked struct {
	entry *entry
	call  *call
	Request
}

// launch sends the requests of the first ready entries. s.mu is held.
func (s *Service) launch() {
	n := min(len(s.ready), maxBatch)
	var flight []asked
	now := time.Now()
	for _, e := range s.ready[:n] {
		if e.queued, e.flying = false, true; e.call != nil {
			s.urgent--
		}
		flight = s.appendRequests(flight, e, now)
	}
	s.ready = append(s.ready[:0], s.ready[n:]...)
	s.flights++
	s.running.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), applyTimeout)
		defer cancel()
		requests := make([]Request, len(flight))
		for i := range flight {
			requests[i] = flight[i].Request
		}
		replies, err := s.durable.Apply(ctx, requests)
		s.land(flight, replies, err)
	})
}

// appendRequests appends what an entry asks, and clears it. s.mu is held.
func (s *Service) appendRequests(flight []asked, e *entry, now time.Time) []asked {
	state := s.peek(e)
	r := Request{Counter: e.id, Start: e.start, End: e.end, Subject: e.subject.Name, Policy: e.policy.Name, Limit: e.policy.Limit}
	if debt := -state.X; debt > 0 && state.At == e.start {
		charge := r
		charge.Op, charge.Total = Charge, debt
		flight = append(flight, asked{entry: e, Request: charge})
	}
	if e.need > 0 || e.ahead {
		r.Op, r.Need, r.Total = Take, max(1, e.need), max(1, e.total)
		r.Want = e.leaseSize(state, now)
	}
	flight = append(flight, asked{entry: e, call: e.call, Request: r})
	e.need, e.total, e.ahead, e.call = 0, 0, false, nil
	return flight
}

// Lease sizes: two seconds of the recent rate, within parts of the limit.
const (
	leaseSeconds = 2
	minLeasePart = 200 // 0.5 %
	maxLeasePart = 50  // 2 %, with what is open
)

// leaseSize returns the units to lease ahead.
func (e *entry) leaseSize(state ratelimit.State, now time.Time) int64 {
	limit := e.policy.Limit
	size := (limit + minLeasePart - 1) / minLeasePart
	if !e.leasedAt.IsZero() {
		elapsed := max(time.Millisecond, now.Sub(e.leasedAt))
		rate := float64(e.granted) / elapsed.Seconds()
		size = max(size, int64(min(rate*leaseSeconds, float64(limit))))
	}
	open := int64(0)
	if state.At == e.start {
		open = max(0, state.X)
	}
	return max(1, min(size, limit/maxLeasePart-open))
}

// peek returns the state of an entry's counter.
func (s *Service) peek(e *entry) (state ratelimit.State) {
	_, _ = s.store.Exchange(e.subject, e.policy, e.start, func(now ratelimit.State) (ratelimit.State, bool) {
		state = now
		return now, false
	})
	return state
}

// land processes the replies of a statement.
func (s *Service) land(flight []asked, replies []Reply, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flights--
	s.stats.Statements++
	s.stats.Rows += int64(len(flight))
	now := time.Now()
	if err != nil {
		s.stats.Failures++
		if !now.Before(s.downUntil) {
			s.log.Warn("allowance: lease failed", "error", err.Error())
		}
		s.downUntil = now.Add(downFor)
	}
	for i := range flight {
		a := &flight[i]
		switch {
		case err == nil:
			s.deposit(a, replies[i], now)
		case a.Op == Take:
			s.stats.Uncertain += max(a.Total, a.Want)
		}
		if a.call != nil {
			a.call.err = err
			close(a.call.done)
		}
	}
	for i := range flight {
		e := flight[i].entry
		e.flying = false
		if e.call != nil || e.ahead {
			s.enqueue(e)
		}
	}
	s.dispatch()
}

// deposit adds a reply's units to the counter that asked. s.mu is held.
func (s *Service) deposit(a *asked, r Reply, now time.Time) {
	e := a.entry
	if a.Op == Take {
		s.stats.Leased += r.Granted
	}
	if e.start != a.Start || r.Epoch < e.epoch { // the period has ended, or a reset came in between
		s.stats.Wasted += r.Granted
		return
	}
	lease := ratelimit.Lease{Start: e.start, End: e.end, Units: r.Granted, Used: r.Used, Afresh: e.epoch != 0 && r.Epoch > e.epoch}
	var before ratelimit.State
	generation, err := s.store.Exchange(e.subject, e.policy, e.start, func(state ratelimit.State) (ratelimit.State, bool) {
		before = state
		if a.Op == Charge && state.At != e.start {
			lease.Units = 0 // the debt left memory with its counter, and isn't a lease
		}
		return e.policy.Deposit(state, lease)
	})
	if err != nil {
		s.stats.Wasted += r.Granted
		return
	}
	if before.At != e.start {
		s.stats.Wasted += max(0, before.X) // of an earlier period
	}
	e.epoch, e.generation, e.knownAt = r.Epoch, generation, now
	if a.Op == Take && r.Granted > 0 {
		e.leasedAt, e.granted = now, r.Granted
	}
}
