package fallback_test

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"ratelimiter/ratelimit"
)

// lose lets a part of a thousand requests and of as many answers be lost.
func (l *link) lose(loss int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loss = loss
}

// missedOf returns the units of reports of a subject that didn't take effect.
func (l *link) missedOf(subject string) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.missed[counterName{"p", subject}]
}

// While the server returns, many reports of most instances are lost, as they are if
// it answers slowly. That delays none of the other counters' reports until the one
// instance that reaches the server has spent what the others have spent.
func TestStore_reports_are_lost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const instances, counters = 5, 40
		f := newFleet(t, instances)
		defer f.stop()
		q := quotaOf(t, ratelimit.Policy{Name: "p", Algorithm: ratelimit.SlidingLog, Limit: 100, Period: "1d"})
		admitted := make([]int64, counters)
		var quotas []*ratelimit.Quota
		for i := range counters {
			quotas = append(quotas, q.For(ratelimit.Subjects{Key: strconv.Itoa(i), Owner: strconv.Itoa(i)}))
			admitted[i] = int64(f.spend(quotas[i], 20, f.nodes...))
		}
		f.lose()
		for i, q := range quotas {
			admitted[i] += int64(f.spend(q, 1000, f.nodes...))
		}
		f.cut(false)
		for _, n := range f.nodes[1:] {
			n.link.lose(150)
		}
		for range 200 {
			time.Sleep(100 * time.Millisecond)
			for i, q := range quotas {
				for _, n := range f.nodes {
					if n.take(q).Decision.Allowed {
						admitted[i]++
					}
				}
			}
		}
		for i := range quotas {
			missed := int64(0)
			for _, n := range f.nodes {
				missed += n.link.missedOf(strconv.Itoa(i))
			}
			if most := 100 + 4*instances + missed; admitted[i] > most {
				t.Errorf("counter %d: %d admitted, want at most %d: %d in reports that were lost", i, admitted[i], most, missed)
			}
		}
	})
}
