package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"ratelimiter/internal/queue"
)

// settleTime is how long after an acknowledgement a quorum queue may deliver the next
// message that waits. It takes some milliseconds.
const settleTime = 300 * time.Millisecond

// consumer consumes the queues of one group.
type consumer struct {
	channel   *amqp.Channel
	messages  <-chan amqp.Delivery
	dropped   <-chan amqp.Delivery
	closes    <-chan *amqp.Error
	cancelled <-chan string // by the broker, because the queue was deleted

	parallel int
	held     atomic.Int32  // messages that were taken and not acknowledged, without dropped ones
	taken    chan struct{} // has a value after one was taken
	acks     sync.RWMutex  // locked: nothing is acknowledged
}

// Tags of the consumers of a channel.
const (
	messagesTag = "messages"
	droppedTag  = "dropped"
)

// Consume implements queue.Transport. What the broker gave up to deliver is consumed,
// too, as Redelivered.
func (t *Transport) Consume(ctx context.Context, group string, parallel int, receive func(queue.Incoming) error) error {
	err := t.consume(ctx, t.queue(group), parallel, receive)
	if ctx.Err() != nil {
		err = nil // it was to end
	}
	return t.explain(err)
}

func (t *Transport) consume(ctx context.Context, name string, parallel int, receive func(queue.Incoming) error) error {
	conn, err := t.dial(ctx, name+" consumer")
	if err != nil {
		return err
	}
	defer conn.close()
	// After the first delivery, all end in order: calls aren't ended by ctx.
	background := context.WithoutCancel(ctx)
	var c *consumer
	err = conn.call(background, func() error { c, err = subscribe(conn.Connection, name, parallel); return err })
	if err != nil {
		return err
	}
	var workers sync.WaitGroup
	for range parallel {
		workers.Go(func() { c.work(receive) })
	}
	err = c.wait(ctx, name)
	c.acks.Lock()
	if err == nil {
		c.quiesce()
	}
	_ = conn.call(background, c.cancel) // a closed connection ends the deliveries, too
	c.acks.Unlock()
	workers.Wait()
	// The broker has processed all acknowledgements when it answers this.
	_ = conn.call(background, c.channel.Close)
	return err
}

// subscribe begins to consume. As many messages are taken as can be received: the
// others are left to other consumers.
func subscribe(conn *amqp.Connection, name string, parallel int) (*consumer, error) {
	channel, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	c := &consumer{
		channel:   channel,
		closes:    channel.NotifyClose(make(chan *amqp.Error, 1)),
		cancelled: channel.NotifyCancel(make(chan string, 2)),
		parallel:  parallel,
		taken:     make(chan struct{}, 1),
	}
	if err := channel.Qos(parallel, 0, false); err != nil {
		return nil, err
	}
	if c.dropped, err = channel.Consume(dropped(name), droppedTag, false, false, false, false, nil); err != nil {
		return nil, err
	}
	if c.messages, err = channel.Consume(name, messagesTag, false, false, false, false, nil); err != nil {
		return nil, err
	}
	return c, nil
}

// wait waits until ctx is done or messages can't be consumed any more. It returns why.
func (c *consumer) wait(ctx context.Context, name string) error {
	select {
	case <-ctx.Done():
		return nil
	case tag, open := <-c.cancelled:
		if open && tag == droppedTag {
			name = dropped(name)
		}
		if open {
			return fmt.Errorf("the queue %s was deleted", name)
		}
	case cause := <-c.closes:
		if cause != nil {
			return cause
		}
	}
	if cause := <-c.closes; cause != nil {
		return cause
	}
	return errors.New("the connection to the broker was lost")
}

// quiesce waits until the queue has no reason to deliver: as many messages are held
// as the broker delivers without acknowledgements, or no more of them wait. What a
// quorum queue delivers while a consumer is cancelled doesn't reach it, and would be
// marked as redelivered. The caller holds acks.
func (c *consumer) quiesce() {
	for int(c.held.Load()) < c.parallel {
		select {
		case <-c.taken:
		case <-time.After(settleTime):
			return
		}
	}
}

// cancel ends the deliveries. Those that were taken come before their end.
func (c *consumer) cancel() error {
	return errors.Join(c.channel.Cancel(messagesTag, false), c.channel.Cancel(droppedTag, false))
}

// work receives messages until both queues have ended.
func (c *consumer) work(receive func(queue.Incoming) error) {
	for messages, dropped := c.messages, c.dropped; messages != nil || dropped != nil; {
		select {
		case d, open := <-messages:
			if !open {
				messages = nil
				continue
			}
			c.held.Add(1)
			select {
			case c.taken <- struct{}{}:
			default:
			}
			c.receive(&d, false, receive)
		case d, open := <-dropped:
			if !open {
				dropped = nil
				continue
			}
			c.receive(&d, true, receive)
		}
	}
}

// receive receives a message and acknowledges it. If that fails, the connection is
// lost, and the broker delivers the message again.
func (c *consumer) receive(d *amqp.Delivery, dropped bool, receive func(queue.Incoming) error) {
	err := receive(queue.Incoming{Body: d.Body, Redelivered: dropped || d.Redelivered})
	c.acks.RLock()
	defer c.acks.RUnlock()
	if !dropped {
		c.held.Add(-1)
	}
	if err != nil {
		_ = d.Nack(false, true)
		return
	}
	_ = d.Ack(false)
}
