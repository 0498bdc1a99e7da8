package queue

import (
	"context"
	"time"
)

// SetUnknown sets how long messages of unknown topics wait.
func (w *Worker) SetUnknown(delay, limit time.Duration) {
	w.dispatcher.unknownDelay, w.dispatcher.unknownLimit = delay, limit
}

// ReasonOf returns an error as it is recorded.
func ReasonOf(err error) string { return reasonOf(err) }

// WrapDeliver puts fn around the deliveries of jobs and of brokers.
func (w *Worker) WrapDeliver(fn func(ctx context.Context, d Delivery, deliver func(context.Context, Delivery) error) error) {
	deliver := w.deliver
	w.deliver = func(ctx context.Context, d Delivery) error { return fn(ctx, d, deliver) }
}
