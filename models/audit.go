package models

import (
	"encoding/json"
	"time"
)

// AuditEntry is one recorded change, with the state before and after it,
// without secrets.
type AuditEntry struct {
	ID        string          `json:"id" example:"4711"`                                   // names the entry; rising with time
	At        time.Time       `json:"at" example:"2026-01-15T09:30:00Z"`                   // when it happened
	Actor     string          `json:"actor" example:"3mBz8VqKt1Wd"`                        // the id of the key that acted; cli for the command line
	Action    string          `json:"action" example:"key.revoke"`                         // what was done, noun.verb
	Target    string          `json:"target" example:"9Kx2mV4tQaLp"`                       // the key's id, or the plan's name
	Before    json.RawMessage `json:"before" swaggertype:"object" extensions:"x-nullable"` // what it was; null when it wasn't there
	After     json.RawMessage `json:"after" swaggertype:"object" extensions:"x-nullable"`  // what it became; null when it is gone
	IP        *string         `json:"ip" example:"203.0.113.7"`                            // from which address; null: not over the network
	RequestID *string         `json:"request_id" example:"req_V1StGXR8Z5jdHi6B"`           // the request that did it; null: not over the network
}

// AuditRecord describes one change for the audit. Before and After are encoded
// as JSON; nil: it didn't exist before, or doesn't any more.
type AuditRecord struct {
	Action        string // noun.verb
	Target        string
	Before, After any
}

// AuditFilter selects audit entries. Empty fields match everything.
type AuditFilter struct {
	Actor, Action, Target string
	From, To              *time.Time // From is included, To is not
}
