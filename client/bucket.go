package client

// bucket follows a token_bucket, which refills evenly, or a leaky_bucket, which
// drains evenly: what was charged drains by limit units a period.
type bucket struct {
	limit   int64
	nominal instant // the period
	period  instant // the same with the drift
	emptyAt instant
	// queues is true for a leaky_bucket: there the answer's remaining units
	// are 0 as soon as its queue is too long, and only the reset tells the level.
	queues bool
}

// drainTime is how long units take to drain, rounded up.
func (b *bucket) drainTime(units int64) instant {
	return instant(scaleUp(units, int64(b.period), b.limit))
}

func (b *bucket) used(now instant) int64 {
	return scaleUp(int64(b.emptyAt-now), b.limit, int64(b.period))
}

func (b *bucket) charge(now instant, units int64) {
	b.emptyAt = min(never, max(b.emptyAt, now)+b.drainTime(units))
}

func (b *bucket) room(now instant, most int64) instant {
	d, _ := scale(most, int64(b.period), b.limit)
	return max(now, b.emptyAt-instant(d))
}

func (b *bucket) least(o *observation) int64 {
	if !b.queues {
		return o.capacity - o.remaining
	}
	// Rounded up, as what is expected is: neither can be more than the
	// server's level, rounded up.
	return scaleUp(int64(o.resetMin), b.limit, int64(b.nominal))
}

func (b *bucket) observe(o *observation) {
	b.emptyAt = min(b.emptyAt, o.answered+longer(o.resetMax)+b.drainTime(o.during))
	if !b.queues {
		b.emptyAt = min(b.emptyAt, o.answered+b.drainTime(o.most()))
	}
}
