package liveproof

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"ratelimiter/models"
)

// client is a follower that changes the server at random and checks what it gets.
type client struct {
	follower
	way       way
	shop      *shop
	seen      map[string]int64 // last event of each order
	order     []string         // of the events of an owner's feed
	total     atomic.Int64
	connected int // times
}

// Errors of take.
var (
	errFault  = errors.New("fault")
	errHangUp = errors.New("the client hangs up")
)

// check checks that an event is the next one of its order.
func (c *client) check(e *models.Event) error {
	if c.stream.Order != "" && e.OrderID != c.stream.Order {
		return fmt.Errorf("%w: got an event of %s", errFault, e.OrderID)
	}
	if last := c.seen[e.OrderID]; e.Seq != last+1 {
		return fmt.Errorf("%w: %s: event %d follows event %d", errFault, e.OrderID, e.Seq, last)
	}
	c.seen[e.OrderID] = e.Seq
	if c.stream.Order == "" {
		c.order = append(c.order, fmt.Sprint(e.OrderID, "/", e.Seq))
	}
	c.total.Add(1)
	return nil
}

// checkOrHangUp checks an event, and hangs up once in a while.
func (c *client) checkOrHangUp(e *models.Event) error {
	err := c.check(e)
	if err == nil && (c.way == sse || c.way == webSocket) && rand.N(100) == 0 {
		err = errHangUp
	}
	return err
}

// run follows the stream until ctx ends, and returns a fault. Servers may be gone.
func (c *client) run(ctx context.Context) error {
	c.take = c.checkOrHangUp
	pause(ctx, rand.N(time.Second))
	for ctx.Err() == nil {
		base := c.shop.servers[rand.N(len(c.shop.servers))].base
		c.connected++
		var err error
		switch c.way {
		case polling:
			_, err = c.page(ctx, base, "")
			pause(ctx, rand.N(500*time.Millisecond))
		case longPoll:
			_, err = c.page(ctx, base, "&wait=5s")
		case sse:
			err = c.events(ctx, base)
		case webSocket:
			err = c.frames(ctx, base)
		}
		if errors.Is(err, errFault) {
			return err
		}
		if err != nil && !errors.Is(err, errHangUp) {
			pause(ctx, rand.N(100*time.Millisecond))
		}
	}
	return nil
}
