package allowance

import (
	"context"
	"errors"
	"time"

	"ratelimiter/ratelimit"
)

const (
	// idleCheck is the interval of idle checks, and idleAfter how long a counter
	// isn't spent from before its lease is returned.
	idleCheck = 30 * time.Second
	idleAfter = 2 * time.Minute
	// idleTurn is the number of counters that are checked, in 0.2 ms, before
	// requests have their turn.
	idleTurn = 256
)

// Name returns "allowances".
func (*Service) Name() string { return "allowances" }

// Start begins to return the leases of idle counters.
func (s *Service) Start(ctx context.Context) error {
	ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.ended.Go(func() {
		ticker := time.NewTicker(idleCheck)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				_ = s.giveBack(ctx, s.idle(time.Now())) // counted as waste
			case <-ctx.Done():
				return
			}
		}
	})
	return nil
}

// Stop returns all leases. It must be called after the last take. The error
// means that some couldn't be returned and are wasted.
func (s *Service) Stop(ctx context.Context) error {
	s.cancel()
	s.ended.Wait()
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.running.Wait() // statements have a deadline
	s.mu.Lock()
	var returns []Request
	for _, e := range s.entries {
		returns = s.withdraw(returns, e)
	}
	s.mu.Unlock()
	return s.giveBack(ctx, returns)
}

// idle takes the leases of idle counters out of the store, and forgets counters
// that are idle or whose period has ended.
func (s *Service) idle(now time.Time) (returns []Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	total, n := int64(0), 0
	for _, e := range s.entries {
		if n++; n%idleTurn == 0 {
			s.mu.Unlock()
			s.mu.Lock()
		}
		if e.queued || e.flying {
			continue
		}
		state := s.peek(e)
		open := int64(0)
		if state.At == e.start {
			open = max(0, state.X)
		} else {
			s.stats.Wasted += e.open // the counter was evicted
		}
		if open != e.open {
			e.open, e.changedAt = open, now
		}
		switch {
		case now.UnixNano() >= e.end+int64(ratelimit.Skew):
			s.stats.Wasted += open
			s.forget(e)
		case state.At == e.start && state.X < 0: // a debt whose charge has failed
			e.ahead = true
			s.enqueue(e)
		case now.Sub(e.changedAt) >= idleAfter:
			returns = s.withdraw(returns, e)
			s.forget(e)
		default:
			total += open
		}
	}
	s.stats.Open = total
	s.dispatch()
	return returns
}

// withdraw takes an entry's lease out of the store and appends its return, or
// the charge of its debt. s.mu is held.
func (s *Service) withdraw(returns []Request, e *entry) []Request {
	r := Request{Op: Return, Counter: e.id, Start: e.start, End: e.end, Subject: e.subject.Name, Policy: e.policy.Name, Epoch: e.epoch}
	_, err := s.store.Exchange(e.subject, e.policy, e.start, func(state ratelimit.State) (ratelimit.State, bool) {
		if state.At != e.start {
			return state, false
		}
		if r.Total = -state.X; r.Total > 0 {
			r.Op, state.X = Charge, 0
			return state, false
		}
		state, r.Total = e.policy.Withdraw(state)
		return state, false
	})
	if err != nil || r.Total == 0 {
		return returns
	}
	return append(returns, r)
}

// giveBack returns leases to the durable counters. Those of a failed statement
// are wasted, because it is unknown whether it took effect.
func (s *Service) giveBack(ctx context.Context, returns []Request) error {
	var failures []error
	for len(returns) > 0 {
		n := min(len(returns), maxBatch)
		bounded, cancel := context.WithTimeout(ctx, applyTimeout)
		replies, err := s.durable.Apply(bounded, returns[:n])
		cancel()
		s.mu.Lock()
		s.stats.Statements++
		s.stats.Rows += int64(n)
		for i, r := range returns[:n] {
			returned := int64(0)
			if err == nil {
				returned = replies[i].Granted
			}
			if r.Op != Return {
				continue
			}
			s.stats.Returned += returned
			s.stats.Wasted += r.Total - returned
		}
		if err != nil {
			s.stats.Failures++
			failures = append(failures, err)
		}
		s.mu.Unlock()
		returns = returns[n:]
	}
	return errors.Join(failures...)
}
