package models

import "time"

// Route is one line of the route table, as usage is counted by it.
type Route struct {
	Name  string // "GET /v1/products/{id}"
	Group Scope
	Cost  int64 // units that a call costs; 0: it stands in neither usage nor refusals
}

// UsageQuery says which part of a key's history is asked for.
type UsageQuery struct {
	From, To time.Time   // whole buckets that overlap [From, To)
	Bucket   UsageBucket // how wide each is
	Group    string      // only routes of this group; empty: all
	Policy   string      // count as refused what this policy refused, or in shadow mode would have; empty: what was refused
}

// UsageBucket is how wide the buckets of a history are; they begin at whole
// ones in UTC.
type UsageBucket string

// The buckets.
const (
	BucketMinute UsageBucket = "minute"
	BucketHour   UsageBucket = "hour"
	BucketDay    UsageBucket = "day"
)

// Duration is how wide the bucket is.
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

// Usage is what a key has used in one bucket. Cost is in units: refused
// requests and those that ended with a 5xx have none.
type Usage struct {
	Start    time.Time `json:"start" example:"2026-01-15T09:00:00Z"` // when the bucket begins
	Requests int64     `json:"requests" minimum:"0" example:"120"`   // allowed and refused
	Allowed  int64     `json:"allowed" minimum:"0" example:"100"`    // those that passed
	Refused  int64     `json:"refused" minimum:"0" example:"20"`     // those that got 429
	Cost     int64     `json:"cost" minimum:"0" example:"140"`       // units charged
}

// RefusalQuery says which of a key's refusals are asked for.
type RefusalQuery struct {
	RequestID string // empty: all
	After     *Position
	Limit     int
}

// Refusal is a request that a policy refused, or in shadow mode would have.
type Refusal struct {
	ID        string // its place among those of one instant
	RequestID string
	At        time.Time
	Route     string
	Violated  []string // the enforced policies that refused; empty where only shadow ones would have
	Limits    []byte   // JSON: the Limits shape of every policy that applied, as it stood then
}

// Simulation is what other policies would have done with what a key sent.
type Simulation struct {
	Requests       int64 // in all, those included that were refused when they were sent
	WouldRefuse    int64
	FirstRefusalAt *time.Time       // nil: none
	ByPolicy       map[string]int64 // how many each refuses; shadow policies too, which refuse none of WouldRefuse
	Timeline       []SimulatedUsage // the buckets with requests
}

// SimulatedUsage is one bucket of a simulation's timeline.
type SimulatedUsage struct {
	Start       time.Time `json:"start" example:"2026-01-15T09:00:00Z"`  // when the bucket begins
	Requests    int64     `json:"requests" minimum:"0" example:"120"`    // how many came
	WouldRefuse int64     `json:"would_refuse" minimum:"0" example:"12"` // how many of them would have been refused
}
