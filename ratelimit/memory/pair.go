package memory

import "ratelimiter/ratelimit"

// pair is the one or two subjects of a batch, found and locked.
type pair struct {
	key, owner  side
	first, last *shard // in locking order; the same when there is one
	// cells is where each step's counter lies in its subject's record.
	cells [ratelimit.MaxPolicies]cellAt
}

// lock finds the subjects of a batch and locks their shards, the lower one
// first, so that two batches never wait for each other.
func (s *Store) lock(p *pair, b *ratelimit.Batch) {
	k, o := -1, -1
	if b.Key != nil {
		k = shardOf(b.Key)
	}
	if b.Owner != nil {
		o = shardOf(b.Owner)
	}
	low, high := min(k, o), max(k, o)
	if low < 0 {
		low = high
	}
	p.first, p.last = &s.shards[low], &s.shards[high]
	p.first.lock()
	if p.last != p.first {
		p.last.lock()
	}
	if k >= 0 {
		p.key.open(&s.shards[k], b.Key)
	}
	if o >= 0 {
		p.owner.open(&s.shards[o], b.Owner)
	}
}

func shardOf(s *ratelimit.Subject) int { return int(s.Hash[0] >> (64 - shardBits)) }

// unlock returns how often the first shard has been used.
func (p *pair) unlock() (turn uint32) {
	p.first.turn++
	turn = p.first.turn
	if p.last != p.first {
		p.last.mu.Unlock()
	}
	p.first.mu.Unlock()
	return turn
}

func (p *pair) side(step *ratelimit.Step) *side {
	if step.Policy.PerOwner() {
		return &p.owner
	}
	return &p.key
}

// take decides first and writes afterwards, so that a refusal changes nothing.
func (p *pair) take(b *ratelimit.Batch) error {
	admitted, room := true, true
	for i := range b.Steps {
		step := &b.Steps[i]
		step.Charged = false
		p.cells[i] = p.side(step).check(b, step, b.Cost)
		if i < b.Enforced {
			admitted = admitted && step.Allowed
		}
		room = room && p.cells[i] != noCell
	}
	if b.Cost == 0 {
		return nil
	}
	if !admitted {
		leave(b)
		return nil
	}
	if !room {
		if err := p.makeRoom(b); err != nil {
			return err
		}
	}
	for i := range b.Steps {
		if step := &b.Steps[i]; step.Allowed {
			p.side(step).charge(b, step, p.cells[i])
		}
	}
	return nil
}

// leave shows the steps that would have passed as they are, uncharged.
func leave(b *ratelimit.Batch) {
	for i := range b.Steps {
		step := &b.Steps[i]
		step.State = uncharged(step, step.Policy.CostOf(b.Cost))
	}
}

// makeRoom gives a cell to every step that will be charged and has none.
func (p *pair) makeRoom(b *ratelimit.Batch) error {
	defer func() { p.first.pinned = 0 }()
	for _, side := range [...]*side{&p.key, &p.owner} {
		missing := 0
		for i := range b.Steps {
			if b.Steps[i].Allowed && p.cells[i] == noCell && p.side(&b.Steps[i]) == side {
				missing++
			}
		}
		if missing == 0 {
			continue
		}
		if p.first == p.last {
			// What makes room for the one must not be the other.
			p.first.pinned = max(p.key.ref, p.owner.ref)
		}
		if err := side.reserve(missing, b.Now); err != nil {
			return err
		}
	}
	for i := range b.Steps {
		if step := &b.Steps[i]; step.Allowed && p.cells[i] == noCell {
			p.cells[i] = p.side(step).add(step)
		}
	}
	return nil
}
