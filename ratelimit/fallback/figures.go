package fallback

import "sync/atomic"

// totals counts since the start.
type totals struct {
	alone, admitted, reported, dropped, lostGives atomic.Int64
	debts, later                                  atomic.Int64 // now
}

// Figures describes a Store for metrics. Units are of all policies together.
type Figures struct {
	// Down means that some or all decisions are made alone.
	Down bool
	// Outages is how often the shared store was lost.
	Outages int64
	// Alone is the number of decisions made alone.
	Alone int64
	// Admitted is the units admitted alone and not given back.
	Admitted int64
	// Reported is the units of those that were charged to the shared store. Others
	// had been restored by time.
	Reported int64
	// Dropped is the units that couldn't be recorded or whose report failed.
	Dropped int64
	// LostGives is the number of settlements that didn't reach the shared store, so that units
	// stay spent.
	LostGives int64
	// Unreported is the number of counters in the ledger.
	Unreported int64
}

// Figures returns the present figures.
func (s *Store) Figures() Figures {
	s.mu.Lock()
	down, outages := s.returned != s.outages.Load(), s.losses
	s.mu.Unlock()
	return Figures{
		Down: down, Outages: outages, Alone: s.totals.alone.Load(), Admitted: s.totals.admitted.Load(),
		Reported: s.totals.reported.Load(), Dropped: s.totals.dropped.Load(), LostGives: s.totals.lostGives.Load(),
		Unreported: s.totals.debts.Load(),
	}
}
