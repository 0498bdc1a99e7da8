package ratelimit

import (
	"fmt"
	"math/bits"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxFill is the longest time in which a token_bucket may refill from empty.
const maxFill = 10 * 365 * 24 * time.Hour

// ValidateOption configures [Validate].
type ValidateOption func(*validator)

// WithGroups makes every other group a fault. Without it, all groups are
// accepted.
func WithGroups(groups ...string) ValidateOption {
	return func(v *validator) { v.groups = append([]string{}, groups...) }
}

// WithoutLeasedSharing makes leased sharing a fault, for programs whose stores count
// every request.
func WithoutLeasedSharing() ValidateOption {
	return func(v *validator) { v.exact = true }
}

// Validate checks a list of policies and reports all faults as one
// *InvalidError. [NewQuota] accepts every list for which it returns nil.
func Validate(policies []Policy, opts ...ValidateOption) error {
	v := validator{}
	v.validate(policies, opts)
	return v.faults.err()
}

type validator struct {
	faults
	groups []string // nil: any
	exact  bool     // no leased sharing
	at     string   // pointer of the current policy
}

func (v *validator) validate(policies []Policy, opts []ValidateOption) {
	for _, o := range opts {
		o(v)
	}
	if len(policies) > MaxPolicies {
		v.add("", FaultMaxItems, fmt.Sprintf("must have at most %d policies", MaxPolicies))
	}
	names := make(map[string]bool, len(policies))
	for i := range policies {
		p := &policies[i]
		v.at = "/" + strconv.Itoa(i)
		v.name(p, names)
		v.enums(p)
		v.limit(p)
		v.period(p)
		v.burst(p)
		v.durations(p)
		v.calendar(p)
		if v.groups != nil && p.Group != "" && !slices.Contains(v.groups, p.Group) {
			v.fault("group", FaultEnum, "must be one of "+strings.Join(v.groups, ", "))
		}
	}
}

func (v *validator) fault(field, code, message string) {
	v.add(v.at+"/"+field, code, message)
}

var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)

func (v *validator) name(p *Policy, names map[string]bool) {
	switch {
	case p.Name == "":
		v.fault("name", FaultRequired, "is required")
	case !validName.MatchString(p.Name):
		v.fault("name", FaultPattern, "must be 1 to 32 characters a-z, 0-9, _ or -, beginning with a letter or digit")
	case names[p.Name]:
		v.fault("name", FaultDuplicate, "must be unique in the list")
	}
	names[p.Name] = true
}

func (v *validator) enums(p *Policy) {
	if p.Algorithm == "" {
		v.fault("algorithm", FaultRequired, "is required")
	} else {
		oneOf(v, "algorithm", p.Algorithm, TokenBucket, LeakyBucket, FixedWindow, SlidingWindow, SlidingLog, Calendar, Concurrency)
	}
	oneOf(v, "per", p.Per, "", PerKey, PerOwner)
	oneOf(v, "charge", p.Charge, "", Requests, Successes)
	oneOf(v, "mode", p.Mode, "", Enforce, Shadow)
	oneOf(v, "sharing", p.Sharing, "", SharingAuto, SharingExact, SharingLeased)
	exactOnly := p.Algorithm == SlidingLog || p.Algorithm == LeakyBucket || p.Algorithm == Concurrency
	switch {
	case p.Sharing != SharingLeased:
	case exactOnly:
		v.fault("sharing", FaultNotAllowed, "must be exact or auto for "+string(p.Algorithm))
	case v.exact:
		v.fault("sharing", FaultNotAllowed, "must be exact or auto: leased sharing isn't available yet")
	}
}

// oneOf adds a fault if got isn't one of the allowed values. The message omits
// an allowed "", which selects the default.
func oneOf[T ~string](v *validator, field string, got T, allowed ...T) {
	if slices.Contains(allowed, got) {
		return
	}
	var names []string
	for _, a := range allowed {
		if a != "" {
			names = append(names, string(a))
		}
	}
	v.fault(field, FaultEnum, "must be one of "+strings.Join(names, ", "))
}

