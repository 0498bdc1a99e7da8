package quota

import (
	"hash/maphash"
	"sync/atomic"
)

// generations records when keys and plans last changed, so that cached values
// derived from older state can be recognized. Keys share slots by hash: a change
// of one key also reloads the few others of its slot. It therefore needs no
// bound and forgets nothing.
type generations struct {
	clock atomic.Uint64 // number of changes so far
	keys  [keySlots]atomic.Uint64
	plans [planSlots]atomic.Uint64
}

// 4096 slots take 32 KB; with 100,000 cached keys a change reloads about 25
// others. Plans are few, and many keys depend on each.
const (
	keySlots  = 4096
	planSlots = 256
)

var slotSeed = maphash.MakeSeed()

func (g *generations) key(id string) *atomic.Uint64 {
	return &g.keys[maphash.String(slotSeed, id)%keySlots]
}

func (g *generations) plan(name string) *atomic.Uint64 {
	return &g.plans[maphash.String(slotSeed, name)%planSlots]
}

// now returns the current generation. A loader reads it before its query, so
// that a change during the query is later than the loaded value.
func (g *generations) now() uint64 { return g.clock.Load() }

// mark records a change in a slot.
func (g *generations) mark(slot *atomic.Uint64) {
	at := g.clock.Add(1)
	for {
		last := slot.Load()
		if last >= at || slot.CompareAndSwap(last, at) {
			return
		}
	}
}

// markAll records that everything may have changed.
func (g *generations) markAll() {
	for i := range g.keys {
		g.mark(&g.keys[i])
	}
	for i := range g.plans {
		g.mark(&g.plans[i])
	}
}

// snapshot is the generation of a key and a plan that a value was loaded from.
type snapshot struct {
	at        uint64
	key, plan *atomic.Uint64
}

func (g *generations) snapshot(at uint64, key, plan string) snapshot {
	return snapshot{at: at, key: g.key(key), plan: g.plan(plan)}
}

// current reports whether neither key nor plan has changed since.
func (s *snapshot) current() bool { return s.key.Load() <= s.at && s.plan.Load() <= s.at }
