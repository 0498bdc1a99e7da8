package client

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// pacer admits requests one by one. It has no goroutine of its own: whoever
// comes, waits, or is answered moves it on.
type pacer struct {
	base    time.Time // instants count from it
	longest time.Duration
	most    int // requests that wait at once

	mu      sync.Mutex
	ledgers []*ledger
	builtIn *ledger // of GET /v1/me and what is below it
	queue   queue
	count   uint64 // requests that ever came
	// underWay are the requests that have no answer yet, or hold a slot.
	underWay map[*ticket]struct{}
	// paused is true while the policies are read: nothing is sent meanwhile.
	paused bool
	// learned is true when the policies are known, as they were at learnedAt.
	learned   bool
	learnedAt instant
	lookedAt  instant
	// closedUntil is until when nothing that needs the key is sent, after a
	// refusal by something else than the policies that are known.
	closedUntil instant
	// fields is the RateLimit-Policy field by group: when it changes, the
	// policies have.
	fields map[string]string
}

// meBuiltIn is what the server allows on routes that cost nothing and that any
// key may call.
var meBuiltIn = Policy{Name: "built-in", Algorithm: TokenBucket, Limit: 50, Period: new("1s")}

func newPacer(longest time.Duration, most int) *pacer {
	builtIn, err := newLedger(meBuiltIn)
	if err != nil {
		panic(err) // the policy above is a constant
	}
	return &pacer{
		base: time.Now(), longest: longest, most: most, builtIn: builtIn,
		underWay: map[*ticket]struct{}{}, fields: map[string]string{},
	}
}

func (p *pacer) now() instant { return time.Since(p.base) }

// applying are the ledgers that a request of this operation counts in.
func (p *pacer) applying(op *operation) []*ledger {
	var applying []*ledger
	switch {
	case op == free:
	case op.cost > 0:
		for _, l := range p.ledgers {
			if l.group == "" || l.group == op.group {
				applying = append(applying, l)
			}
		}
	case op.group == "":
		applying = append(applying, p.builtIn)
	}
	return applying
}

// turn is a request's place among the others, which it keeps over its tries.
type turn struct {
	op        *operation
	number    uint64
	deadline  instant
	notBefore instant
	// failures counts the tries that count as attempts: refusals don't.
	failures int
	// unanswered is true once a try had no answer: it may have been done.
	unanswered bool
	again      bool // after the last try: there is to be another
}

func (p *pacer) arrive(op *operation) *turn {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count++
	return &turn{op: op, number: p.count, deadline: p.now() + p.longest}
}

// acquire waits until the request may be sent. The error is the context's, or a
// *WaitError. look reads where the policies stand; it is called by one of those
// who wait, and not under the lock.
func (p *pacer) acquire(ctx context.Context, t *turn, look func(context.Context)) (*ticket, error) {
	w := &waiter{
		number: t.number, op: t.op, cost: max(t.op.cost, 1), deadline: t.deadline, notBefore: t.notBefore,
		wake: never, signal: make(chan struct{}, 1),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) >= p.most && t.notBefore == 0 {
		return nil, p.tooLong(w)
	}
	w.ledgers = p.applying(t.op)
	p.queue.add(w)
	for {
		now := p.now()
		p.admit(now)
		if w.admitted != nil {
			w.admitted.group, w.admitted.cost = t.op.group, t.op.cost
			p.underWay[w.admitted] = struct{}{}
			return w.admitted, nil
		}
		if w.wake < never && w.wake > w.deadline || now >= w.deadline {
			err := p.tooLong(w)
			p.leave(w)
			return nil, err
		}
		if err := p.pause(ctx, w, now, look); err != nil && w.admitted == nil {
			p.leave(w)
			return nil, err
		}
	}
}

// pause lets go of the lock while w has nothing to do, or while it looks for
// all. The error is the context's.
func (p *pacer) pause(ctx context.Context, w *waiter, now instant, look func(context.Context)) error {
	next := min(w.wake, w.deadline)
	looks := false
	if p.queue[0] == w && !p.paused && w.op.cost > 0 {
		again := p.lookedAt + lookAfter(next-now)
		if looks = again <= now; looks {
			p.lookedAt = now
		}
		next = min(next, again)
	}
	p.mu.Unlock()
	defer p.mu.Lock()
	if looks {
		look(ctx)
		return nil // a context that ended meanwhile is seen by the next pause
	}
	return wait(ctx, w.signal, next-now)
}

// Those who wait read from time to time where the policies stand: an operator
// may have raised the quota, others may have spent of it, and clocks drift.
const (
	lookEvery  = 10 * time.Second
	lookSeldom = 10 * time.Minute // in a wait for days
)

// lookAfter is how long after the last look there is another, in a wait that
// still lasts for d: after a tenth of it.
func lookAfter(d instant) instant { return min(max(lookEvery, d/10), lookSeldom) }

// wait ends at a signal, when d has passed, or with the context.
func wait(ctx context.Context, signal <-chan struct{}, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-signal:
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

func (p *pacer) admit(now instant) {
	if !p.paused {
		p.queue.admit(now, p.closedUntil)
	}
}

// leave takes a waiter out; others may now go in its place.
func (p *pacer) leave(w *waiter) {
	p.queue.remove(w)
	p.admit(p.now())
}

// tooLong is the error of a request that can't wait for long enough. What it
// tells is a lower bound for all but the first.
func (p *pacer) tooLong(w *waiter) *WaitError {
	now := p.now()
	at := w.wake
	for _, other := range p.queue {
		if at == never {
			at = other.wake
		}
	}
	if at == never {
		at = now
	}
	return &WaitError{RetryAfter: max(0, at-now), Policies: w.policies(now)}
}

// answered settles a request. response is nil when there was no answer.
func (p *pacer) answered(t *ticket, response *http.Response) (changed bool) {
	var seen map[string]observation
	refused := false
	if response != nil {
		seen, refused = limitsOf(response.Header), response.StatusCode == http.StatusTooManyRequests
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if response != nil && t.cost > 0 {
		changed = p.policiesChanged(t, response.Header, seen)
	}
	p.settle(t, refused, seen)
	return changed
}

func (p *pacer) settle(t *ticket, refused bool, seen map[string]observation) {
	now := p.now()
	holds := false
	for i := range t.parts {
		part := &t.parts[i]
		holds = holds || part.holds
		if o, there := seen[part.policy.Name]; there {
			o.sent, o.answered = t.sentAt, now
			part.settle(now, refused, &o)
		} else {
			part.settle(now, refused, nil)
		}
	}
	if !holds {
		delete(p.underWay, t)
		t.ended = true
	}
	p.admit(now)
}

// ended frees the slots of a request whose answer was read to its end. It may
// be called more than once.
func (p *pacer) ended(t *ticket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.ended {
		return
	}
	t.ended = true
	delete(p.underWay, t)
	for i := range t.parts {
		t.parts[i].end()
	}
	p.admit(p.now())
}
