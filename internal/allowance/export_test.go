package allowance

// Crash ends the service's goroutines without returning anything, as a killed
// process would.
func (s *Service) Crash() {
	s.cancel()
	s.ended.Wait()
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.running.Wait()
}

// MaxCounters is the bound on counters with leases.
const MaxCounters = maxEntries
