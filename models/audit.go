package models

import (
	"encoding/json"
	"time"
)

// AuditEntry is one recorded change, with the state before and after it,
// without secrets.
type AuditEntry struct {
	ID        string          `json:"id" example:"4711"`                                   // id, which increases with time
	At        time.Time       `json:"at" example:"2026-01-15T09:30:00Z"`                   // when the change was made
	Actor     string          `json:"actor" example:"3mBz8VqKt1Wd"`                        // id of the key that made the change; cli for the command line
	Action    string          `json:"action" example:"key.revoke"`                         // action, as noun.verb
	Target    string          `json:"target" example:"9Kx2mV4tQaLp"`                       // id of the key, product or dead letter, or name of the plan or queue; all: dead letters that matched a filter
	Before    json.RawMessage `json:"before" swaggertype:"object" extensions:"x-nullable"` // state before the change; null if it did not exist
	After     json.RawMessage `json:"after" swaggertype:"object" extensions:"x-nullable"`  // state after the change; null if it was deleted
	IP        *string         `json:"ip" example:"203.0.113.7"`                            // address of the client; null if the change was not made over HTTP
	RequestID *string         `json:"request_id" example:"req_V1StGXR8Z5jdHi6B"`           // id of the request; null if the change was not made over HTTP
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
