package events

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"

	"ratelimiter/models"
)

// tailLength bounds the events of a topic in memory. Most orders have fewer.
const tailLength = 16

// tail is the last events of a topic, so that all watchers of a stream share one
// read of each event. Fields are used by the holder of turn, except known and failure.
type tail struct {
	turn    chan struct{}         // capacity 1: held while the tail is used
	failure atomic.Pointer[error] // of the last read that failed

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

// extends reports whether a bookmark in a feed is after the end of the tail.
func (t *tail) extends(s Stream, b bookmark) bool {
	return t.known.Load() && s.Order == "" && b.epoch == t.epoch && b.compare(t.to) > 0
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

// replace makes the tail what was read to the end of the stream. Of a feed of which
// only some types were read that is its end, unless more is known.
func (t *tail) replace(s Stream, b batch, types []models.EventType, generation int64) {
	if s.Order == "" && len(types) > 0 {
		if t.known.Load() && t.epoch == b.epoch {
			return
		}
		b.entries, b.from = nil, b.end
	}
	t.entries, t.from = nil, b.from
	t.extend(b, generation)
	t.known.Store(true)
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
// topic was woken since or the bookmark is after its end, or from the log. Who waited
// for a read that failed gets its error, so that they don't fail one after another.
func (l *Log) readTopic(ctx context.Context, t *topic, after bookmark, types []models.EventType, limit int) (batch, error) {
	failure := t.tail.failure.Load()
	select {
	case t.tail.turn <- struct{}{}:
		defer func() { <-t.tail.turn }()
	case <-ctx.Done():
		return batch{}, ctx.Err()
	}
	if failed := t.tail.failure.Load(); failed != failure {
		return batch{}, *failed
	}
	generation := t.generation.Load()
	if t.tail.extends(t.stream, after) || t.tail.covers(t.stream, after) && t.tail.current != generation {
		b, err := l.readHeld(ctx, t, bookmark{t.tail.epoch, t.tail.to}, nil, tailLength)
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
	b, err := l.readHeld(ctx, t, after, types, limit)
	if err == nil && !b.expired && !b.more {
		skips := t.tail.known.Load() && t.tail.skips(after.position, b)
		t.tail.replace(t.stream, b, types, generation)
		if skips { // others don't have these events, and the search for missed ones begins after them
			t.wake()
		}
	}
	return b, err
}

// readHeld reads events of a topic, and remembers what can't be read yet, or that the
// read failed.
func (l *Log) readHeld(ctx context.Context, t *topic, after bookmark, types []models.EventType, limit int) (batch, error) {
	b, err := l.read(ctx, t.stream, after, types, limit)
	switch {
	case err == nil:
		l.hub.hold(t, b.held)
	case ctx.Err() == nil && errors.Is(err, models.ErrUnavailable): // not because its caller left
		t.tail.failure.Store(&err)
	}
	return b, err
}
