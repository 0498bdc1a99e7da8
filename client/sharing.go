package client

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Processes that share a key know of each other only by what the server says:
// of units that somebody else has spent, and of refusals. All would send at the
// very moment at which a unit is there, and whoever is nearest would have them
// all. So while a quota is shared, each process lets a random pause pass after
// that moment, the one that was refused and the one that wasn't alike: then
// every unit is everybody's with the same likelihood.

const (
	// sharedFor is for how long a quota counts as shared after the last sign of it.
	sharedFor = time.Minute
	// shareSpread is how many units' time the random pause lasts at most: about
	// one unit for each of four processes comes meanwhile.
	shareSpread = 4
	// longestStreak bounds how often the pause is doubled: there are more processes.
	longestStreak = 3
	// longestSpread bounds the random pause, and is its length where the policy
	// doesn't say how fast units come.
	longestSpread = time.Second
	// answersWithin is for how long an answer is waited for that would say more: a
	// request that takes longer holds nobody up.
	answersWithin = time.Second
	// leastPause is how long a refusal is honoured that says "at once".
	leastPause = 100 * time.Millisecond
)

// refuse keeps everybody from the policies that refused until the server's
// Retry-After. Where it names none that is known here, it is about them all.
func (p *pacer) refuse(t *ticket, violated []string, after time.Duration) {
	if after <= 0 {
		after = leastPause
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now, known := p.now(), false
	for i := range t.parts {
		l := t.parts[i].ledger
		if !slices.Contains(violated, l.policy.Name) {
			continue
		}
		known = true
		l.sharedUntil = now + sharedFor
		l.notBefore = max(l.notBefore, now+after+l.randomPause())
		l.streak = min(l.streak+1, longestStreak)
	}
	if !known {
		p.closedUntil = max(p.closedUntil, now+after)
	}
	p.lookedAt = min(p.lookedAt, now-lookEvery)
	p.admit(now)
}

// giveWay leaves the next unit to whoever comes first, while there is none.
func (l *ledger) giveWay(now instant) {
	if l.holds || now >= l.sharedUntil || l.notBefore > now || l.mustAsk(now, 1) {
		return
	}
	if at := l.ready(now, 1); at > now && at < never {
		l.notBefore = at + l.randomPause()
	}
}

// mustAsk says whether another answer must come first: what has come in since
// the last one, others may have spent, so it is asked for by one request.
func (l *ledger) mustAsk(now instant, units int64) bool {
	awaited := l.sentAt > l.answeredAt && now < l.sentAt+answersWithin
	return !l.holds && now < l.sharedUntil && l.underWay > 0 && units > l.told && awaited
}

func (l *ledger) randomPause() time.Duration {
	spread := longestSpread
	if period, err := parsePeriod(orZero(l.policy.Period)); err == nil {
		units := int64(shareSpread) << l.streak
		spread = min(spread, time.Duration(scaleUp(int64(period), units, l.policy.Limit)))
	}
	return rand.N(max(spread, 1))
}
