// Package allowance keeps the counters of calendar quotas in Postgres, so that
// restarts, crashes and other instances neither forget nor exceed them. An
// instance leases units in batches and spends them in memory: a request waits
// for Postgres only where no leased unit is left.
//
// A lease belongs to one period of one counter. It is about two seconds of the
// recent rate, at least 0.5 % and at most 2 % of the limit, and smaller near the
// limit. What isn't spent is returned when the counter is idle and when the
// service stops; a crash wastes it. Units whose reply was lost are wasted, too:
// the durable counter may count more than was admitted, never less.
package allowance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

const (
	// knownFor is how long the used units that Postgres reported are taken as
	// known: an exhausted counter is asked for at most once per knownFor.
	knownFor = time.Second
	// prefetchDelay is how long prefetches wait for others to share their
	// statement.
	prefetchDelay = 100 * time.Millisecond
	// applyTimeout bounds one statement.
	applyTimeout = 2 * time.Second
	// peekTimeout bounds how long a peek waits for news.
	peekTimeout = 250 * time.Millisecond
	// downFor is how long requests fail at once after a statement has failed.
	downFor = time.Second
	// maxFlights bounds the statements that run at once, and maxBatch the
	// counters in each.
	maxFlights = 4
	maxBatch   = 500
	// maxEntries bounds the counters with leases, at about 400 bytes each. An owner
	// can have as many as are free, so that others can always begin some.
	maxEntries = 1 << 18
)

// Errors of Lease.
var (
	errStopped = errors.New("allowance: stopped")
	errDown    = errors.New("allowance: the last statement failed")
	errFull    = fmt.Errorf("%w: too many calendar counters are in use", models.ErrOverloaded)
)

// Service implements ratelimit.Allowances. It is safe for concurrent use.
type Service struct {
	durable Durable
	store   ratelimit.LeaseStore
	log     *slog.Logger

	mu        sync.Mutex
	entries   map[Counter]*entry
	owners    map[uint64]int // entries of each account
	ready     []*entry       // with something to ask, and not in flight
	urgent    int            // of ready, those that a request waits for
	flights   int
	timer     *time.Timer // of prefetches; nil: not running
	downUntil time.Time
	stopped   bool
	stats     Stats

	running sync.WaitGroup // statements
	cancel  context.CancelFunc
	ended   sync.WaitGroup // the idle loop
}

var _ ratelimit.Allowances = (*Service)(nil)

// Stats are totals since the start, in units unless stated otherwise.
type Stats struct {
	Leased, Returned int64
	// Wasted is leased units that can't be spent any more: their period ended,
	// their counter was evicted, or they couldn't be returned.
	Wasted int64
	// Uncertain is units whose reply was lost: at most so many are wasted, too.
	Uncertain int64
	// Open is leased units that aren't spent, as of the last idle check. A crash
	// would waste them.
	Open int64
	// Statements and Rows are requests to Postgres, and Failures those
	// statements that failed.
	Statements, Rows, Failures int64
	// Counters is the number of counters with a lease or recent knowledge.
	Counters int64
}

// New returns a Service that supplies store from durable. Until Start, it
// doesn't return idle leases.
func New(durable Durable, store ratelimit.LeaseStore, log *slog.Logger) *Service {
	return &Service{durable: durable, store: store, log: log, entries: map[Counter]*entry{}, owners: map[uint64]int{}}
}

// Stats returns the totals.
func (s *Service) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Counters = int64(len(s.entries))
	return s.stats
}

// entry is one counter and the period that it is in.
type entry struct {
	id         Counter
	subject    *ratelimit.Subject
	policy     *ratelimit.Compiled
	start, end int64  // of the period, in nanoseconds
	epoch      int64  // 0: unknown
	generation uint32 // of the store's counter, at the last lease of this epoch

	// What to ask next.
	need, total int64
	ahead       bool
	call        *call // that requests wait for; nil: none waits
	queued      bool  // in Service.ready
	flying      bool  // in a statement

	knownAt  time.Time // when Postgres reported the used units; zero: unknown
	leasedAt time.Time // when the last lease was taken; zero: never
	granted  int64     // units of the last lease

	open      int64 // leased units at the last idle check
	changedAt time.Time
}

// call is an operation that requests wait for.
type call struct {
	done chan struct{}
	err  error // set before done is closed
}

