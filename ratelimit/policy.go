package ratelimit

// The bounds of a policy. Together they keep every sum inside 128 bits and
// every time inside an int64 of nanoseconds: see [Validate].
const (
	// MaxLimit is the largest limit or burst, in units.
	MaxLimit = 1_000_000_000_000
	// MaxCost is the largest cost of one request, in units.
	MaxCost = 1_000_000
	// MaxLogLimit is the largest limit of a sliding_log, which remembers
	// every admitted request: 16 bytes each.
	MaxLogLimit = 10_000
	// MaxPolicies is the largest number of policies in one quota.
	MaxPolicies = 16
)

// Policy is one named rule of a plan.
//
// The zero value of an optional field
// stands for its default; defaults are resolved when a quota is compiled, so
// that a policy is stored as it was written.
type Policy struct {
	// The policy's name in its list, and with the subject its counter's.
	Name string `json:"name" validate:"required" minLength:"1" maxLength:"32" pattern:"^[a-z0-9][a-z0-9_-]{0,31}$" example:"minute"`
	// How units are counted.
	Algorithm Algorithm `json:"algorithm" validate:"required" example:"sliding_window"`
	// How many units a period allows; for concurrency, how many requests may
	// run at once; for sliding_log at most 10,000.
	Limit int64 `json:"limit" validate:"required" minimum:"1" maximum:"1000000000000" example:"300"`
	// The time that the limit refers to, from 1ms to 366d; day, week or month
	// for calendar; none for concurrency.
	Period Period `json:"period,omitempty" swaggertype:"string" pattern:"^([1-9][0-9]*(ms|s|m|h|d)|day|week|month)$" example:"1m"`
	// The capacity of a token_bucket, in units; by default the limit.
	Burst int64 `json:"burst,omitempty" minimum:"1" maximum:"1000000000000"`
	// The longest queueing of a leaky_bucket; by default 1s.
	MaxWait Period `json:"max_wait,omitempty" swaggertype:"string" pattern:"^[1-9][0-9]*(ms|s|m|h|d)$"`
	// How long a holder of a concurrency slot lives unless it is renewed; by
	// default 60s.
	Hold Period `json:"hold,omitempty" swaggertype:"string" pattern:"^[1-9][0-9]*(ms|s|m|h|d)$"`
	// The IANA time zone of a calendar period; by default UTC.
	TimeZone string `json:"time_zone,omitempty" minLength:"1"`
	// The day of the month on which a calendar month begins; in shorter months
	// it is their last day; by default 1.
	AnchorDay int `json:"anchor_day,omitempty" minimum:"1" maximum:"31"`
	// Only routes of this group count; by default all do.
	Group string `json:"group,omitempty" minLength:"1"`
	// Whose counter is spent; by default the key's.
	Per Per `json:"per,omitempty"`
	// Which outcomes cost; by default requests, for calendar successes.
	Charge Charge `json:"charge,omitempty"`
	// Whether the policy refuses; by default enforce.
	Mode Mode `json:"mode,omitempty"`
	// How several instances share the counter; by default auto.
	//
	// A store of one process has no use for it.
	Sharing Sharing `json:"sharing,omitempty"`
}

// Algorithm names a way of counting.
//
// Each has a file of its own name.
type Algorithm string

// The algorithms.
const (
	TokenBucket   Algorithm = "token_bucket"
	LeakyBucket   Algorithm = "leaky_bucket"
	FixedWindow   Algorithm = "fixed_window"
	SlidingWindow Algorithm = "sliding_window"
	SlidingLog    Algorithm = "sliding_log"
	Calendar      Algorithm = "calendar"
	Concurrency   Algorithm = "concurrency"
)

// Per says whose counter a policy spends.
type Per string

// The owners of counters.
const (
	// PerKey counts for Subjects.Key.
	PerKey Per = "key"
	// PerOwner counts for Subjects.Owner: all keys of an owner share it.
	PerOwner Per = "owner"
)

// Charge says which outcomes of a request cost.
//
// See [Reservation.Settle].
type Charge string

// What is charged.
const (
	// Requests charges every request but those that Failed.
	Requests Charge = "requests"
	// Successes charges what Succeeded only.
	Successes Charge = "successes"
)

// Mode says whether a policy refuses.
type Mode string

// The modes.
const (
	// Enforce refuses what is over the limit.
	Enforce Mode = "enforce"
	// Shadow counts what it would have done and refuses nothing. It is
	// charged only for requests that are admitted and that it would admit.
	Shadow Mode = "shadow"
)

// Sharing says how a shared store may spread a counter over instances.
type Sharing string

// The ways of sharing.
const (
	SharingAuto   Sharing = "auto"
	SharingExact  Sharing = "exact"
	SharingLeased Sharing = "leased"
)
