// Package rabbitmq is the transport over RabbitMQ: a quorum queue for each group.
package rabbitmq

import (
	"context"
	"errors"

	amqp "github.com/rabbitmq/amqp091-go"

	"ratelimiter/internal/queue"
)

const (
	// deliveryLimit is how often a queue delivers a message again before it moves it
	// to the queue of dropped messages. It is the default of RabbitMQ 4; RabbitMQ 3
	// has none.
	deliveryLimit = 20
	// unlimited is the delivery limit of that queue, which has nowhere to move
	// messages to. -1, which means it in RabbitMQ 4, is an error in RabbitMQ 3.
	unlimited = 1_000_000_000
)

// Transport is a queue.Transport over RabbitMQ. It publishes on one connection, and
// others consume: a broker that is short of memory stops reading from connections
// that publish, which must not hold up acknowledgements.
type Transport struct {
	url    string
	prefix string
	// publisher holds the session to publish with, or nil; while it is empty, a
	// session is being opened.
	publisher chan *session
	idle      chan *connection // for Prepare and Waiting
}

// New returns a transport to the broker with this URL, whose queues are called
// prefix.group. It doesn't connect. The error doesn't contain the URL.
func New(url, prefix string) (*Transport, error) {
	if _, err := amqp.ParseURI(url); err != nil {
		// The cause may quote a part of the password.
		return nil, errors.New("not a URL of the form amqp://user:password@host:5672/vhost, or amqps://…; " +
			"special characters of user, password and vhost must be percent-encoded")
	}
	t := &Transport{url: url, prefix: prefix, publisher: make(chan *session, 1), idle: make(chan *connection, 1)}
	t.publisher <- nil
	return t, nil
}

func (t *Transport) queue(group string) string { return t.prefix + "." + group }

// dropped is the queue of messages that the broker gave up to deliver.
func dropped(name string) string { return name + ".dropped" }

// Prepare implements queue.Transport.
func (t *Transport) Prepare(ctx context.Context, groups []string) error {
	return t.onChannel(ctx, func(channel *amqp.Channel) error {
		for _, group := range groups {
			if err := declare(channel, t.queue(group)); err != nil {
				return err
			}
		}
		return nil
	})
}

// declare creates the queues of a group, or checks that they have these arguments.
func declare(channel *amqp.Channel, name string) error {
	_, err := channel.QueueDeclare(dropped(name), true, false, false, false, amqp.Table{
		amqp.QueueTypeArg:  amqp.QueueTypeQuorum,
		"x-delivery-limit": int32(unlimited),
	})
	if err != nil {
		return err
	}
	// Without at-least-once, which needs reject-publish, the broker may lose messages
	// on their way from one queue to the other.
	_, err = channel.QueueDeclare(name, true, false, false, false, amqp.Table{
		amqp.QueueTypeArg:           amqp.QueueTypeQuorum,
		"x-delivery-limit":          int32(deliveryLimit),
		"x-dead-letter-exchange":    "", // the default one: the routing key names a queue
		"x-dead-letter-routing-key": dropped(name),
		"x-dead-letter-strategy":    "at-least-once",
		amqp.QueueOverflowArg:       amqp.QueueOverflowRejectPublish,
	})
	return err
}

// Publish implements queue.Transport.
func (t *Transport) Publish(ctx context.Context, group string, m queue.Outgoing) error {
	s, err := t.session(ctx)
	if err != nil {
		return err
	}
	return t.explain(s.publish(ctx, t.queue(group), m))
}

// Waiting implements queue.Transport. It counts dropped messages, too.
func (t *Transport) Waiting(ctx context.Context, group string) (n int64, err error) {
	err = t.onChannel(ctx, func(channel *amqp.Channel) error {
		for _, name := range []string{t.queue(group), dropped(t.queue(group))} {
			q, err := channel.QueueDeclarePassive(name, true, false, false, false, nil)
			if err != nil {
				return err
			}
			n += int64(q.Messages)
		}
		return nil
	})
	return n, err
}

// onChannel runs f with a channel of its own, because an error of a call closes the
// channel, on a connection that nothing else uses, because the end of ctx closes it.
func (t *Transport) onChannel(ctx context.Context, f func(*amqp.Channel) error) error {
	var c *connection
	select {
	case c = <-t.idle:
	default:
	}
	if c == nil || c.IsClosed() {
		var err error
		if c, err = t.dial(ctx, t.prefix); err != nil {
			return t.explain(err)
		}
	}
	err := c.call(ctx, func() error {
		channel, err := c.Channel()
		if err != nil {
			return err
		}
		return errors.Join(f(channel), channel.Close())
	})
	select {
	case t.idle <- c:
	default:
		c.close()
	}
	return t.explain(err)
}

// session returns the session to publish with. It opens one if there is none that
// works.
func (t *Transport) session(ctx context.Context) (s *session, err error) {
	select {
	case s = <-t.publisher:
	case <-ctx.Done():
		return nil, noAnswer(ctx)
	}
	defer func() { t.publisher <- s }()
	if s != nil && s.channel.IsClosed() {
		s.close()
		s = nil
	}
	if s == nil {
		s, err = t.openSession(ctx)
	}
	return s, t.explain(err)
}

// Close implements queue.Transport.
func (t *Transport) Close() {
	if s := <-t.publisher; s != nil {
		s.close()
	}
	select {
	case c := <-t.idle:
		c.close()
	default:
	}
	t.publisher <- nil // it may be called again
}
