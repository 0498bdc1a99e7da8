package events

import (
	"context"
	"slices"
	"sync/atomic"

	"ratelimiter/models"
)

// tailLength bounds the events of a topic in memory. Most orders have fewer.
const tailLength = 16

// tail is the last events of a topic, so that all watchers of a stream share one
// read of each event. Fields are used by the holder of turn, except known.
type tail struct {
	turn chan struct{} // capacity 1: held while the tail is used

	known   atomic.Bool // the fields below are valid
	epoch   int64
	from    position // entries are all events after from
	to      position // and up to to
	entries []entry
	current int64 // generation of the topic for which nothing follows to; -1: something may
}

func newTail() tail { return tail{turn: make(chan struct{}, 1)} }

// covers reports whether what follows a bookmark is known, apart from what follows
// the tail's end. Of an order's bookmark only the events in memory can be checked.
func (t *tail) covers(s Stream, b bookmark) bool {
	if !t.known.Load() || (s.Order == "" && b.epoch != t.epoch) {
		return false
	}
	if s.Order == "" {
		return b.compare(t.from) >= 0 && b.compare(t.to) <= 0
	}
	return b.position == t.from || b.position == t.to ||
		slices.ContainsFunc(t.entries, func(e entry) bool { return e.position == b.position })
}

// skips reports whether a batch that was read after a position shows that there are
// events after the tail's end.
func (t *tail) skips(after position, b batch) bool {
	return after.compare(t.to) > 0 || len(b.entries) > 0 && b.entries[len(b.entries)-1].compare(t.to) > 0
}

// after returns the events after a position that the tail covers.
func (t *tail) after(p position) []entry {
	i, _ := slices.BinarySearchFunc(t.entries, p, func(e entry, p position) int {
		if e.compare(p) <= 0 {
			return -1
		}
		return 1
	})
	return slices.Clone(t.entries[i:])
}

// extend appends what was read after the end.
func (t *tail) extend(b batch, generation int64) {
	t.epoch, t.to, t.current = b.epoch, b.end, -1
	if !b.more {
		t.current = generation
	}
	t.entries = append(t.entries, b.entries...)
	if excess := len(t.entries) - tailLength; excess > 0 {
		t.from = t.entries[excess-1].position
		t.entries = slices.Clone(t.entries[excess:])
	}
}

// end returns the end of the tail, unless it isn't known or is being used.
func (t *tail) end() (end position, known, busy bool) {
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
		return t.to, t.known.Load(), false
	default:
		return position{}, false, true
	}
}

// readTopic returns events after a bookmark: from the tail, which is extended if the
// topic was woken since, or from the log.
func (l *Log) readTopic(ctx context.Context, t *topic, after bookmark, types []models.EventType, limit int) (batch, error) {
	select {
	case t.tail.turn <- struct{}{}:
		defer func() { <-t.tail.turn }()
	case <-ctx.Done():
		return batch{}, ctx.Err()
	}
	generation := t.generation.Load()
	if t.tail.covers(t.stream, after) && t.tail.current != generation {
		b, err := l.read(ctx, t.stream, bookmark{t.tail.epoch, t.tail.to}, nil, tailLength)
		l.hub.hold(t, b.held)
		switch {
		case err != nil:
			return batch{}, err
		case b.expired:
			t.tail.known.Store(false)
		default:
			t.tail.extend(b, generation)
		}
	}
	if t.tail.covers(t.stream, after) {
		return batch{epoch: t.tail.epoch, entries: t.tail.after(after.position), end: t.tail.to, more: t.tail.current != generation}, nil
	}
	b, err := l.read(ctx, t.stream, after, types, limit)
	l.hub.hold(t, b.held)
	if err == nil && !b.expired && !b.more && len(types) == 0 {
		skips := t.tail.known.Load() && t.tail.skips(after.position, b)
		t.tail.entries, t.tail.from = nil, after.position
		t.tail.extend(b, generation)
		t.tail.known.Store(true)
		if skips { // others don't have these events, and the search for missed ones begins after them
			t.wake()
		}
	}
	return b, err
}
