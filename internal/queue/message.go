package queue

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Message is one unit of queued work. A publisher sets Topic and Payload, and
// the other fields down to Traceparent as needed; Publish sets the rest. A
// handler must not modify it.
type Message struct {
	// ID identifies the message in every group. Publish sets it if it is empty;
	// messages with the same ID have one effect in each group.
	ID    string `json:"id"`
	Topic string `json:"topic"`
	// Key names what the message is about, such as an order's id.
	Key string `json:"key,omitempty"`
	// Owner is on whose behalf the message is sent. Owners with many waiting
	// messages get a lower priority. "": nobody's.
	Owner string `json:"owner,omitempty"`
	// Version is that of the payload's schema.
	Version int             `json:"version,omitempty"`
	Payload json.RawMessage `json:"payload,omitempty"`
	// Traceparent is the W3C trace context of the publisher.
	Traceparent string `json:"traceparent,omitempty"`

	PublishedAt time.Time `json:"published_at"`
	// Attempt is the number of deliveries so far, in a handler the current one
	// included.
	Attempt int `json:"attempt"`
	// History has the failures of earlier attempts, the oldest first. A redrive
	// keeps them.
	History []Failure `json:"history,omitempty"`
	// UnknownSince is when an instance without a handler for Topic got the
	// message. Zero: none did.
	UnknownSince time.Time `json:"unknown_since,omitzero"`
}

// Failure is one failed attempt.
type Failure struct {
	At    time.Time `json:"at"`
	Error string    `json:"error"` // shortened, without secrets
}

// Decode reads the payload into v. Its error is permanent.
func (m *Message) Decode(v any) error {
	if err := json.Unmarshal(m.Payload, v); err != nil {
		return Permanent(fmt.Errorf("decode the payload of %s, version %d: %w", m.Topic, m.Version, err))
	}
	return nil
}

// maxHistory bounds the failures that are kept, which redrives let grow.
const maxHistory = 64

// failed returns the message after a failed attempt.
func (m Message) failed(at time.Time, reason string) Message {
	m.History = append(slices.Clip(m.History), Failure{At: at.UTC(), Error: reason})
	m.History = m.History[max(0, len(m.History)-maxHistory):]
	return m
}

var idEncoding = base32.HexEncoding.WithPadding(base32.NoPadding)

// newID returns an id with 80 random bits after the time, so that the inbox,
// which is sorted by it, grows at its end.
func newID(now time.Time) string {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:], uint64(now.UnixMilli())<<16)
	_, _ = rand.Read(id[6:]) // it never fails
	return "msg_" + strings.ToLower(idEncoding.EncodeToString(id[:]))
}
