package fallback

import "ratelimiter/ratelimit/memory"

// Mirror returns the mirror.
func (s *Store) Mirror() *memory.Store { return s.mirror }
