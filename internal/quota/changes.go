package quota

import (
	"hash/maphash"
	"sync/atomic"
)

// changes knows when keys and plans were last changed, so that what memory
// holds of them can be told from what is out of date. It keeps no entry a key:
// keys share slots by their hash, and a change of one makes the few others of
// its slot load anew, which is right although not needed. Thus it needs no
// bound and forgets nothing.
type changes struct {
	clock atomic.Uint64 // counts changes
	keys  [keySlots]atomic.Uint64
	plans [planSlots]atomic.Uint64
}

// 32 KB for keys: with 100,000 in memory a change makes some 25 others load
// anew. Plans are few, and each stands for many keys.
const (
	keySlots  = 4096
	planSlots = 256
)

var slotSeed = maphash.MakeSeed()

func (c *changes) key(id string) *atomic.Uint64 {
	return &c.keys[maphash.String(slotSeed, id)%keySlots]
}

func (c *changes) plan(name string) *atomic.Uint64 {
	return &c.plans[maphash.String(slotSeed, name)%planSlots]
}

// now is the time by the clock of changes. Whoever reads a key takes it before
// the query: a change that comes during it then counts as later.
func (c *changes) now() uint64 { return c.clock.Load() }

// mark notes a change in a slot.
func (c *changes) mark(slot *atomic.Uint64) {
	at := c.clock.Add(1)
	for {
		last := slot.Load()
		if last >= at || slot.CompareAndSwap(last, at) {
			return
		}
	}
}

// markAll notes that everything may have changed.
func (c *changes) markAll() {
	for i := range c.keys {
		c.mark(&c.keys[i])
	}
	for i := range c.plans {
		c.mark(&c.plans[i])
	}
}

// basis is what a quota was read from: a key and a plan as of a time by the
// clock of changes.
type basis struct {
	asOf      uint64
	key, plan *atomic.Uint64
}

func (c *changes) basis(asOf uint64, key, plan string) basis {
	return basis{asOf: asOf, key: c.key(key), plan: c.plan(plan)}
}

// stands reports whether neither has changed since.
func (b *basis) stands() bool { return b.key.Load() <= b.asOf && b.plan.Load() <= b.asOf }

// Invalidate makes this instance forget what it knows of a key: it was changed.
// Every request that begins afterwards is answered from Postgres as it is then;
// no load that began before counts.
func (s *Service) Invalidate(keyID string) {
	s.changes.mark(s.changes.key(keyID))
	s.cache.Invalidate()
}

// InvalidatePlan does the same for every key on a plan.
func (s *Service) InvalidatePlan(name string) {
	s.changes.mark(s.changes.plan(name))
	s.cache.Invalidate()
}

// InvalidateAll does the same for every key.
func (s *Service) InvalidateAll() {
	s.changes.markAll()
	s.cache.Invalidate()
}
