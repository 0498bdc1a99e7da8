package models

import "time"

// EventType says what happened to an order.
type EventType string

// The events of an order. Those that lead to further work are also the topics of
// messages.
const (
	EventOrderPlaced       EventType = "order.placed"       // accepted
	EventStockReserved     EventType = "stock.reserved"     // the stock is held for the order
	EventStockRejected     EventType = "stock.rejected"     // there is too little stock
	EventStockReleased     EventType = "stock.released"     // the held stock can be sold again
	EventPaymentAuthorized EventType = "payment.authorized" // the gateway holds the amount
	EventPaymentCaptured   EventType = "payment.captured"   // the gateway has charged the amount
	EventPaymentDeclined   EventType = "payment.declined"   // the gateway refused the payment
	EventPaymentVoided     EventType = "payment.voided"     // the gateway holds the amount no longer
	EventOrderConfirmed    EventType = "order.confirmed"    // stock held and payment captured
	EventOrderCancelled    EventType = "order.cancelled"    // nothing will be delivered or charged
	EventEmailSent         EventType = "email.sent"         // the email about the end of the order was sent; the last event of a confirmed order
)

// AllEventTypes returns all types of events, in the order in which they usually occur.
func AllEventTypes() []EventType {
	return []EventType{
		EventOrderPlaced, EventStockReserved, EventStockRejected, EventStockReleased, EventPaymentAuthorized, EventPaymentCaptured,
		EventPaymentDeclined, EventPaymentVoided, EventOrderConfirmed, EventOrderCancelled, EventEmailSent,
	}
}

// Event is one change of an order.
type Event struct {
	Cursor  string    `json:"cursor" example:"MS4x"`                                                                                                                                                                                        // position after this event, for after
	OrderID string    `json:"order_id" example:"ord_5HqT1bZr8w"`                                                                                                                                                                            // id of the order
	Seq     int64     `json:"seq" minimum:"1" example:"1"`                                                                                                                                                                                  // number of the event in its order, from 1 without gaps
	Type    EventType `json:"type" enums:"order.placed,stock.reserved,stock.rejected,stock.released,payment.authorized,payment.captured,payment.declined,payment.voided,order.confirmed,order.cancelled,email.sent" example:"order.placed"` // what happened
	Data    EventData `json:"data"`                                                                                                                                                                                                         // details, by type
	At      time.Time `json:"at" example:"2026-01-15T09:30:00Z"`                                                                                                                                                                            // when it happened
}

// EventData are the details of an event. Which of them an event has depends on its
// type.
type EventData struct {
	Amount    *Money `json:"amount,omitempty"`                                           // of the order and of payments
	Reason    string `json:"reason,omitempty" example:"out_of_stock"`                    // why the order was cancelled
	MessageID string `json:"message_id,omitempty" example:"<ord_1.confirmed@localhost>"` // of the email, its Message-ID
}

// EventStream is the events of an order, or those of all orders of an owner: its
// feed.
type EventStream struct {
	Owner string
	Order string // id; empty: the owner's feed
}

// EventQuery selects events of a stream.
type EventQuery struct {
	After string      // cursor; empty: the start
	Types []EventType // none: all
	Limit int         // at least 1
}

// EventPage is a part of a stream of events. NextCursor is the position after its
// last event, also when it is empty.
type EventPage struct {
	Data       []Event `json:"data"`                       // events in their order
	NextCursor string  `json:"next_cursor" example:"MS4x"` // position after these events, for after
}

// CursorExpiredError reports a cursor from which a stream can't be continued: events
// after it were deleted, or the database was restored to an earlier state. The
// stream can be followed from NextCursor; what happened before is in Order, or for
// an owner's feed in the list of orders.
type CursorExpiredError struct {
	Order      *Order // as it is now; nil: the stream is an owner's feed
	NextCursor string
}

// Error says that the cursor has expired.
func (*CursorExpiredError) Error() string { return "the cursor has expired" }
