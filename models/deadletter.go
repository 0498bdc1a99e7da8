package models

import (
	"encoding/json"
	"time"
)

// DeadLetter is a message that was set aside: its attempts are used up, or no
// retry can help. Email addresses and payment tokens are masked.
type DeadLetter struct {
	ID       string            `json:"id" example:"4711"`                      // id
	Topic    string            `json:"topic" example:"order.placed"`           // topic of the message; empty: the message can't be decoded
	Group    string            `json:"group" example:"payment"`                // group whose handler failed
	Payload  json.RawMessage   `json:"payload" swaggertype:"object"`           // payload, with email addresses and payment tokens masked; one that is no object is its member value
	Reason   string            `json:"reason" example:"payment gateway: 503"`  // last error
	Attempts int               `json:"attempts" minimum:"0" example:"8"`       // deliveries since the message was published or redriven
	History  []DeliveryFailure `json:"history"`                                // failures, the oldest first, including those before a redrive
	DeadAt   time.Time         `json:"dead_at" example:"2026-01-15T09:30:00Z"` // when the message was set aside
}

// DeliveryFailure is one failed delivery of a message.
type DeliveryFailure struct {
	At    time.Time `json:"at" example:"2026-01-15T09:30:00Z"`    // when the delivery failed
	Error string    `json:"error" example:"payment gateway: 503"` // error, without secrets
}

// DeadLetterFilter selects dead letters. An empty field selects all.
type DeadLetterFilter struct {
	Group, Topic string
	Reason       string // a part of the reason, in any case of letters
}

// QueueGroup is the state of one group of the queue.
type QueueGroup struct {
	Group     string  `json:"group" example:"payment"`               // name of the group
	Ready     int64   `json:"ready" minimum:"0" example:"3"`         // messages whose time has come, in Postgres or in the message broker
	Delayed   int64   `json:"delayed" minimum:"0" example:"1"`       // messages that wait for their next attempt
	InFlight  int64   `json:"in_flight" minimum:"0" example:"2"`     // messages in a delivery
	Dead      int64   `json:"dead" minimum:"0" example:"0"`          // dead letters
	OldestAge float64 `json:"oldest_age" minimum:"0" example:"0.25"` // seconds since the time of the oldest ready message came; 0: none is ready
	Paused    bool    `json:"paused" example:"false"`                // whether no delivery starts
}
