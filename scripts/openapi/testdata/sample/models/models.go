// Package models holds the sample's nouns.
package models

import "time"

// Currency is an ISO 4217 code.
type Currency string

// The currencies that the sample knows.
const (
	EUR Currency = "EUR"
	USD Currency = "USD"
)

// Money is an amount in minor units.
type Money struct {
	Amount   int64    `json:"amount"` // cents
	Currency Currency `json:"currency"`
}

// Product is one thing that the shop sells.
type Product struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Price     Money      `json:"price"`
	OldPrice  *Money     `json:"old_price"`
	Note      *string    `json:"note"`
	Badge     string     `json:"badge,omitempty"`
	Tags      []string   `json:"tags"`
	UpdatedAt time.Time  `json:"updated_at"`
	SoldOutAt *time.Time `json:"sold_out_at"`
	Secret    string     `json:"-"`
}

// Problem is what every error looks like.
type Problem struct {
	Type             string       `json:"type"`
	Title            string       `json:"title"`
	Status           int          `json:"status"`
	Detail           string       `json:"detail,omitempty"`
	Instance         string       `json:"instance,omitempty"`
	RequestID        string       `json:"request_id"`
	Errors           []FieldError `json:"errors,omitempty"`
	ViolatedPolicies []string     `json:"violated-policies,omitempty"`
	RetryAfter       *float64     `json:"retry_after,omitempty"`
}

// FieldError is one fault of the input.
type FieldError struct {
	Location string `json:"location"`
	Pointer  string `json:"pointer"`
	Code     string `json:"code"`
	Message  string `json:"message"`
}

// Scope is what a key may do.
type Scope string

// The scopes of the sample.
const (
	ScopeRead  Scope = "products:read"
	ScopeWrite Scope = "products:write"
)
