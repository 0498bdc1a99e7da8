package client

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ledger follows one policy: what the server counts, and what is under way.
// It is the pacer's, and used under its lock.
type ledger struct {
	counter
	policy   Policy // as the server describes it
	group    string // the operations of this group only; "" for all
	capacity int64
	holds    bool // concurrency: each request counts one, until it has ended
	// queue is how many units may stand in a leaky_bucket when another
	// request is sent; -1 where there is no queue.
	queue int64

	underWay   int64   // units of requests that have no answer yet
	sent       int64   // units ever sent
	sentAt     instant // when the last request was sent
	answeredAt instant // when the last answer came
	answered   int64   // units ever answered
	notBefore  instant // after a refusal, or to give way
	streak     int     // refusals since the last admission, bounded
	// sharedUntil is until when others are taken to spend of the same quota.
	sharedUntil instant
	told        int64 // units that remained by the last answer, less those sent since
}

// serverQueueing is for how long the server lets a request wait in its queue at
// most, whatever the policy says.
const serverQueueing = 10 * time.Second

// newLedger makes the ledger of an enforced policy, of which nothing is charged
// yet. The error says that the policy isn't one that this client knows.
func newLedger(p Policy) (*ledger, error) {
	l := &ledger{policy: p, group: orZero(p.Group), capacity: p.Limit, queue: -1}
	period, err := parsePeriod(orZero(p.Period))
	if err != nil && p.Algorithm != Calendar && p.Algorithm != Concurrency {
		return nil, fmt.Errorf("policy %s: %w", p.Name, err)
	}
	if p.Limit <= 0 {
		return nil, fmt.Errorf("policy %s: limit %d", p.Name, p.Limit)
	}
	unknownEnd := span{period: period, lo: never, hi: never}
	switch p.Algorithm {
	case TokenBucket:
		l.counter = &bucket{limit: p.Limit, nominal: period, period: longer(period)}
		if burst := orZero(p.Burst); burst > 0 {
			l.capacity = burst
		}
	case LeakyBucket:
		l.counter = &bucket{limit: p.Limit, nominal: period, period: longer(period), queues: true}
		longest, err := parsePeriod(orZero(p.MaxWait))
		if err != nil {
			longest = time.Second // the server's default
		}
		l.queue, _ = scale(int64(min(longest, serverQueueing)/2), p.Limit, int64(period))
	case FixedWindow:
		l.counter = &window{span: unknownEnd}
	case Calendar:
		unknownEnd.period = 0
		l.counter = &window{span: unknownEnd}
	case SlidingWindow:
		l.counter = &sliding{span: unknownEnd}
	case SlidingLog:
		l.counter = &log{period: longer(period)}
	case Concurrency:
		l.counter, l.holds = &slots{}, true
	default:
		return nil, fmt.Errorf("policy %s: unknown algorithm %q", p.Name, p.Algorithm)
	}
	return l, nil
}

// units are what a request of this cost counts for.
func (l *ledger) units(cost int64) int64 {
	if l.holds {
		return min(cost, 1)
	}
	return cost
}

// ready is when a request of this cost would be admitted, whenever it arrives
// afterwards; never when only an answer can make room for it. What can never
// pass is ready: the server says so best.
func (l *ledger) ready(now instant, cost int64) instant {
	units := l.units(cost)
	if units > l.capacity {
		return max(now, l.notBefore)
	}
	most := l.capacity - l.underWay - units
	switch {
	case l.queue < 0:
	case l.underWay == 0:
		most = min(most, l.queue)
	default: // they may arrive in any order, and each has its turn after all others
		most = min(most, l.queue-l.underWay-units+1)
	}
	if most < 0 {
		return never
	}
	at := max(l.notBefore, l.room(now, most))
	if l.mustAsk(now, units) {
		at = max(at, l.sentAt+answersWithin)
	}
	return at
}

// part is a request's part in one ledger.
type part struct {
	*ledger
	units    int64
	total    int64 // what counted when it was sent, it and all under way included
	sent     int64 // the ledger's, then
	answered int64 // the ledger's, then
}

// send counts a request of this cost as under way.
func (l *ledger) send(now instant, cost int64) part {
	units := l.units(cost)
	l.underWay += units
	l.sent += units
	l.sentAt = now
	l.told -= units
	return part{ledger: l, units: units, total: l.used(now) + l.underWay, sent: l.sent, answered: l.answered}
}

// settle counts the request as answered. Whether it was charged isn't known
// when it failed: then it is taken for charged, which the next answer corrects.
// seen is what the answer says of the policy, nil if nothing.
func (p *part) settle(now instant, refused bool, seen *observation) {
	l := p.ledger
	l.answeredAt = now
	if !refused && p.units > 0 {
		l.streak = 0
	}
	if !l.holds {
		l.underWay -= p.units
		if !refused {
			l.charge(now, p.units)
		}
	}
	if seen != nil {
		seen.capacity, seen.during = l.capacity, l.answered-p.answered
		expected := p.total + l.sent - p.sent
		if refused {
			expected -= p.units
		}
		if others := l.least(seen) - expected; others > 0 {
			l.charge(now, others)
			if p.units > 0 {
				l.sharedUntil = now + sharedFor
			}
		}
		l.observe(seen)
		l.told = seen.remaining - (l.sent - p.sent)
	}
	l.answered += p.units
	l.giveWay(now)
}

// end frees the slot of a request that has ended.
func (p *part) end() {
	if p.holds {
		p.underWay -= p.units
	}
}

// parsePeriod reads "250ms", "10s", "1m", "2h" or "30d".
func parsePeriod(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseInt(days, 10, 32)
		return time.Duration(n) * 24 * time.Hour, err
	}
	d, err := time.ParseDuration(text)
	if err == nil && d <= 0 {
		err = fmt.Errorf("period %q isn't positive", text)
	}
	return d, err
}

// orZero is what p points to, or the zero value.
func orZero[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
