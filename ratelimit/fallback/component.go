package fallback

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"ratelimiter/ratelimit"
)

const (
	// maxFailures is the number of failures in a row after which the store is lost.
	// One slow answer is no reason to leave it, and no request waits a fourth time.
	maxFailures = 3
	// Bounds of the pause between two probes.
	minBackoff = 50 * time.Millisecond
	maxBackoff = time.Second
	// holdTime is how long decisions are made alone after the store has answered, so
	// that all processes have reached it, by the longest pause between two probes,
	// and reported. One that returned before would spend what others have spent.
	holdTime = 4 * time.Second
	// reportEvery is the pause between two reports in that time.
	reportEvery = 500 * time.Millisecond
	// returnTime is the time over which the stripes return, so that the store isn't
	// hit by everything at once.
	returnTime = 2 * time.Second
	// reporters is the number of stripes that report at a time.
	reporters = 4
	// reportDelay collects what was admitted alone after single failures.
	reportDelay = 100 * time.Millisecond
)

// Name returns "fallback".
func (*Store) Name() string { return "fallback" }

// Start begins to look for a lost store and to report to it.
func (s *Store) Start(ctx context.Context) error {
	ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.component.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-s.lost:
				s.comeBack(ctx)
			case <-s.recorded:
				s.reportSingles(ctx)
			}
		}
	})
	return nil
}

// reportSingles reports what was admitted alone after single failures. If the store
// hasn't answered since, a peek goes first, because a report isn't repeated.
func (s *Store) reportSingles(ctx context.Context) {
	switch {
	case !pause(ctx, s.jitter(reportDelay)), s.Figures().Down:
	case s.failures.Load() > 0 && s.probe(ctx) != nil:
		s.record()
	default:
		_ = s.reportAll(ctx) // what is left is recorded again
	}
}

// Stop reports what was admitted alone. The error means that the shared store
// didn't learn all of it.
func (s *Store) Stop(ctx context.Context) error {
	before := s.Figures()
	s.cancel()
	s.component.Wait()
	var failures []error
	for len(failures) < maxFailures {
		err := s.reportAll(ctx)
		if err == nil {
			break
		}
		failures = append(failures, err)
	}
	if after := s.Figures(); after.Dropped > before.Dropped || after.LostGives > before.LostGives {
		failures = append(failures, errDropped)
	}
	return errors.Join(failures...)
}

var errDropped = errors.New("fallback: some reports had no answer")

// failed counts a failure of a call that began in an outage's number. It keeps the
// batch's counters for probes.
func (s *Store) failed(b *ratelimit.Batch, err error, outage uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.outages.Load() != outage {
		return // known
	}
	s.witness = ratelimit.Batch{Steps: make([]ratelimit.Step, len(b.Steps))}
	if b.Key != nil {
		s.witness.Key = b.Key.Clone()
	}
	if b.Owner != nil {
		s.witness.Owner = b.Owner.Clone()
	}
	for i := range b.Steps {
		s.witness.Steps[i].Policy = b.Steps[i].Policy
	}
	if s.failures.Add(1) < maxFailures {
		return
	}
	if s.returned == outage {
		s.lostAt = time.Now()
		s.losses++
		s.o.Log.Warn("shared store of rate limits failed: deciding alone", "error", err)
		s.lost <- struct{}{}
	}
	s.outages.Add(1)
}

// comeBack probes the shared store until it answers, and returns to it.
func (s *Store) comeBack(ctx context.Context) {
	for backoff := minBackoff; pause(ctx, s.jitter(backoff)); backoff = min(2*backoff, maxBackoff) {
		if s.probe(ctx) != nil {
			continue
		}
		outage := s.outages.Load()
		if err := s.comeBackFrom(ctx, outage); err != nil {
			s.outages.Add(1) // alone again
			continue
		}
		s.mu.Lock()
		back := s.outages.Load() == outage
		if back {
			s.returned = outage
			s.o.Log.Info("shared store of rate limits is back", "after", time.Since(s.lostAt).Round(time.Millisecond).String())
		}
		s.mu.Unlock()
		if back {
			return
		}
	}
}

// probe peeks at counters whose call has failed. After an answer, failures are
// counted from 0 again.
func (s *Store) probe(ctx context.Context) error {
	s.mu.Lock()
	peek := s.witness
	peek.Steps = slices.Clone(peek.Steps) // several reporters may probe
	s.mu.Unlock()
	peek.Now = s.o.Clock()
	bounded, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	err := s.shared.Take(bounded, &peek)
	if err == nil {
		s.failures.Store(0)
	}
	return err
}

// comeBackFrom reports for some time, and returns all stripes. The error means that
// the store was lost again.
func (s *Store) comeBackFrom(ctx context.Context, outage uint64) error {
	for until := time.Now().Add(s.hold); s.o.Instances() > 1 && time.Now().Before(until); {
		if err := s.reportAll(ctx); err != nil {
			return err
		}
		if !pause(ctx, s.jitter(reportEvery)) {
			return ctx.Err()
		}
	}
	returning, cancel := context.WithCancel(ctx)
	var reporter sync.WaitGroup
	reporter.Go(func() { // of the stripes that return last
		for pause(returning, s.jitter(reportEvery)) && s.reportAll(returning) == nil {
		}
	})
	err := s.returnStripes(ctx, outage)
	cancel()
	reporter.Wait()
	return err
}

var errLost = errors.New("fallback: the shared store was lost again")

// returnStripes reports the ledgers of all stripes and lets each return.
func (s *Store) returnStripes(ctx context.Context, outage uint64) error {
	return s.eachStripe(func(st *stripe) error {
		switch err := s.report(ctx, st); {
		case err != nil:
			return err
		case s.outages.Load() != outage:
			return errLost
		}
		st.mu.Lock()
		st.returned = outage
		st.mu.Unlock()
		s.record()
		pause(ctx, s.jitter(returnTime*reporters/time.Duration(len(s.stripes))))
		return nil
	})
}

// reportAll reports the ledgers of all stripes.
func (s *Store) reportAll(ctx context.Context) error {
	return s.eachStripe(func(st *stripe) error { return s.report(ctx, st) })
}

// eachStripe does something for each stripe, for some at a time. The order is random,
// so that after failures no stripe is always among those that weren't reached.
func (s *Store) eachStripe(do func(*stripe) error) error {
	order := make([]int, len(s.stripes))
	for i := range order {
		j := int(s.random() * float64(i+1))
		order[i], order[j] = order[j], i
	}
	var workers sync.WaitGroup
	var failures [reporters]error
	for w := range reporters {
		workers.Go(func() {
			for i := w; i < len(order) && failures[w] == nil; i += reporters {
				failures[w] = do(&s.stripes[order[i]])
			}
		})
	}
	workers.Wait()
	return errors.Join(failures[:]...)
}

// pause waits and reports whether ctx isn't done.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// jitter returns a duration between half and one and a half of d.
func (s *Store) jitter(d time.Duration) time.Duration {
	return d/2 + time.Duration(s.random()*float64(d))
}
