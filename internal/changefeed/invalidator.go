// Package changefeed carries changes of keys, plans, products and the enforcement
// mode to every instance: through a log in Postgres that every instance reads, and
// through notifications that make it read at once. It also knows which caches a
// change invalidates.
package changefeed

import (
	"context"

	"ratelimiter/models"
)

// Subscriber caches values that depend on keys, plans or products.
type Subscriber interface {
	// Invalidate drops what depends on the changed thing; events of other kinds
	// are ignored.
	Invalidate(event models.ChangeEvent)
	// InvalidateAll drops everything.
	InvalidateAll()
}

// Invalidator is the models.Invalidator of an instance: it invalidates the
// instance's own caches before it returns, and has the other instances notified.
type Invalidator struct {
	subscribers []Subscriber
	publisher   *Publisher
}

var _ models.Invalidator = (*Invalidator)(nil)

// NewInvalidator returns an Invalidator of these caches.
func NewInvalidator(publisher *Publisher, subscribers ...Subscriber) *Invalidator {
	return &Invalidator{subscribers: subscribers, publisher: publisher}
}

// Invalidate invalidates the caches and has the event's change published.
func (i *Invalidator) Invalidate(_ context.Context, event models.ChangeEvent) {
	for _, s := range i.subscribers {
		s.Invalidate(event)
	}
	i.publisher.Publish()
}

// NoCaches is the models.Invalidator of processes without caches, such as the
// command line. They call Nudge after their last change.
type NoCaches struct{}

// Invalidate does nothing.
func (NoCaches) Invalidate(context.Context, models.ChangeEvent) {}
