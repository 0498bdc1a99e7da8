package sqs

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"golang.org/x/sync/semaphore"

	"ratelimiter/internal/queue"
)

const (
	// longPoll is how long a call waits for messages: the longest that SQS allows, so
	// that an empty queue costs three calls a minute.
	longPoll = 20 * time.Second
	// maxBatch is the most messages that SQS returns at once.
	maxBatch = 10
	// visibility is how long SQS waits for the acknowledgement of a message before it
	// delivers it again. It is extended every heartbeat while the message is received,
	// until SQS refuses after 12 hours; the relay holds a message for minutes.
	visibility = 30 * time.Second
	heartbeat  = 10 * time.Second
	// lastPoll is how long a call that waits for messages may go on after the stop.
	// An interrupted call may have taken messages, which would be delivered 30 s
	// later, as Redelivered. Where messages wait, a call returns much sooner.
	lastPoll = time.Second
)

// Consume implements queue.Transport. It takes only as many messages as it can
// receive at once.
func (t *Transport) Consume(ctx context.Context, group string, parallel int, receive func(queue.Incoming) error) error {
	address, err := t.address(ctx, group)
	if err != nil {
		return t.explain(err)
	}
	c := &consumer{Transport: t, address: address, receive: receive}
	var running sync.WaitGroup
	defer running.Wait()
	free := semaphore.NewWeighted(int64(parallel))
	for {
		n := acquire(ctx, free)
		if n == 0 {
			return nil
		}
		taken, err := c.take(ctx, n)
		if err != nil && ctx.Err() == nil {
			return t.explain(err)
		}
		free.Release(int64(n - len(taken)))
		for _, m := range taken {
			running.Go(func() {
				defer free.Release(1)
				c.handle(m)
			})
		}
	}
}

// acquire waits until a message can be received, and returns how many can be, or 0
// when ctx is done.
func acquire(ctx context.Context, free *semaphore.Weighted) int {
	if free.Acquire(ctx, 1) != nil || ctx.Err() != nil {
		return 0
	}
	n := 1
	for n < maxBatch && free.TryAcquire(1) {
		n++
	}
	return n
}

// consumer receives the messages of one queue.
type consumer struct {
	*Transport

	address string
	receive func(queue.Incoming) error
}

// take waits for up to n messages. When ctx is done, it goes on for lastPoll.
func (c *consumer) take(ctx context.Context, n int) ([]types.Message, error) {
	polling, cancel := context.WithTimeout(context.WithoutCancel(ctx), longPoll+callTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastPoll, cancel) })()
	out, err := c.client.ReceiveMessage(polling, &awssqs.ReceiveMessageInput{
		QueueUrl: &c.address, MaxNumberOfMessages: int32(n), WaitTimeSeconds: int32(longPoll / time.Second),
		VisibilityTimeout:           int32(visibility / time.Second),
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameApproximateReceiveCount},
	})
	if err != nil {
		return nil, err
	}
	return out.Messages, nil
}

// handle receives a message and acknowledges it, or makes it visible again.
func (c *consumer) handle(m types.Message) {
	stop := c.extend(m)
	err := c.receive(queue.Incoming{Body: []byte(aws.ToString(m.Body)), Redelivered: m.Attributes[receiveCount] != "1"})
	stop()
	if err == nil {
		err = c.acknowledge(m)
	} else {
		err = c.setVisibility(context.Background(), m, 0)
	}
	if err != nil {
		c.log.Warn("sqs: the end of a delivery can't be reported, so the message is delivered again", slog.String("error", c.explain(err).Error()))
	}
}

const receiveCount = string(types.MessageSystemAttributeNameApproximateReceiveCount)

// extend keeps a message invisible to others until the returned function has
// returned.
func (c *consumer) extend(m types.Message) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var extending sync.WaitGroup
	extending.Go(func() {
		ticker := time.NewTicker(heartbeat)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if err := c.setVisibility(ctx, m, visibility); err != nil && ctx.Err() == nil {
					c.log.Warn("sqs: a message in delivery can't be extended", slog.String("error", c.explain(err).Error()))
				}
			}
		}
	})
	return func() { cancel(); extending.Wait() }
}

// setVisibility makes a message visible again after d.
func (c *consumer) setVisibility(ctx context.Context, m types.Message, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := c.client.ChangeMessageVisibility(ctx, &awssqs.ChangeMessageVisibilityInput{
		QueueUrl: &c.address, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: int32(d / time.Second),
	})
	return err
}

// acknowledge deletes a message, also when the consumer stops.
func (c *consumer) acknowledge(m types.Message) error {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	_, err := c.client.DeleteMessage(ctx, &awssqs.DeleteMessageInput{QueueUrl: &c.address, ReceiptHandle: m.ReceiptHandle})
	return err
}
