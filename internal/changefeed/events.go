package changefeed

import "strings"

// eventChannel is the NOTIFY channel of events of orders. Its notifications name the
// orders; the events are in their log.
const eventChannel = "ratelimiter_events"

// maxPayload is the longest payload of a notification, in bytes (Postgres: less than
// 8000).
const maxPayload = 7900

// Waker wakes those who wait for events of orders.
type Waker interface {
	// Wake is called for an order that another instance has appended events to.
	Wake(owner, order string)
	// CatchUp is called when notifications may have been lost. It must not block.
	CatchUp()
}

// changedOrders collects the orders with new events for a notification: lines of
// owner and order after one with the instance's name. If there are too many, or an
// owner that was stored before such names were refused contains a separator, the
// payload has no line, and the others catch up.
type changedOrders struct {
	name  string // of the instance
	lines map[string]struct{}
	size  int
	many  bool
}

func (c *changedOrders) add(owner, order string) {
	line := "\n" + owner + "\t" + order
	if _, found := c.lines[line]; found || c.many {
		return
	}
	if c.size += len(line); c.size > maxPayload-len(c.name) || strings.ContainsAny(owner, "\t\n") {
		c.lines, c.many = nil, true
		return
	}
	if c.lines == nil {
		c.lines = map[string]struct{}{}
	}
	c.lines[line] = struct{}{}
}

// payload returns the payload of the notification; "": there is nothing to notify of.
func (c *changedOrders) payload() string {
	if len(c.lines) == 0 && !c.many {
		return ""
	}
	var b strings.Builder
	b.WriteString(c.name)
	for line := range c.lines {
		b.WriteString(line)
	}
	return b.String()
}

// wake wakes those who wait for the orders in a payload, unless it is that of the
// instance own.
func wake(w Waker, own, payload string) {
	name, lines, some := strings.Cut(payload, "\n")
	switch {
	case name == own:
	case !some:
		w.CatchUp()
	default:
		for line := range strings.SplitSeq(lines, "\n") {
			owner, order, _ := strings.Cut(line, "\t")
			w.Wake(owner, order)
		}
	}
}
