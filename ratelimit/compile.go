package ratelimit

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"time"
)

// Compiled is a policy with its defaults resolved and derived values computed.
// It is immutable and safe for concurrent use.
type Compiled struct {
	// Policy has every default filled in.
	Policy

	id          uint64
	fingerprint uint32
	kind        kind
	perOwner    bool

	capacity         int64 // units
	limit            int64 // units per period
	period           int64 // nanoseconds; 0 for calendar and concurrency
	emissionInterval int64 // period ÷ limit in nanoseconds, rounded up
	maxLevel         int64 // upper bound of a bucket's level without debt, in units
	maxWait          int64 // nanoseconds
	hold             int64 // nanoseconds
	zone             *time.Location
	anchorDay        int

	field string // `"name";r=`, the start of its RateLimit item
}

// kind is an Algorithm as an integer, which is faster to switch on.
type kind uint8

const (
	tokenBucket kind = iota
	leakyBucket
	fixedWindow
	slidingWindow
	calendar
	slidingLog
	concurrency
)

var kinds = map[Algorithm]kind{
	TokenBucket: tokenBucket, LeakyBucket: leakyBucket, FixedWindow: fixedWindow, SlidingWindow: slidingWindow,
	Calendar: calendar, SlidingLog: slidingLog, Concurrency: concurrency,
}

// ID identifies the counter of a subject: the hash of the policy's name and
// shape.
func (c *Compiled) ID() uint64 { return c.id }

// Fingerprint is the hash of the policy's shape: its algorithm and period, and
// for calendar its time zone and anchor day. States of different shapes are
// incompatible. A store resets a counter whose fingerprint differs.
func (c *Compiled) Fingerprint() uint32 { return c.fingerprint }

// PerOwner reports whether the policy spends the owner's counter.
func (c *Compiled) PerOwner() bool { return c.perOwner }

// Holds reports whether the policy counts running requests instead of units.
func (c *Compiled) Holds() bool { return c.kind == concurrency }

// Capacity returns the number of units that a fresh counter admits at once.
func (c *Compiled) Capacity() int64 { return c.capacity }

// Times returns the policy's period, which is 0 for calendar and concurrency, and
// its max_wait or hold. It is for stores that apply the algorithms themselves.
func (c *Compiled) Times() (period, extra time.Duration) {
	return time.Duration(c.period), time.Duration(max(c.maxWait, c.hold))
}

// CostOf returns the units that a request of the given cost takes from the
// policy. Concurrency takes one slot per request.
func (c *Compiled) CostOf(cost int64) int64 {
	if c.kind == concurrency {
		return min(cost, 1)
	}
	return cost
}

// compile resolves the defaults of a valid policy and computes derived values.
func compile(p Policy) (*Compiled, error) {
	p = withDefaults(p)
	zone, zoneName, err := loadZone(p.TimeZone)
	if err != nil {
		return nil, err
	}
	c := &Compiled{
		Policy:    p,
		kind:      kinds[p.Algorithm],
		perOwner:  p.Per == PerOwner,
		capacity:  p.Limit,
		limit:     p.Limit,
		maxWait:   nanoseconds(p.MaxWait),
		hold:      nanoseconds(p.Hold),
		zone:      zone,
		anchorDay: p.AnchorDay,
		field:     `"` + p.Name + `";r=`,
	}
	if p.Algorithm == TokenBucket {
		c.capacity = p.Burst
	}
	if p.Algorithm == SlidingWindow && p.Limit <= exactWindow {
		c.kind = slidingLog
	}
	if !p.Period.calendar() {
		c.period = nanoseconds(p.Period)
	}
	c.emissionInterval = (c.period + c.limit - 1) / c.limit
	// A lowered limit keeps the units spent. This bound, which a debt raises,
	// makes the first unit available again after at most one period.
	c.maxLevel = c.capacity + c.limit
	c.id, c.fingerprint = identify(p, zoneName)
	return c, nil
}

func withDefaults(p Policy) Policy {
	setDefault(&p.Per, PerKey)
	setDefault(&p.Mode, Enforce)
	setDefault(&p.Sharing, SharingAuto)
	switch p.Algorithm {
	case Calendar:
		setDefault(&p.Charge, Successes)
		setDefault(&p.TimeZone, "UTC")
		if p.AnchorDay == 0 {
			p.AnchorDay = 1
		}
	case TokenBucket:
		if p.Burst == 0 {
			p.Burst = p.Limit
		}
	case LeakyBucket:
		setDefault(&p.MaxWait, "1s")
	case Concurrency:
		setDefault(&p.Hold, "60s")
	case FixedWindow, SlidingWindow, SlidingLog: // no defaults of their own
	}
	setDefault(&p.Charge, Requests)
	return p
}

func setDefault[T ~string](field *T, value T) {
	if *field == "" {
		*field = value
	}
}

func nanoseconds(p Period) int64 {
	d, _ := p.Duration()
	return int64(d)
}

// identify returns the counter's ID and the state's fingerprint. Both are
// truncated SHA-256 hashes, so they are the same in every process. The ID
// includes the shape: two keys that share a subject under different plans would
// otherwise reset each other's counter with every request. zone is the canonical
// name of the time zone, so that aliases share a counter.
func identify(p Policy, zone string) (id uint64, fingerprint uint32) {
	shape := string(p.Algorithm) + "\x00"
	if p.Algorithm == Calendar {
		shape += string(p.Period) + "\x00" + zone + "\x00" + strconv.Itoa(p.AnchorDay)
	} else {
		shape += strconv.FormatInt(nanoseconds(p.Period), 10)
	}
	kind := sha256.Sum256([]byte(shape))
	whole := sha256.Sum256([]byte(p.Name + "\x00" + shape)) // names contain no NUL
	return binary.LittleEndian.Uint64(whole[:]), binary.LittleEndian.Uint32(kind[:])
}
