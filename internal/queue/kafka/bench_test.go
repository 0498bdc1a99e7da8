package kafka

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"ratelimiter/internal/queue"
	"ratelimiter/internal/testkit"
)

// BenchmarkTransport measures messages per second, published by 50 at once as an
// instance does, and received by 10 at once, at no cost and at 5 ms each.
func BenchmarkTransport(b *testing.B) {
	server := testkit.Kafka(b, minSession)
	for range b.N {
		for _, cost := range []time.Duration{0, 5 * time.Millisecond} {
			transport, err := newTransport(server.Address(), "bench"+cost.String())
			if err != nil {
				b.Fatal(err)
			}
			if err := transport.Prepare(b.Context(), []string{group}); err != nil {
				b.Fatal(err)
			}
			const messages = 5000
			began := time.Now()
			publishers, ctx := errgroup.WithContext(b.Context())
			publishers.SetLimit(50)
			for i := range messages {
				publishers.Go(func() error {
					return transport.Publish(ctx, group, queue.Outgoing{ID: strconv.Itoa(i), Key: strconv.Itoa(i), Body: make([]byte, 400)})
				})
			}
			if err := publishers.Wait(); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(messages/time.Since(began).Seconds(), "published/s")
			ctx, stop := context.WithCancel(b.Context())
			var received atomic.Int32
			var first atomic.Pointer[time.Time]
			err = transport.Consume(ctx, group, 10, func(queue.Incoming) error {
				now := time.Now()
				first.CompareAndSwap(nil, &now)
				time.Sleep(cost)
				if received.Add(1) == messages {
					b.ReportMetric(messages/time.Since(*first.Load()).Seconds(), "received-"+cost.String()+"/s")
					stop()
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
			stop()
			transport.Close()
		}
	}
}
