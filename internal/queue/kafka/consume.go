package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ratelimiter/internal/queue"
)

const (
	// sessionTimeout is how long the partitions of an instance that died stay its own.
	// It has three heartbeats.
	sessionTimeout = 9 * time.Second
	// rebalanceTimeout is how long an instance has to give up partitions: longer than
	// a delivery takes.
	rebalanceTimeout = 15 * time.Second
	// fetchWait is how long a broker waits for messages. A partition that was paused
	// isn't fetched before the request that doesn't contain it has ended.
	fetchWait = 500 * time.Millisecond
	// fetchBytes and fetchPartitionBytes bound what a broker sends at once; a larger
	// batch comes alone.
	fetchBytes          = 1 << 20
	fetchPartitionBytes = 64 << 10
	// stopTimeout bounds the last acknowledgements.
	stopTimeout = 5 * time.Second
	// leaveTimeout bounds leaving the group. Without it, the partitions are free after
	// sessionTimeout.
	leaveTimeout = 2 * time.Second
)

// consumer is one call of Consume: a member of the consumer group.
type consumer struct {
	receive   func(queue.Incoming) error
	log       *slog.Logger
	client    *kgo.Client
	positions *positions
	slots     chan struct{} // as many as messages may be received at once

	ctx  context.Context // done: no more messages are taken
	fail context.CancelCauseFunc

	workers    sync.WaitGroup // of all partitions
	mu         sync.Mutex
	partitions map[int32]*partition
	begun      map[int32]bool // assigned partitions whose first message may have been received before
}

// Consume implements queue.Transport.
func (t *Transport) Consume(ctx context.Context, group string, parallel int, receive func(queue.Incoming) error) error {
	c := &consumer{
		receive: receive, log: t.log, slots: make(chan struct{}, parallel),
		partitions: map[int32]*partition{}, begun: map[int32]bool{},
	}
	c.ctx, c.fail = context.WithCancelCause(ctx)
	defer c.fail(nil)
	topic := t.topic(group)
	client, err := t.newClient(
		kgo.ConsumerGroup(topic), kgo.ConsumeTopics(topic),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.SessionTimeout(t.session), kgo.HeartbeatInterval(t.session/3), kgo.RebalanceTimeout(rebalanceTimeout),
		kgo.FetchMaxWait(fetchWait), kgo.FetchMaxBytes(fetchBytes), kgo.FetchMaxPartitionBytes(fetchPartitionBytes),
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.OnOffsetsFetched(c.assigned), kgo.OnPartitionsRevoked(c.giveUp), kgo.OnPartitionsLost(c.giveUp),
	)
	if err != nil {
		return err
	}
	c.client, c.positions = client, newPositions(client, topic)
	err = c.poll()
	c.fail(err)
	c.finish()
	if ctx.Err() != nil {
		return nil
	}
	return t.explain(fmt.Errorf("consume %s: %w", topic, err))
}

// poll hands messages to their partitions until it fails.
func (c *consumer) poll() error {
	for {
		fetches := c.client.PollFetches(c.ctx)
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			if len(f.Records) > 0 {
				c.partition(f.Partition).add(f.Records)
			}
		})
		c.client.AllowRebalance()
		if c.ctx.Err() != nil {
			return context.Cause(c.ctx)
		}
		for _, e := range fetches.Errors() {
			if _, lost := errors.AsType[*kgo.ErrDataLoss](e.Err); !lost {
				return e.Err
			}
			c.log.Error("queue: Kafka has lost messages", slog.String("error", e.Err.Error()))
		}
	}
}

// partition returns the worker of a partition.
func (c *consumer) partition(number int32) *partition {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.partitions[number]
	if p == nil {
		p = newPartition(c, number, c.begun[number])
		c.partitions[number] = p
		c.workers.Go(p.run)
	}
	return p
}

// assigned notes the positions of new partitions, before their messages come.
func (c *consumer) assigned(_ context.Context, _ *kgo.Client, fetched *kmsg.OffsetFetchResponse) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, group := range fetched.Groups {
		for _, topic := range group.Topics { // there is one
			for _, p := range topic.Partitions {
				c.begun[p.Partition] = p.Metadata != nil && *p.Metadata == begun
			}
		}
	}
	return nil
}

// giveUp ends the workers of partitions that another instance gets. Those finish the
// message that they have begun.
func (c *consumer) giveUp(_ context.Context, _ *kgo.Client, revoked map[string][]int32) {
	var ending []*partition
	c.mu.Lock()
	for _, numbers := range revoked { // of the one topic
		for _, number := range numbers {
			if p := c.partitions[number]; p != nil {
				ending = append(ending, p)
				delete(c.partitions, number)
			}
		}
	}
	c.mu.Unlock()
	for _, p := range ending {
		p.end()
	}
	for _, p := range ending {
		<-p.ended
	}
}

// finish waits for what has begun, and leaves the group.
func (c *consumer) finish() {
	timer := time.AfterFunc(stopTimeout, c.positions.giveUp)
	c.workers.Wait()
	timer.Stop()
	c.positions.close()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), leaveTimeout)
	defer cancel()
	_ = c.client.LeaveGroupContext(ctx)
	c.client.Close()
}
