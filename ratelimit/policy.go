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

// Policy is one named rule of a plan. The zero value of an optional field
// stands for its default; defaults are resolved when a quota is compiled, so
// that a policy is stored as it was written.
type Policy struct {
	// Name identifies the policy in its list, and with the subject its
	// counter: [a-z0-9][a-z0-9_-]{0,31}.
	Name string `json:"name" validate:"required" minLength:"1" maxLength:"32" example:"minute"`
	// Algorithm decides how units are counted.
	Algorithm Algorithm `json:"algorithm" validate:"required" example:"sliding_window"`
	// Limit is how many units a period allows, 1 to MaxLimit; for
	// concurrency, how many requests may run at once.
	Limit int64 `json:"limit" validate:"required" minimum:"1" example:"300"`
	// Period is the time that Limit refers to; none for concurrency.
	Period Period `json:"period,omitempty" swaggertype:"string" example:"1m"`
	// Burst is token_bucket's capacity in units; default Limit.
	Burst int64 `json:"burst,omitempty"`
	// MaxWait is leaky_bucket's longest queueing; default 1s.
	MaxWait Period `json:"max_wait,omitempty" swaggertype:"string"`
	// Hold is how long a concurrency holder lives unless it is renewed;
	// default 60s.
	Hold Period `json:"hold,omitempty" swaggertype:"string"`
	// TimeZone is the IANA zone of a calendar period; default UTC.
	TimeZone string `json:"time_zone,omitempty"`
	// AnchorDay is the day of the month, 1 to 31, on which a calendar month
	// begins; in shorter months it is their last day; default 1.
	AnchorDay int `json:"anchor_day,omitempty"`
	// Group restricts the policy to the routes of one group; default all.
	Group string `json:"group,omitempty"`
	// Per says whose counter is spent; default PerKey.
	Per Per `json:"per,omitempty"`
	// Charge says which outcomes cost; default Requests, for calendar
	// Successes.
	Charge Charge `json:"charge,omitempty"`
	// Mode says whether the policy refuses; default Enforce.
	Mode Mode `json:"mode,omitempty"`
	// Sharing says how several instances share the counter; default
	// SharingAuto. A store of one process has no use for it.
	Sharing Sharing `json:"sharing,omitempty"`
}

// Algorithm names a way of counting; each has a file of its own name.
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

// Charge says which outcomes of a request cost; see [Reservation.Settle].
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
