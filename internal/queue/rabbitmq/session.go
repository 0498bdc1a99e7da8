package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"

	"ratelimiter/internal/queue"
)

const (
	// returnsKept is how many returned messages the library can report between two
	// calls of publish before it waits for the next: more than are ever published at
	// once.
	returnsKept = 1024
	// blocksKept is the same for reports that the broker is short of resources.
	blocksKept = 16
)

// session is a connection with a channel to publish on.
type session struct {
	*connection

	channel *amqp.Channel
	returns <-chan amqp.Return
	blocks  <-chan amqp.Blocking
	closes  <-chan *amqp.Error

	mu       sync.Mutex
	returned map[address]bool // what no queue took, until its publish looks
	blocked  string           // why the broker takes no messages; "": it does
	cause    *amqp.Error      // why the channel was closed, if the broker said it
}

// address identifies a message that is being published. Groups share messages.
type address struct{ queue, id string }

func (t *Transport) openSession(ctx context.Context) (*session, error) {
	c, err := t.dial(ctx, t.prefix+" publisher")
	if err != nil {
		return nil, err
	}
	s := &session{connection: c, returned: map[address]bool{}}
	err = c.call(ctx, func() error {
		if s.channel, err = c.Channel(); err != nil {
			return err
		}
		return s.channel.Confirm(false)
	})
	if err != nil {
		c.close()
		return nil, err
	}
	s.returns = s.channel.NotifyReturn(make(chan amqp.Return, returnsKept))
	s.closes = s.channel.NotifyClose(make(chan *amqp.Error, 1))
	s.blocks = c.NotifyBlocked(make(chan amqp.Blocking, blocksKept))
	return s, nil
}

// publish sends a message and waits until the broker has confirmed that it is on the
// disks of a majority of the queue's members.
func (s *session) publish(ctx context.Context, name string, m queue.Outgoing) error {
	if err := s.refusal(); err != nil {
		return err
	}
	confirmation, err := s.channel.PublishWithDeferredConfirm("", name, true, false, amqp.Publishing{
		MessageId: m.ID, Body: m.Body, ContentType: "application/json", DeliveryMode: amqp.Persistent,
	})
	if err != nil {
		return err
	}
	confirmed, err := confirmation.WaitContext(ctx)
	switch {
	case err != nil:
		return noAnswer(ctx)
	case s.wasReturned(address{name, m.ID}):
		return fmt.Errorf("the queue %s doesn't exist", name)
	case confirmed:
		return nil
	}
	if err := s.refusal(); err != nil {
		return err
	}
	return errors.New("the broker refused the message, or the connection to it was lost")
}

// refusal returns why the broker takes no messages, if it has said it.
func (s *session) refusal() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.look()
	if s.cause != nil {
		return s.cause
	}
	if s.blocked != "" {
		return fmt.Errorf("the broker takes no messages now: %s", s.blocked)
	}
	return nil
}

// wasReturned reports whether no queue took a message that was confirmed.
func (s *session) wasReturned(a address) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.look()
	returned := s.returned[a]
	delete(s.returned, a)
	return returned
}

// look notes what the library has reported. It reports that a message was returned,
// and why the channel was closed, before it ends the wait for the confirmation. The
// caller holds mu.
func (s *session) look() {
	for {
		select {
		case r, open := <-s.returns:
			if !open {
				s.returns = nil
				continue
			}
			s.returned[address{r.RoutingKey, r.MessageId}] = true
		case b, open := <-s.blocks:
			if !open {
				s.blocks = nil
				continue
			}
			s.blocked = b.Reason
		case cause, open := <-s.closes:
			if !open {
				s.closes = nil
				continue
			}
			s.cause = cause
		default:
			return
		}
	}
}
