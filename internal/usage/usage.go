// Package usage knows what each key has used: how many requests, how many of
// them were refused and by which policy, and what they cost. It counts in
// memory and writes behind, in batches; it reads history and refusals back, and
// replays what was recorded against other policies.
//
// It decides nothing: what a request may is package ratelimit's, and what was
// decided is told to Record.
package usage

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/cache"
	"ratelimiter/internal/postgres"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// flushInterval is how long what was counted waits in memory. With a flush
// that takes a moment it keeps the promise that what happened 3 s ago is in the
// history; and it is what a SIGKILL loses.
const flushInterval = time.Second

// flushTimeout bounds one flush; it takes some 30 ms a thousand entries.
const flushTimeout = 5 * time.Second

// Bounds of what waits in memory, in entries: one is what a key did on a route
// in a second, and takes about 150 bytes. Beyond maxCounting keys and routes at
// once, requests aren't counted; beyond maxWaiting, while Postgres is down, the
// oldest are lost. That is 75 MB, and a quarter of an hour of 500 active keys.
const (
	maxCounting = 100_000
	maxWaiting  = 400_000
	batchSize   = 5_000
)

// Config says what a Service needs besides the database.
type Config struct {
	Log      *slog.Logger
	NewStore func() ratelimit.Store // for simulations: counters that nobody else spends
}

// Service counts, remembers and replays. Its methods may be called from any
// goroutine.
type Service struct {
	db       *pgxpool.Pool
	log      *slog.Logger
	newStore func() ratelimit.Store

	counts   *cache.Behind[cell, counts]
	refusals *cache.Behind[string, refused]
	lost     atomic.Int64 // requests that aren't counted, ever
	untold   atomic.Int64 // those of them that the log doesn't know yet

	simulating chan struct{} // holds a token while one runs
	retention  sync.WaitGroup
	ctx        context.Context // ends with Close
	cancel     context.CancelFunc
}

// New returns a running Service on db. Close it when its owner ends.
func New(db *pgxpool.Pool, cfg Config) *Service {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Service{
		db: db, log: cfg.Log, newStore: cfg.NewStore,
		simulating: make(chan struct{}, 1), ctx: ctx, cancel: cancel,
	}
	s.counts = cache.NewBehind(cache.BehindOptions[cell, counts]{
		Size: maxCounting, Backlog: maxWaiting, BatchSize: batchSize, Interval: flushInterval, Timeout: flushTimeout,
		Hash: newCellHash(), Flush: s.flushCounts, Permanent: isPermanent, Lost: s.lostCounts,
	})
	s.refusals = cache.NewBehind(cache.BehindOptions[string, refused]{
		Size: maxRefusing, Backlog: maxRefusalsWaiting, BatchSize: refusalBatch, Interval: flushInterval, Timeout: flushTimeout,
		Flush: s.flushRefusals, Permanent: isPermanent, Lost: s.lostRefusals,
	})
	s.retention.Go(s.keepPartitions)
	return s
}

// Record counts one request that has ended: by which key, on which route, when
// it came, how it ended and what was decided of it, which Record doesn't keep.
// A route of cost 0 leaves only when the key was last used. Record never waits
// for the database, and allocates nothing unless a policy refuses.
func (s *Service) Record(request *models.Request, route *models.Route, at time.Time, outcome ratelimit.Outcome, decision *ratelimit.Decision) {
	ms := at.UnixMilli()
	allowed := decision.Allowed
	if !s.counts.Update(cell{key: request.Key.ID, route: route, second: ms / 1000}, func(c *counts) {
		c.add(outcome, allowed, uint16(ms%1000))
	}) {
		s.lose(1)
	}
	if route.Cost > 0 && (!allowed || shadowRefuses(decision)) {
		s.recordRefusal(request, route, at, decision)
	}
}

func shadowRefuses(d *ratelimit.Decision) bool {
	shadows := d.Shadows()
	for i := range shadows {
		if !shadows[i].Allowed {
			return true
		}
	}
	return false
}

// Lost is how many requests were not counted: memory was full, or Postgres was
// down for too long.
func (s *Service) Lost() int64 { return s.lost.Load() }

// Flush writes what was recorded before it, now. Errors: Postgres's, and then
// it is tried again as ever; ctx's.
func (s *Service) Flush(ctx context.Context) error {
	return errors.Join(s.counts.Flush(ctx), s.refusals.Flush(ctx))
}

// Close writes everything that was recorded and ends what runs in the
// background. It comes after the last Record. The error says what was lost
// because Postgres didn't take it before ctx ended.
func (s *Service) Close(ctx context.Context) error {
	s.cancel()
	s.retention.Wait()
	return errors.Join(s.counts.Close(ctx), s.refusals.Close(ctx))
}

func (s *Service) lose(requests int64) {
	s.lost.Add(requests)
	s.untold.Add(requests)
}

// tell logs what was lost since it last did.
func (s *Service) tell() {
	if n := s.untold.Swap(0); n > 0 {
		s.log.Error("usage: requests were not counted, for memory was full", "requests", n)
	}
}

// isPermanent tells the errors that come from what is written, and not from
// where it is written.
func isPermanent(err error) bool { return !postgres.IsUnavailable(err) }