func (v *validator) limit(p *Policy) {
	high := int64(MaxLimit)
	if p.Algorithm == SlidingLog {
		high = MaxLogLimit
	}
	v.bounds("limit", p.Limit, 1, high)
}

func (v *validator) bounds(field string, got, low, high int64) bool {
	switch {
	case got < low:
		v.fault(field, FaultMin, fmt.Sprintf("must be at least %d", low))
	case got > high:
		v.fault(field, FaultMax, fmt.Sprintf("must be at most %d", high))
	default:
		return true
	}
	return false
}

func (v *validator) period(p *Policy) {
	switch {
	case p.Algorithm == Concurrency:
		if p.Period != "" {
			v.fault("period", FaultNotAllowed, "is not allowed for concurrency")
		}
	case p.Period == "":
		v.fault("period", FaultRequired, "is required")
	case p.Algorithm == Calendar:
		oneOf(v, "period", p.Period, Day, Week, Month)
	default:
		d, ok := v.duration("period", p.Period)
		if ok && p.Limit > d.Microseconds() {
			v.fault("limit", FaultMax, "must be at most one unit per microsecond of the period")
		}
	}
}

// duration checks the format and the bounds of a period that is a duration.
func (v *validator) duration(field string, p Period) (time.Duration, bool) {
	d, ok := p.Duration()
	switch {
	case !ok:
		v.fault(field, FaultPattern, "must be a positive integer with ms, s, m, h or d, such as 10s")
	case d < minPeriod:
		v.fault(field, FaultMin, "must be at least 1ms")
	case d > maxPeriod:
		v.fault(field, FaultMax, "must be at most 366d")
	default:
		return d, true
	}
	return 0, false
}

func (v *validator) burst(p *Policy) {
	if p.Burst == 0 {
		return
	}
	if p.Algorithm != TokenBucket {
		v.fault("burst", FaultNotAllowed, "is allowed only for token_bucket")
		return
	}
	d, ok := p.Period.Duration()
	if !v.bounds("burst", p.Burst, 1, MaxLimit) || !ok || d > maxPeriod || p.Limit < 1 {
		return
	}
	// burst × period ÷ limit ≤ maxFill, with both products in 128 bits.
	hi1, lo1 := bits.Mul64(uint64(p.Burst), uint64(d))
	hi2, lo2 := bits.Mul64(uint64(p.Limit), uint64(maxFill))
	if hi1 > hi2 || hi1 == hi2 && lo1 > lo2 {
		v.fault("burst", FaultMax, "must refill within 10 years at this limit")
	}
}

func (v *validator) durations(p *Policy) {
	for _, f := range []struct {
		field     string
		value     Period
		algorithm Algorithm
	}{{"max_wait", p.MaxWait, LeakyBucket}, {"hold", p.Hold, Concurrency}} {
		switch {
		case f.value == "":
		case p.Algorithm != f.algorithm:
			v.fault(f.field, FaultNotAllowed, "is allowed only for "+string(f.algorithm))
		default:
			v.duration(f.field, f.value)
		}
	}
}

func (v *validator) calendar(p *Policy) {
	if p.TimeZone != "" {
		if p.Algorithm != Calendar {
			v.fault("time_zone", FaultNotAllowed, "is allowed only for calendar")
		} else if _, _, err := loadZone(p.TimeZone); err != nil {
			v.fault("time_zone", FaultEnum, "must be an IANA time zone such as Europe/Berlin")
		}
	}
	if p.AnchorDay != 0 {
		if p.Algorithm != Calendar || p.Period.calendar() && p.Period != Month {
			v.fault("anchor_day", FaultNotAllowed, "is allowed only for calendar with period month")
		} else {
			v.bounds("anchor_day", int64(p.AnchorDay), 1, 31)
		}
	}
}
