package ratelimit

// Bounds of a policy, enforced by [Validate]. They keep every product within
// 128 bits and every time within an int64 of nanoseconds.
const (
	// MaxLimit is the largest limit and the largest burst, in units.
	MaxLimit = 1_000_000_000_000
	// MaxCost is the largest cost of one request, in units.
	MaxCost = 1_000_000
	// MaxLogLimit is the largest limit of a sliding_log, which stores 16 bytes
	// for each admitted request.
	MaxLogLimit = 10_000
	// MaxPolicies is the largest number of policies in a quota.
	MaxPolicies = 16
)

// Policy is one named rule of a plan.
//
// The zero value of an optional field selects its default. Defaults are
// resolved when a quota is compiled, so a policy is stored as it was written.
type Policy struct {
	// Name of the policy, unique in its list. It also identifies the counter.
	Name string `json:"name" validate:"required" minLength:"1" maxLength:"32" pattern:"^[a-z0-9][a-z0-9_-]{0,31}$" example:"minute"`
	// Algorithm that counts the units.
	Algorithm Algorithm `json:"algorithm" validate:"required" example:"sliding_window"`
	// Units allowed per period. For concurrency, the number of requests that
	// may run at once. At most 10,000 for sliding_log.
	Limit int64 `json:"limit" validate:"required" minimum:"1" maximum:"1000000000000" example:"300"`
	// Time that the limit refers to: an integer with ms, s, m, h or d, from 1ms
	// to 366d. For calendar: day, week or month. Not allowed for concurrency.
	Period Period `json:"period,omitempty" swaggertype:"string" pattern:"^([1-9][0-9]*(ms|s|m|h|d)|day|week|month)$" example:"1m"`
	// Capacity of a token_bucket, in units. Defaults to the limit.
	Burst int64 `json:"burst,omitempty" minimum:"1" maximum:"1000000000000"`
	// Longest time that a leaky_bucket queues a request. Defaults to 1s.
	MaxWait Period `json:"max_wait,omitempty" swaggertype:"string" pattern:"^[1-9][0-9]*(ms|s|m|h|d)$"`
	// Time after which a concurrency slot expires unless it is renewed.
	// Defaults to 60s.
	Hold Period `json:"hold,omitempty" swaggertype:"string" pattern:"^[1-9][0-9]*(ms|s|m|h|d)$"`
	// IANA time zone of a calendar period. Defaults to UTC.
	TimeZone string `json:"time_zone,omitempty" minLength:"1"`
	// Day on which a calendar month begins; the last day of shorter months.
	// Defaults to 1.
	AnchorDay int `json:"anchor_day,omitempty" minimum:"1" maximum:"31"`
	// Route group that the policy applies to. Defaults to all routes.
	Group string `json:"group,omitempty" minLength:"1"`
	// Subject whose counter is spent. Defaults to key.
	Per Per `json:"per,omitempty"`
	// Outcomes that are charged. Defaults to successes for calendar, to
	// requests for the other algorithms.
	Charge Charge `json:"charge,omitempty"`
	// Whether requests over the limit are refused. Defaults to enforce.
	Mode Mode `json:"mode,omitempty"`
	// How several instances that share a Redis share the counter: exact counts every
	// request there. Defaults to auto, which is exact; leased isn't available yet.
	//
	// Stores that serve one process ignore it.
	Sharing Sharing `json:"sharing,omitempty"`
}

// Algorithm names a rate limiting algorithm.
//
// The file with the algorithm's name implements it.
type Algorithm string

// Algorithms.
const (
	// TokenBucket refills at limit ÷ period and holds up to burst units: bursts
	// are admitted, with an even rate behind them.
	TokenBucket Algorithm = "token_bucket"
	// LeakyBucket admits one unit each period ÷ limit. Earlier requests wait for
	// their turn up to max_wait, then they are refused.
	LeakyBucket Algorithm = "leaky_bucket"
	// FixedWindow admits up to limit units in each period of the clock. Around
	// the end of a window, up to twice the limit can pass in one period.
	FixedWindow Algorithm = "fixed_window"
	// SlidingWindow admits about limit units in any period, at a small constant
	// cost of memory. Limits up to 32 are counted exactly.
	SlidingWindow Algorithm = "sliding_window"
	// SlidingLog admits exactly up to limit units in any period, and remembers
	// each of them: limit is at most 10,000.
	SlidingLog Algorithm = "sliding_log"
	// Calendar admits up to limit units in a day, week or month of a time zone.
	// Its counter is durable and shared by all instances.
	Calendar Algorithm = "calendar"
	// Concurrency admits up to limit requests at the same time.
	Concurrency Algorithm = "concurrency"
)

// Per is the kind of subject whose counter a policy spends.
type Per string

// Subjects of counters.
const (
	// PerKey spends the counter of the key, which it shares only with the keys
	// that it was rotated from or to.
	//
	// It is Subjects.Key.
	PerKey Per = "key"
	// PerOwner spends the counter of the owner, which all keys of the owner share.
	//
	// It is Subjects.Owner.
	PerOwner Per = "owner"
)

// Charge names the outcomes of a request that are charged.
//
// See [Reservation.Settle].
type Charge string

// Charged outcomes.
const (
	// Requests charges every request except those that failed (over HTTP: 5xx).
	Requests Charge = "requests"
	// Successes charges only requests that succeeded (over HTTP: 1xx to 3xx).
	Successes Charge = "successes"
)

// Mode is the enforcement mode of a policy.
type Mode string

// Modes.
const (
	// Enforce refuses requests over the limit.
	Enforce Mode = "enforce"
	// Shadow refuses nothing and reports what it would have done. It is
	// charged only for requests that are admitted and that it would admit.
	Shadow Mode = "shadow"
)

// Sharing is the way in which instances share a counter.
type Sharing string

// Sharing modes.
const (
	// SharingAuto lets the store choose by the policy's rate.
	SharingAuto Sharing = "auto"
	// SharingExact counts every request in the shared store.
	SharingExact Sharing = "exact"
	// SharingLeased lets instances take units from the shared store in leases.
	SharingLeased Sharing = "leased"
)
