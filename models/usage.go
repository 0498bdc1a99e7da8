package models

import "time"

// Route is a route of the API, as usage is counted by it.
type Route struct {
	Name  string // "GET /v1/products/{id}"
	Group Scope
	Cost  int64 // units per call; 0: recorded in neither usage nor refusals
}

// UsageQuery selects a part of a key's history.
type UsageQuery struct {
	From, To time.Time   // whole buckets that overlap [From, To)
	Bucket   UsageBucket // width of each
	Group    string      // only routes of this group; empty: all
	Policy   string      // count as refused what this policy refused or, in shadow mode, would have refused; empty: all refusals
}

// UsageBucket is the width of the buckets of a history, which are aligned to
// UTC.
type UsageBucket string

// The bucket widths.
const (
	BucketMinute UsageBucket = "minute" // begins with a minute
	BucketHour   UsageBucket = "hour"   // begins with an hour
	BucketDay    UsageBucket = "day"    // begins at midnight UTC
)

// Duration returns the bucket's width.
func (b UsageBucket) Duration() time.Duration {
	switch b {
	case BucketMinute:
		return time.Minute
	case BucketHour:
		return time.Hour
	default:
		return 24 * time.Hour
	}
}

// Usage is the usage of a key in one bucket. Refused requests and those that
// ended with a 5xx cost nothing.
type Usage struct {
	Start    time.Time `json:"start" example:"2026-01-15T09:00:00Z"` // when the bucket begins
	Requests int64     `json:"requests" minimum:"0" example:"120"`   // allowed and refused requests
	Allowed  int64     `json:"allowed" minimum:"0" example:"100"`    // requests that were allowed
	Refused  int64     `json:"refused" minimum:"0" example:"20"`     // requests that got 429
	Cost     int64     `json:"cost" minimum:"0" example:"140"`       // units charged
}

// RefusalQuery selects refusals of a key.
type RefusalQuery struct {
	RequestID string // empty: all
	After     *Position
	Limit     int
}

// Refusal is a request that a policy refused or, in shadow mode, would have
// refused.
type Refusal struct {
	ID        string // unique within one instant
	RequestID string
	At        time.Time
	Route     string
	Violated  []string // the enforced policies that refused; empty where only shadow ones would have
	Limits    []byte   // JSON: the Limits shape of every policy that applied, at that time
}

// Simulation is the result of replaying a key's requests against other
// policies.
type Simulation struct {
	Requests       int64 // all, including those that were refused when they were sent
	WouldRefuse    int64
	FirstRefusalAt *time.Time       // nil: none
	ByPolicy       map[string]int64 // refusals by policy, also of shadow policies, which don't add to WouldRefuse
	Timeline       []SimulatedUsage // the buckets with requests
}

// SimulatedUsage is one bucket of a simulation's timeline.
type SimulatedUsage struct {
	Start       time.Time `json:"start" example:"2026-01-15T09:00:00Z"`  // when the bucket begins
	Requests    int64     `json:"requests" minimum:"0" example:"120"`    // replayed requests
	WouldRefuse int64     `json:"would_refuse" minimum:"0" example:"12"` // requests that would have been refused
}
