package queuetest

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/queue"
)

// Faults that the processes of a proof can have, and that it must catch.
const (
	PublishAfterCommit = "publish after commit"      // of the publisher
	NoInbox            = "no inbox"                  // of the table
	AckBeforeOutcome   = "ack before outcome"        // of a transport, as the following
	ConfirmNotAwaited  = "confirmation not awaited"  // the job is completed when the message is sent
	RedeliveredDropped = "redelivered messages lost" // a second delivery is taken for done
)

// BrokerWorker returns the NewWorker of a transport.
func BrokerWorker(open func(address, prefix string) (queue.Transport, error)) NewWorker {
	return func(q *queue.Queue, _ *pgxpool.Pool, handlers queue.Handlers, cfg queue.Config, fault, address, prefix string) (*queue.Worker, error) {
		transport, err := open(address, prefix)
		if err != nil {
			return nil, err
		}
		cfg.Transport = &faulty{transport, fault}
		return queue.NewWorker(q, handlers, cfg)
	}
}

// faulty is a transport with a fault.
type faulty struct {
	queue.Transport
	fault string
}

func (f *faulty) Publish(ctx context.Context, group string, m queue.Outgoing) error {
	if f.fault == ConfirmNotAwaited {
		go func() { _ = f.Transport.Publish(context.WithoutCancel(ctx), group, m) }()
		return nil
	}
	return f.Transport.Publish(ctx, group, m)
}

func (f *faulty) Consume(ctx context.Context, group string, parallel int, receive func(queue.Incoming) error) error {
	return f.Transport.Consume(ctx, group, parallel, func(in queue.Incoming) error {
		switch {
		case f.fault == AckBeforeOutcome:
			go func() {
				time.Sleep(20 * time.Millisecond) // it isn't begun at once
				_ = receive(in)
			}()
			return nil
		case f.fault == RedeliveredDropped && in.Redelivered:
			return nil
		}
		return receive(in)
	})
}
