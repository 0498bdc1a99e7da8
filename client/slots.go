package client

import "time"

// slots follows a concurrency policy: its own requests are counted as under
// way until they have ended, and here stand the slots that others hold. When
// they will be free isn't known.
type slots struct {
	others int64
	until  instant
}

// othersHold is for how long the slots of others are believed in: the server
// tells refused callers the same.
const othersHold = time.Second

func (s *slots) used(now instant) int64 {
	if now >= s.until {
		s.others = 0
	}
	return s.others
}

func (s *slots) charge(now instant, units int64) {
	s.others, s.until = s.used(now)+units, now+othersHold
}

func (s *slots) room(now instant, most int64) instant {
	if s.used(now) <= most {
		return now
	}
	return s.until
}

func (s *slots) least(o *observation) int64 { return o.capacity - o.remaining }

func (s *slots) observe(o *observation) { s.others = min(s.used(o.answered), o.most()) }
