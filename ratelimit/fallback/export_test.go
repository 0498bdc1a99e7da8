package fallback

import (
	"context"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// Mirror returns the mirror.
func (s *Store) Mirror() *memory.Store { return s.mirror }

// Share returns the share of this process in a step's counter: that of its debt, if
// it has one.
func (s *Store) Share(b *ratelimit.Batch, step *ratelimit.Step) float64 {
	st := s.stripeOf(b)
	st.mu.Lock()
	defer st.mu.Unlock()
	if d := st.debts[keyOf(b, step)]; d != nil && !step.Policy.Holds() {
		return d.share
	}
	share, _ := s.traffic.share(flowOf(b, step), step.Policy, 0, s.o.Instances())
	return share
}

// ForgetTraffic makes the shares those by the number of processes.
func (s *Store) ForgetTraffic() {
	for i := range s.traffic.sets {
		_, mu := s.traffic.lock(uint64(i) << 20)
		for j := range s.traffic.sets[i] {
			f := &s.traffic.sets[i][j]
			f.own, f.others, f.unseen = 0, 0, 0
		}
		mu.Unlock()
	}
}

// ForgetClock makes decisions alone follow the local clock.
func (s *Store) ForgetClock() { s.ahead.Store(0) }

// ReturnAtOnce makes s return as soon as it has reported.
func (s *Store) ReturnAtOnce() { s.hold = 0 }

// ReportAll reports the ledgers of all stripes.
func (s *Store) ReportAll(ctx context.Context) error { return s.reportAll(ctx) }

// SetRandom makes pauses repeatable.
func (s *Store) SetRandom(random func() float64) { s.random = random }

// SetShared replaces the shared store.
func (s *Store) SetShared(shared ratelimit.Store) { s.shared = shared }
