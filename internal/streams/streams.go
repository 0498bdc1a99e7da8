// Package streams keeps the open event streams of an instance: how many there may
// be, how long they last, and when they must end because their key can't be used
// any more or the instance stops.
package streams

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"ratelimiter/models"
)

// maxOpen bounds the open streams of an instance. An owner can open one while it
// has fewer than are free (Choudhury and Hahne, "Dynamic queue length thresholds",
// 1998, with α = 1): alone it has at most half of them. At 20 KiB each, all take
// 400 MB.
const maxOpen = 20_000

// The lifetime of a stream: clients that connected to one instance at once are
// spread over all instances again, and a connection through a proxy that hides the
// loss of its client doesn't stay for good.
const (
	minLifetime    = 30 * time.Minute
	lifetimeJitter = 10 * time.Minute
)

// At the stop of the instance its streams end one after another, so that their
// clients don't connect to the other instances all at once: at most one every
// drainPause, and within drainSpread.
const (
	drainPause  = 10 * time.Millisecond
	drainSpread = 5 * time.Second
)

// Streams are the open streams of an instance. It is safe for concurrent use.
type Streams struct {
	readKeys ReadKeys
	current  func() bool
	log      *slog.Logger
	ended    func(reason string)

	mu       sync.Mutex
	byKey    map[string]map[*stream]struct{}
	places   map[string]int // open streams by owner
	open     int
	draining bool
	drained  chan struct{}   // closed once draining and none is open
	stale    map[string]bool // ids of keys to read again
	wake     chan struct{}   // capacity 1: stale isn't empty

	cancel  context.CancelFunc
	running sync.WaitGroup
}

// stream is one open stream.
type stream struct {
	key, owner string
	scope      models.Scope
	address    netip.Addr
	end        context.CancelCauseFunc
	lifetime   *time.Timer
	expiry     *time.Timer // nil: the key doesn't expire
	expiresAt  time.Time   // of the key; zero: never
}

// New returns Streams without any. current reports whether Invalidate is called for
// all changes, except those of the last moments. ended is called with the reason for which a
// stream ended: a models.StreamEnd, or "client".
func New(readKeys ReadKeys, current func() bool, log *slog.Logger, ended func(reason string)) *Streams {
	return &Streams{
		readKeys: readKeys, current: current, log: log, ended: ended,
		byKey: map[string]map[*stream]struct{}{}, places: map[string]int{}, stale: map[string]bool{},
		wake: make(chan struct{}, 1), drained: make(chan struct{}),
	}
}

// Name returns "event streams".
func (*Streams) Name() string { return "event streams" }

// Start begins to watch the keys of streams.
func (s *Streams) Start(ctx context.Context) error {
	ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.running.Go(func() { s.watch(ctx) })
	return nil
}

// Open opens a stream of the request that ctx belongs to, whose key holds scope.
// It ends with ctx. The caller must Close it. Errors: KindOverloaded
// (too_many_streams), models.ErrUnavailable (the instance stops).
func (s *Streams) Open(ctx context.Context, scope models.Scope) (*models.Stream, error) {
	request := models.RequestFrom(ctx)
	key := request.Key
	ctx, end := context.WithCancelCause(ctx)
	st := &stream{key: key.ID, owner: key.Owner, scope: scope, address: request.Address, end: end}
	if err := s.add(st, key.ExpiresAt); err != nil {
		end(nil)
		return nil, err
	}
	var once sync.Once
	return &models.Stream{Context: ctx, End: end, Close: func(reason error) { once.Do(func() { s.remove(st, reason) }) }}, nil
}

// add takes a place for a stream. Its key is read again, because it may have
// changed since the request was authenticated.
func (s *Streams) add(st *stream, expiresAt *time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.draining:
		return &models.Error{Kind: models.KindUnavailable, Message: "This instance is shutting down. Connect again."}
	case s.places[st.owner] >= maxOpen-s.open:
		return &models.Error{
			Kind: models.KindOverloaded, Code: "too_many_streams",
			Message: "Too many event streams are open. Close some, or poll.",
		}
	}
	s.open++
	s.places[st.owner]++
	if s.byKey[st.key] == nil {
		s.byKey[st.key] = map[*stream]struct{}{}
	}
	s.byKey[st.key][st] = struct{}{}
	st.lifetime = time.AfterFunc(minLifetime+rand.N(lifetimeJitter), func() { st.end(models.StreamLifetime) })
	st.expireAt(expiresAt)
	s.markStale(st.key)
	return nil
}

// remove gives the place of a stream back.
func (s *Streams) remove(st *stream, err error) {
	st.end(nil)
	reason, known := errors.AsType[models.StreamEnd](err)
	if !known {
		reason = "client"
	}
	if reason == models.StreamFailed {
		s.log.Error("event stream failed", "key_id", st.key, "error", err.Error())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.lifetime.Stop()
	st.expireAt(nil)
	s.open--
	if s.places[st.owner]--; s.places[st.owner] == 0 {
		delete(s.places, st.owner)
	}
	delete(s.byKey[st.key], st)
	if len(s.byKey[st.key]) == 0 {
		delete(s.byKey, st.key)
	}
	s.ended(string(reason))
	if s.draining && s.open == 0 {
		close(s.drained)
	}
}

// Count returns how many streams are open.
func (s *Streams) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

// Stop refuses new streams, ends the open ones and waits until their connections
// are closed. It is an error if ctx ends first.
func (s *Streams) Stop(ctx context.Context) error {
	defer s.running.Wait()
	defer s.cancel()
	s.mu.Lock()
	s.draining = true
	var open []*stream
	for _, its := range s.byKey {
		for st := range its {
			open = append(open, st)
		}
	}
	s.mu.Unlock()
	if len(open) == 0 {
		return nil
	}
	rand.Shuffle(len(open), func(i, j int) { open[i], open[j] = open[j], open[i] })
	pause := time.NewTicker(min(drainPause, drainSpread/time.Duration(len(open))))
	defer pause.Stop()
	for _, st := range open {
		st.end(models.StreamShutdown)
		select {
		case <-pause.C:
		case <-s.drained:
			return nil
		case <-ctx.Done():
		}
	}
	select {
	case <-s.drained:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%d event streams did not end", s.Count())
	}
}
