package client

import (
	"cmp"
	"slices"
)

// waiter is a request that waits to be sent.
type waiter struct {
	number    uint64 // in the order of arrival; kept when it is sent again
	op        *operation
	ledgers   []*ledger
	cost      int64
	notBefore instant // after an answer that said so
	deadline  instant
	admitted  *ticket // set when it may be sent
	// wake is when it must look again, if nothing is signalled before.
	wake instant
	// short are the ledgers that it has had to wait for: they are kept for it
	// from others that came later.
	short  []*ledger
	signal chan struct{} // of capacity 1
}

// ticket is a request under way: its part in each ledger.
type ticket struct {
	sentAt instant
	cost   int64
	group  string
	parts  []part
	ended  bool
}

// queue is the requests that wait, in the order of their arrival.
type queue []*waiter

func (q *queue) add(w *waiter) {
	i, _ := slices.BinarySearchFunc(*q, w, func(a, b *waiter) int { return cmp.Compare(a.number, b.number) })
	*q = slices.Insert(*q, i, w)
}

func (q *queue) remove(w *waiter) {
	if i := slices.Index(*q, w); i >= 0 {
		*q = slices.Delete(*q, i, i+1)
	}
}

// admit sends all that can go now, but before closedUntil only what needs no key. In the order of arrival: whoever has to wait
// for a policy keeps all later ones from it, so nobody is overtaken where it
// matters, and a big request isn't starved by small ones.
func (q *queue) admit(now, closedUntil instant) {
	kept := map[*ledger]bool{}
	waiting := (*q)[:0]
	for _, w := range *q {
		if w.tryNow(now, closedUntil, kept) {
			w.poke()
			continue
		}
		for _, l := range w.short {
			kept[l] = true
		}
		waiting = append(waiting, w)
	}
	clear((*q)[len(waiting):])
	*q = waiting
}

// tryNow sends the request if it can go, and else says when it may.
func (w *waiter) tryNow(now, closedUntil instant, kept map[*ledger]bool) bool {
	ready, behind := max(now, w.notBefore), false
	if w.op != free {
		ready = max(ready, closedUntil)
	}
	for _, l := range w.ledgers {
		if kept[l] {
			behind = true
			continue
		}
		at := l.ready(now, w.cost)
		if at > now && !slices.Contains(w.short, l) {
			w.short = append(w.short, l)
		}
		ready = max(ready, at)
	}
	if behind {
		ready = never
	}
	if ready > now {
		w.setWake(ready)
		return false
	}
	w.admitted = &ticket{sentAt: now, cost: w.cost}
	for _, l := range w.ledgers {
		w.admitted.parts = append(w.admitted.parts, l.send(now, w.cost))
	}
	return true
}

func (w *waiter) setWake(at instant) {
	if at != w.wake {
		w.wake = at
		w.poke()
	}
}

// poke makes the waiter look.
func (w *waiter) poke() {
	select {
	case w.signal <- struct{}{}:
	default: // it will look anyway
	}
}

// policies names what the waiter waits for at now.
func (w *waiter) policies(now instant) []string {
	var names []string
	for _, l := range w.ledgers {
		if l.ready(now, w.cost) > now {
			names = append(names, l.policy.Name)
		}
	}
	return names
}