// Lease implements ratelimit.Allowances.
func (s *Service) Lease(ctx context.Context, b *ratelimit.Batch) (changed bool, err error) {
	var calls [ratelimit.MaxPolicies]*call
	waits, err := s.ask(b, calls[:0])
	if err != nil || len(waits) == 0 {
		return false, err
	}
	timeout := applyTimeout
	if b.Cost == 0 {
		timeout = peekTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for _, c := range waits {
		select {
		case <-c.done:
			if c.err != nil {
				return false, c.err
			}
		case <-ctx.Done():
			return false, fmt.Errorf("wait for a lease: %w", context.Cause(ctx))
		}
	}
	return true, nil
}

// ask registers what a batch needs and returns the calls to wait for.
func (s *Service) ask(b *ratelimit.Batch, calls []*call) ([]*call, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for i := range b.Steps {
		step := &b.Steps[i]
		if !step.Policy.Leasable() || i >= b.Enforced && b.Cost > 0 {
			continue // in shadow mode, no request waits
		}
		e, err := s.entryOf(b, step)
		if err != nil {
			s.dispatch() // what earlier steps ask
			return nil, err
		}
		if !step.Short && (e.known(now) || step.Allowed && b.Cost > 0) {
			continue
		}
		if s.stopped {
			return nil, errStopped
		}
		if now.Before(s.downUntil) {
			return nil, errDown
		}
		if b.Cost > 0 && b.Cost <= step.Policy.Capacity() { // otherwise news is enough
			e.want(b.Cost - max(0, step.State.X))
		}
		if e.call == nil {
			e.call = &call{done: make(chan struct{})}
			if e.queued {
				s.urgent++
			}
		}
		calls = append(calls, e.call)
		s.enqueue(e)
	}
	s.dispatch()
	return calls, nil
}

// known reports whether the used units are as Postgres reported them recently.
func (e *entry) known(now time.Time) bool {
	return !e.knownAt.IsZero() && now.Sub(e.knownAt) < knownFor
}

// want adds units that a request misses.
func (e *entry) want(missing int64) {
	if e.need == 0 || missing < e.need {
		e.need = missing
	}
	e.total += missing
}

// entryOf returns the entry of a step, moved to the step's period.
func (s *Service) entryOf(b *ratelimit.Batch, step *ratelimit.Step) (*entry, error) {
	subject := subjectOf(b, step)
	id := counterOf(subject, step.Policy)
	e := s.entries[id]
	if e == nil {
		if s.owners[subject.Account] >= maxEntries-len(s.entries) {
			return nil, errFull
		}
		e = &entry{id: id, subject: subject.Clone(), changedAt: time.Now()}
		s.entries[id] = e
		s.owners[subject.Account]++
	}
	if !e.ahead && e.call == nil || step.Policy.Limit > e.policy.Limit {
		e.policy = step.Policy // the latest limit, but not below that of a request that waits
	}
	if e.start != step.State.At {
		e.start, e.end, e.epoch, e.generation = step.State.At, step.State.M, 0, 0
		e.knownAt, e.need, e.total = time.Time{}, 0, 0
	}
	return e, nil
}

// forget removes an entry. s.mu is held.
func (s *Service) forget(e *entry) {
	delete(s.entries, e.id)
	if s.owners[e.subject.Account]--; s.owners[e.subject.Account] == 0 {
		delete(s.owners, e.subject.Account)
	}
}

// Prefetch implements ratelimit.Allowances.
func (s *Service) Prefetch(b *ratelimit.Batch, step *ratelimit.Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.stopped || now.Before(s.downUntil) {
		return
	}
	e, err := s.entryOf(b, step)
	if err != nil || e.ahead || !step.Allowed && e.known(now) {
		return
	}
	e.ahead = true
	s.enqueue(e)
	s.dispatch()
}

// Reset implements ratelimit.Allowances.
func (s *Service) Reset(ctx context.Context, b *ratelimit.Batch) error {
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	var counters []Counter
	var starts []int64
	for i := range b.Steps {
		step := &b.Steps[i]
		if !step.Policy.Leasable() {
			continue
		}
		start, _ := step.Policy.Bounds(b.Now)
		counters, starts = append(counters, counterOf(subjectOf(b, step), step.Policy)), append(starts, start)
	}
	if len(counters) == 0 {
		return nil
	}
	epochs, err := s.durable.Reset(ctx, counters, starts)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, id := range counters {
		// A lease of an earlier epoch that is under way is dropped when it
		// arrives.
		if e := s.entries[id]; e != nil && e.start == starts[i] {
			e.epoch, e.generation, e.knownAt = max(e.epoch, epochs[i]), 0, time.Time{}
			// With the epoch, so that units of another one never belong to the
			// new counter.
			_, _ = s.store.Exchange(e.subject, e.policy, e.start, func(state ratelimit.State) (ratelimit.State, bool) {
				return ratelimit.State{}, state != ratelimit.State{}
			})
		}
	}
	return nil
}
