package client

import (
	"context"
	"iter"
	"time"
)

// Bounds of the requests of [Client.Events]: the longest wait and the largest page
// that the API allows.
const (
	eventWait  = "30s"
	eventLimit = 100
	// emptyPause is the pause after a response without events. One comes after a wait
	// of 30 seconds, or at once from a server that is shutting down.
	emptyPause = time.Second
)

// Events returns what happens to an order after a cursor, and waits for more, by long
// polling. With an empty order it is what happens to all orders of the key's owner;
// an empty cursor is the start. It goes on until the loop ends, ctx ends or a request
// fails; the last pair has the error. To resume, call it with the cursor of the last
// event.
//
// If the events after the cursor aren't kept any more, the error is a [*Problem] of
// status 410: its Order is the order as it is now, without one list the orders, and
// its NextCursor is where to resume.
func (c *Client) Events(ctx context.Context, order, cursor string) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			began := time.Now()
			page, err := c.events(ctx, order, cursor)
			if err != nil {
				yield(Event{}, err)
				return
			}
			for i := range page.Data {
				if !yield(page.Data[i], nil) {
					return
				}
			}
			cursor = page.NextCursor
			if len(page.Data) > 0 || time.Since(began) >= emptyPause {
				continue
			}
			if err := sleep(ctx, emptyPause); err != nil {
				yield(Event{}, err)
				return
			}
		}
	}
}

func (c *Client) events(ctx context.Context, order, cursor string) (*EventPage, error) {
	params := ListEventsParams{After: &cursor, Limit: new(int64(eventLimit)), Wait: new(eventWait)}
	if order == "" {
		return c.ListEvents(ctx, &params)
	}
	return c.ListOrderEvents(ctx, order, (*ListOrderEventsParams)(&params))
}
