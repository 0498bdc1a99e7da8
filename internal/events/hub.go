package events

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

// maxIdle bounds the topics that are kept although nobody waits, for callers who
// come back at once: each takes some KiB.
const maxIdle = 500

// idleTime is how long they are kept: longer than a caller takes to come back.
const idleTime = 10 * time.Second

// Stream is the events of an order or of an owner.
type Stream = models.EventStream

// Hub wakes those who wait for events of a stream. It is safe for concurrent use.
type Hub struct {
	notify func(owner, order string) // notifies the other instances, without waiting; nil: there are none
	held   chan struct{}             // capacity 1: a topic has an event that can't be read yet

	mu     sync.Mutex
	topics map[Stream]*topic
	idle   int // topics without watchers
}

// NewHub returns a Hub that has other instances notified of changes by notify, which
// may be nil.
func NewHub(notify func(owner, order string)) *Hub {
	return &Hub{notify: notify, held: make(chan struct{}, 1), topics: map[Stream]*topic{}}
}

// WakeAfter wakes those who wait for events of an order, here and on other instances,
// once tx, which is InTx's and appends events, is committed. A nil Hub does nothing.
func (h *Hub) WakeAfter(tx pgx.Tx, owner, order string) {
	if h == nil {
		return
	}
	postgres.OnCommit(tx, func() {
		h.Wake(owner, order)
		if h.notify != nil {
			h.notify(owner, order)
		}
	})
}

// Wake wakes those on this instance who wait for events of an order or of its owner.
func (h *Hub) Wake(owner, order string) {
	h.wake(Stream{Owner: owner, Order: order})
	h.wake(Stream{Owner: owner})
}

func (h *Hub) wake(s Stream) {
	h.mu.Lock()
	t := h.topics[s]
	h.mu.Unlock()
	if t != nil {
		t.wake()
	}
}

// hold remembers the first event of a topic that couldn't be read yet; 0: there was
// none.
func (h *Hub) hold(t *topic, feed int64) {
	t.held.Store(feed)
	if feed == 0 {
		return
	}
	select {
	case h.held <- struct{}{}:
	default: // it is known that there are some
	}
}

// watch returns the topic of a stream until leave is called.
func (h *Hub) watch(s Stream) (t *topic, leave func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t = h.topics[s]
	switch {
	case t == nil:
		t = newTopic(s)
		h.topics[s] = t
	case t.watchers == 0:
		h.idle--
	}
	t.watchers++
	return t, func() { h.leave(t) }
}

func (h *Hub) leave(t *topic) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t.watchers--; t.watchers > 0 {
		return
	}
	t.leftAt = time.Now()
	if h.idle++; h.idle > maxIdle || !t.tail.known.Load() {
		h.drop(t)
	}
}

// drop forgets a topic without watchers. The caller holds the lock.
func (h *Hub) drop(t *topic) {
	delete(h.topics, t.stream)
	h.idle--
}

// sweep forgets the topics that nobody has waited for since idleTime, and returns
// the others.
func (h *Hub) sweep(now time.Time) []*topic {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []*topic
	for _, t := range h.topics {
		if t.watchers == 0 && now.Sub(t.leftAt) > idleTime {
			h.drop(t)
			continue
		}
		list = append(list, t)
	}
	return list
}

// all returns the topics.
func (h *Hub) all() []*topic {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Values(h.topics))
}

// counts returns the numbers of topics and of watchers.
func (h *Hub) counts() (topics, watchers int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.topics {
		watchers += t.watchers
	}
	return len(h.topics), watchers
}

// topic is a stream that is waited for.
type topic struct {
	stream     Stream
	generation atomic.Int64 // number of wake-ups
	held       atomic.Int64 // feed of the first event that couldn't be read yet; 0: there is none
	tail       tail

	watchers int // guarded by the hub's lock
	leftAt   time.Time

	mu    sync.Mutex
	woken chan struct{} // closed by the next wake-up
}

func newTopic(s Stream) *topic {
	return &topic{stream: s, woken: make(chan struct{}), tail: newTail()}
}

// wake wakes all watchers. What they read after that includes the change.
func (t *topic) wake() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.generation.Add(1)
	close(t.woken)
	t.woken = make(chan struct{})
}

// next returns a channel that the next wake-up closes.
func (t *topic) next() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.woken
}
