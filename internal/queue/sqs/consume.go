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
	// longPoll is how long a call waits for messages. A stop waits for its end: SQS goes
	// on with a call that its client has given up, and may hand it a message, which
	// would be delivered again after the visibility timeout, as Redelivered. So it is no
	// longer than a stop waits for deliveries, and not the 20 s that SQS allows. An
	// empty queue costs 20 calls a minute.
	longPoll = 3 * time.Second
	// maxBatch is the most messages that SQS returns at once.
	maxBatch = 10
	// visibility is how long SQS waits for the acknowledgement of a message before it
	// delivers it again. While the message is received, it is extended three times as
	// often as needed, until SQS refuses after 12 hours; the relay holds a message for
	// minutes.
	visibility = 30 * time.Second

	receiveCount = types.MessageSystemAttributeNameApproximateReceiveCount
)

// Consume implements queue.Transport. It takes only as many messages as it can
// receive at once.
func (t *Transport) Consume(ctx context.Context, group string, parallel int, receive func(queue.Incoming) error) error {
	finding, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	address, err := t.address(finding, group)
	if err != nil && ctx.Err() == nil {
		return t.explain(err)
	}
	var running sync.WaitGroup
	defer running.Wait()
	free := semaphore.NewWeighted(int64(parallel))
	for free.Acquire(ctx, 1) == nil && ctx.Err() == nil {
		n := 1
		for n < maxBatch && free.TryAcquire(1) {
			n++
		}
		taken, err := t.take(ctx, address, n)
		if err != nil && ctx.Err() == nil {
			return t.explain(err)
		}
		free.Release(int64(n - len(taken)))
		for _, m := range taken {
			running.Go(func() {
				defer free.Release(1)
				t.handle(message{address, m}, receive)
			})
		}
	}
	return nil
}

// message is a message that was taken from a queue.
type message struct {
	address string
	types.Message
}

// take waits for up to n messages, also when ctx is done.
func (t *Transport) take(ctx context.Context, address string, n int) ([]types.Message, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), longPoll+callTimeout)
	defer cancel()
	out, err := t.client.ReceiveMessage(ctx, &awssqs.ReceiveMessageInput{
		QueueUrl: &address, MaxNumberOfMessages: int32(n), WaitTimeSeconds: int32(longPoll.Seconds()),
		VisibilityTimeout: int32(t.visibility.Seconds()), MessageSystemAttributeNames: []types.MessageSystemAttributeName{receiveCount},
	})
	if err != nil {
		return nil, err
	}
	for _, m := range out.Messages {
		if m.Attributes[string(receiveCount)] == "" { // taken for a second delivery, each message would become a dead letter
			return nil, misconfigured("the server doesn't report %s of a message: use Amazon SQS, or a server that does", receiveCount)
		}
	}
	return out.Messages, nil
}

// handle receives a message, and then acknowledges it or makes it visible again.
func (t *Transport) handle(m message, receive func(queue.Incoming) error) {
	stop := t.extend(m)
	err := receive(queue.Incoming{Body: []byte(aws.ToString(m.Body)), Redelivered: m.Attributes[string(receiveCount)] != "1"})
	stop()
	if err == nil {
		err = t.acknowledge(m)
	} else {
		err = t.setVisibility(context.Background(), m, 0)
	}
	if err != nil {
		t.log.Warn("sqs: the end of a delivery can't be reported; the message is delivered again", slog.String("error", t.explain(err).Error()))
	}
}

// extend keeps a message invisible to others until stop has returned.
func (t *Transport) extend(m message) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var extending sync.WaitGroup
	extending.Go(func() {
		ticker := time.NewTicker(t.visibility / 3)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			if err := t.setVisibility(ctx, m, t.visibility); err != nil && ctx.Err() == nil {
				t.log.Warn("sqs: a delivery can't be extended", slog.String("error", t.explain(err).Error()))
			}
		}
	})
	return func() { cancel(); extending.Wait() }
}

// setVisibility makes a message visible again after d.
func (t *Transport) setVisibility(ctx context.Context, m message, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := t.client.ChangeMessageVisibility(ctx, &awssqs.ChangeMessageVisibilityInput{
		QueueUrl: &m.address, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: int32(d.Seconds()),
	})
	return err
}

// acknowledge deletes a message, also when the consumer stops.
func (t *Transport) acknowledge(m message) error {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	_, err := t.client.DeleteMessage(ctx, &awssqs.DeleteMessageInput{QueueUrl: &m.address, ReceiptHandle: m.ReceiptHandle})
	return err
}
