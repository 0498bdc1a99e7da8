package ratelimit

import "time"

// takeTokenBucket applies the generic cell rate algorithm (ITU-T I.371, annex
// A) in its continuous-state form; see level.go. It admits bursts up to the
// capacity, which refills evenly: at most burst + limit × t ÷ period units in
// any time t.
//
// limit 10, period 1s, burst 20; the emission interval is 100 ms:
//
//	time    cost  level before   verdict                    level  remaining
//	0 ms      15     0.0         admitted                    15.0          5
//	0 ms       6    15.0         refused, retry after 100 ms 15.0          5
//	100 ms     6    14.0         admitted                    20.0          0
//	150 ms     1    19.5         refused, retry after 50 ms  19.5          0
//	2.1 s      1     0.0         admitted                     1.0         19
//
// Units that haven't drained can be given back; see undrained. An abandoned
// reservation stays spent and drains.
func takeTokenBucket(c *Compiled, s State, now, cost int64) (State, bool) {
	s = c.drain(s, now)
	if cost < 0 || cost > 0 && cost > c.capacity-s.level() {
		return s, false
	}
	s.N += cost // newTAT = TAT + cost × emission interval
	return s, true
}

func giveTokenBucket(c *Compiled, s, taken State, now, units int64) State {
	s = c.drain(s, now)
	back := c.undrained(taken, s.At, units, (s.given()-taken.given())&givenMask)
	s = c.subtract(s, back)
	s.X = (s.given()+back.level())&givenMask<<debtBits | s.X&debtMask
	return s
}

func statusTokenBucket(c *Compiled, s State, now, cost int64, st *Status) {
	st.Remaining = max(0, c.capacity-s.level())
	st.ResetAfter = time.Duration(c.untilTAT(s, now))
	if s.M == 0 && s.N < c.capacity {
		st.EffectiveWindow = time.Duration(satAdd(satSub(s.At, now), c.emissionInterval))
	} else {
		st.EffectiveWindow = time.Duration(c.untilLevel(s, c.capacity-st.Remaining-1, now))
	}
	if need := c.waits(st, cost); need > 0 {
		st.RetryAfter = time.Duration(c.untilLevel(s, c.capacity-need, now))
	}
}
