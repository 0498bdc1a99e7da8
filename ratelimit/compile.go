package ratelimit

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"time"
)

// Compiled is a policy with its defaults resolved and everything that can be
// computed once computed. It is immutable and safe for concurrent use.
type Compiled struct {
	// Policy is the rule with every default filled in.
	Policy

	id          uint64
	fingerprint uint32
	kind        kind
	perOwner    bool

	capacity  int64 // units available from fresh
	limit     int64 // units a period
	period    int64 // nanoseconds; 0 for calendar and concurrency
	interval  int64 // emission interval in nanoseconds, rounded up
	most      int64 // a level is held below this, in units
	maxWait   int64 // nanoseconds
	hold      int64 // nanoseconds
	zone      *time.Location
	anchorDay int

	field string // `"name";r=`, the head of its RateLimit item
}

// kind is an Algorithm as a number, which is faster to switch on.
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

// ID identifies the policy's name: with the subject, the counter.
func (c *Compiled) ID() uint64 { return c.id }

// Fingerprint tells apart the policies of one name whose states don't
// understand each other: another algorithm, period, zone or anchor day. A
// store that finds a counter with another fingerprint starts it anew.
func (c *Compiled) Fingerprint() uint32 { return c.fingerprint }

// PerOwner says whether the counter is the owner's.
func (c *Compiled) PerOwner() bool { return c.perOwner }

// Holds says whether the policy counts requests that run, not units.
func (c *Compiled) Holds() bool { return c.kind == concurrency }

// Capacity is how many units a fresh counter admits at once.
func (c *Compiled) Capacity() int64 { return c.capacity }

// CostOf is what a request of this cost takes from the policy: concurrency
// counts requests, the others units.
func (c *Compiled) CostOf(cost int64) int64 {
	if c.kind == concurrency {
		return min(cost, 1)
	}
	return cost
}

// compile resolves a valid policy.
func compile(p Policy) (*Compiled, error) {
	p = withDefaults(p)
	zone, err := loadZone(p.TimeZone)
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
	if !p.Period.calendar() {
		c.period = nanoseconds(p.Period)
	}
	c.interval = (c.period + c.limit - 1) / c.limit
	// A lowered limit keeps what was spent, but nobody waits longer than a
	// period for its sake: then a full bucket is a period from its first unit.
	c.most = c.capacity + c.limit
	c.id, c.fingerprint = identify(p)
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
	case FixedWindow, SlidingWindow, SlidingLog: // limit and period say it all
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

// identify derives the counter's identity and the state's fingerprint. They
// are cut from SHA-256, so that they are the same in every process. A policy of
// the same name and another algorithm or period has another counter: were it
// the same one, begun anew at every change, then two keys that share a subject
// under different plans would wipe each other's counts by turns.
func identify(p Policy) (id uint64, fingerprint uint32) {
	shape := string(p.Algorithm) + "\x00"
	if p.Algorithm == Calendar {
		shape += string(p.Period) + "\x00" + p.TimeZone + "\x00" + strconv.Itoa(p.AnchorDay)
	} else {
		shape += strconv.FormatInt(nanoseconds(p.Period), 10)
	}
	kind := sha256.Sum256([]byte(shape))
	whole := sha256.Sum256([]byte(p.Name + "\x00" + shape)) // no name has a NUL
	return binary.LittleEndian.Uint64(whole[:]), binary.LittleEndian.Uint32(kind[:])
}
