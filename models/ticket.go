package models

import "time"

// Ticket opens one WebSocket in place of an API key.
type Ticket struct {
	Ticket    string    `json:"ticket" example:"tkt_4CLHASCY3OD6DWBAZZHK43Y66R"` // ticket, for the query parameter ticket; it can be used once
	ExpiresAt time.Time `json:"expires_at" example:"2026-01-15T09:30:30Z"`       // when it can't be used any more
}
