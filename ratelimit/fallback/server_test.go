package fallback_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

var errLink = errors.New("connection lost")

// server is the shared store of a simulation, with a clock of its own.
type server struct {
	ahead time.Duration // of its clock
	lag   time.Duration // of its replica

	mu       sync.Mutex
	store    *memory.Store
	replicas [][]byte // snapshots, one lag apart; the first is promoted
	broken   string
	gone     bool // nobody reaches it
}

func newServer(rng *rand.Rand, broken string) *server {
	return &server{
		ahead: time.Duration(rng.Int64N(int64(4*time.Hour))) - 2*time.Hour, lag: time.Duration(rng.IntN(1000)) * time.Millisecond,
		store: memory.New(memory.WithMaxBytes(1)), broken: broken,
	}
}

func (s *server) now() int64 { return time.Now().Add(s.ahead).UnixNano() }

// replicate takes a snapshot. Call it every lag.
func (s *server) replicate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	var snapshot bytes.Buffer
	_ = s.store.Save(&snapshot, s.now())
	s.replicas = append(s.replicas, snapshot.Bytes())
	s.replicas = s.replicas[max(0, len(s.replicas)-2):]
}

// promote replaces the store by its replica, or by an empty one.
func (s *server) promote(empty bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.store = memory.New(memory.WithMaxBytes(1))
	if !empty && len(s.replicas) > 0 {
		_, _ = s.store.Load(bytes.NewReader(s.replicas[0]), s.now())
	}
	s.replicas = nil
}

type method = func(ratelimit.Store, context.Context, *ratelimit.Batch) error

// apply performs a call, which doesn't fail.
func (s *server) apply(b *ratelimit.Batch, call method) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b.Now = s.now()
	report := isReport(b)
	if report && s.broken == "ledger not reported" {
		return nil
	}
	err := call(s.store, context.Background(), b)
	if report && s.broken == "reported twice" {
		err = call(s.store, context.Background(), b)
	}
	return err
}

// isReport reports whether a batch charges what was admitted alone.
func isReport(b *ratelimit.Batch) bool { return b.Cost == 0 && charges(b) > 0 }

// charges returns the units that a Give charges to the counters of accounts.
func charges(b *ratelimit.Batch) (units int64) {
	for i := range b.Steps {
		units += max(0, -b.Steps[i].Give)
	}
	return units
}

// link is one instance's connection to the server.
type link struct {
	*server
	loss int // of a thousand requests, and of as many answers

	mu   sync.Mutex
	rng  *rand.Rand
	hung bool // requests are lost without an error
	cut  bool
	slow bool // answers come after the timeout

	// Units of each counter whose charge took effect without an answer, and whose
	// report or debt didn't take effect.
	lost, missed map[counterName]int64
}

// counterName identifies a counter.
type counterName struct{ policy, subject string }

func nameOf(b *ratelimit.Batch, step *ratelimit.Step) counterName {
	if step.Policy.PerOwner() {
		return counterName{step.Policy.Name, b.Owner.Name}
	}
	return counterName{step.Policy.Name, b.Key.Name}
}

func newLink(s *server, seed uint64) *link {
	return &link{server: s, rng: rand.New(rand.NewPCG(seed, 1)), lost: map[counterName]int64{}, missed: map[counterName]int64{}}
}

var _ ratelimit.Store = (*link)(nil)

// Take implements ratelimit.Store.
func (l *link) Take(ctx context.Context, b *ratelimit.Batch) error {
	return l.call(ctx, b, ratelimit.Store.Take)
}

// Give implements ratelimit.Store.
func (l *link) Give(ctx context.Context, b *ratelimit.Batch) error {
	return l.call(ctx, b, ratelimit.Store.Give)
}

// Renew implements ratelimit.Store.
func (l *link) Renew(ctx context.Context, b *ratelimit.Batch) error {
	return l.call(ctx, b, ratelimit.Store.Renew)
}

// Reset implements ratelimit.Store.
func (l *link) Reset(ctx context.Context, b *ratelimit.Batch) error {
	return l.call(ctx, b, ratelimit.Store.Reset)
}

func (l *link) call(ctx context.Context, b *ratelimit.Batch, call method) error {
	err := l.try(ctx, b, call)
	if l.broken == "charge retried" && errors.Is(err, errLink) && isReport(b) {
		again, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		err = l.try(again, b, call)
	}
	return err
}

// try sends one request on a copy of the batch, and copies the answer.
func (l *link) try(ctx context.Context, b *ratelimit.Batch, call method) error {
	copied := *b
	copied.Steps = slices.Clone(b.Steps)
	delay, lostRequest, lostAnswer := l.luck()
	l.mu.Lock()
	cut, hung, slow := l.cut || l.gone, l.hung, l.slow
	l.mu.Unlock()
	switch {
	case lostRequest, cut && hung:
		<-ctx.Done()
		l.count(b, false)
		return errors.Join(errLink, ctx.Err())
	case cut:
		l.count(b, false)
		return errLink
	}
	time.Sleep(delay)
	err := l.apply(&copied, call)
	if lostAnswer || slow {
		<-ctx.Done()
		l.count(&copied, true)
		return errors.Join(errLink, ctx.Err())
	}
	time.Sleep(delay)
	copy(b.Steps, copied.Steps)
	b.Now = copied.Now
	return err
}

func (l *link) luck() (delay time.Duration, lostRequest, lostAnswer bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delay = time.Duration(50+l.rng.IntN(2000)) * time.Microsecond
	return delay, l.rng.IntN(1000) < l.loss, l.rng.IntN(1000) < l.loss
}

func (l *link) float() float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rng.Float64()
}

// count counts a call without an answer.
func (l *link) count(b *ratelimit.Batch, applied bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range b.Steps {
		step := &b.Steps[i]
		switch {
		case step.Give < 0 && !applied:
			l.missed[nameOf(b, step)] -= step.Give
		case step.Give == 0 && applied && step.Charged:
			l.lost[nameOf(b, step)] += b.Cost
		}
	}
}

func (l *link) set(cut, hung, slow bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut, l.hung, l.slow = cut, hung, slow
}
