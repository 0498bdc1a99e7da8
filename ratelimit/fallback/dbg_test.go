package fallback_test

import (
	"fmt"
	"ratelimiter/ratelimit"
	"slices"
)

func (w *world) dbg() {
	for c, l := range w.admissions {
		b := w.boundPartly(c)
		if w.whole {
			b = w.boundWhole(c)
		}
		e := w.excess(c)
		if e <= b || c.policy.Name == account {
			continue
		}
		fmt.Printf("DBG %s/%s limit=%d period=%s n=%d cap=%d cost=%d adm=%d excess=%d bound=%d\n", c.policy.Name, c.policy.Algorithm, c.policy.Limit, c.policy.Period, len(w.all), w.allowed(c.policy), w.cost, len(l), w.excess(c), b)
		for i, o := range w.outages {
			fmt.Printf("outage %d %.2f..%.2f", i, float64(o.from-w.t0)/1e9, float64(o.to-w.t0)/1e9)
			for j, r := range w.all {
				fmt.Printf(" %d: share %.2f stale %d", j, r.shares[i+1][c], o.stale[r][c])
			}
			fmt.Println()
		}
		list := slices.Clone(l)
		slices.SortStableFunc(list, func(a, b *admission) int { return int(a.at - b.at) })
		var state ratelimit.State
		for _, a := range list {
			if a.units > 0 {
				state = c.policy.Owe(state, a.at, a.units)
			}
			fmt.Printf("%.3f %d alone=%v by %d spent %d\n", float64(a.at-w.t0)/1e9, a.units, a.alone, slices.Index(w.all, a.by), c.policy.Spent(state, a.at))
		}
	}
}
