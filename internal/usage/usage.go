// Package usage records the requests of each key: their number, their cost, and
// refusals by policy. It counts in memory and writes to Postgres in batches
// (write-behind). It also reads history and refusals, and simulates other
// policies on recorded requests.
package usage

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/cache"
	"ratelimiter/internal/postgres"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// flushInterval is the time between flushes. With the duration of a flush it must
// stay under 3 s, the documented delay of the history. A SIGKILL loses the counts
// of one interval.
const flushInterval = time.Second

// flushTimeout bounds one flush. A flush takes about 10 ms per 1,000 entries.
const flushTimeout = 5 * time.Second

// Bounds of the counts in memory, in entries of about 150 bytes, 75 MB in total.
// An entry is the requests of one key to one route in one second. maxPending
// bounds the entries that are not in a batch yet; requests above it are not
// counted. maxBacklog bounds the entries in batches while Postgres is
// unavailable, about 15 minutes of 500 active keys; the oldest batch above it is
// dropped.
const (
	maxPending = 100_000
	maxBacklog = 400_000
	batchSize  = 5_000
)

// Config configures a Service. All fields are required.
type Config struct {
	Log      *slog.Logger
	NewStore func() ratelimit.Store // returns an empty store for a simulation
}

// Service records, reads and simulates usage. It is safe for concurrent use.
type Service struct {
	db       *pgxpool.Pool
	log      *slog.Logger
	newStore func() ratelimit.Store

	counts       *cache.WriteBehind[cell, counts]
	refusals     *cache.WriteBehind[string, keyRefusals]
	uncounted    atomic.Int64 // requests, since New
	notYetLogged atomic.Int64 // uncounted requests that haven't been logged
	diskFull     atomic.Bool  // Postgres's, at the last write

	droppedRefusals atomic.Int64 // records, since New

	simulating chan struct{} // semaphore of size 1
}

// New returns a Service on db. It records at once and writes after Start.
func New(db *pgxpool.Pool, cfg Config) *Service {
	s := &Service{db: db, log: cfg.Log, newStore: cfg.NewStore, simulating: make(chan struct{}, 1)}
	s.counts = cache.NewWriteBehind(cache.WriteBehindOptions[cell, counts]{
		Size: maxPending, Backlog: maxBacklog, BatchSize: batchSize, Interval: flushInterval, Timeout: flushTimeout,
		Hash: newCellHash(), Flush: s.flushCounts, Permanent: postgres.IsPermanent, OnDrop: s.onCountsDropped,
	})
	s.refusals = cache.NewWriteBehind(cache.WriteBehindOptions[string, keyRefusals]{
		Size: maxRefusalsPending, Backlog: maxRefusalsBacklog, BatchSize: refusalBatch, Interval: flushInterval, Timeout: flushTimeout,
		Flush: s.flushRefusals, Permanent: postgres.IsPermanent, OnDrop: s.onRefusalsDropped,
	})
	return s
}

// Record counts one completed request. at is the time of its arrival. Record
// doesn't retain decision. A route with cost 0 updates only the key's last use.
// Record never waits for the database and allocates only if a policy refuses.
func (s *Service) Record(request *models.Request, route *models.Route, at time.Time, outcome ratelimit.Outcome, decision *ratelimit.Decision) {
	ms := at.UnixMilli()
	allowed := decision.Allowed
	if !s.counts.Update(cell{key: request.Key.ID, route: route, second: ms / 1000}, func(c *counts) {
		c.add(outcome, allowed, uint16(ms%1000))
	}) {
		s.addUncounted(1)
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

// Lost returns the number of requests that were not counted since New, because a
// buffer was full or a batch was dropped.
func (s *Service) Lost() int64 { return s.uncounted.Load() }

// Backlog returns how many entries of counts and of refusals aren't written yet.
func (s *Service) Backlog() (counts, refusals int64) { return s.counts.Len(), s.refusals.Len() }

// DroppedRefusals returns how many records of a key's refusals were dropped since
// New, because a buffer was full or a batch was dropped.
func (s *Service) DroppedRefusals() int64 { return s.droppedRefusals.Load() }

// Flush writes everything recorded before the call. If it returns an error of
// Postgres, the writes are retried later.
func (s *Service) Flush(ctx context.Context) error {
	return errors.Join(s.counts.Flush(ctx), s.refusals.Flush(ctx))
}

// Name returns "usage".
func (*Service) Name() string { return "usage" }

// Start begins to write.
func (s *Service) Start(context.Context) error {
	s.counts.Start()
	s.refusals.Start()
	return nil
}

// stopTimeout bounds Stop when Postgres doesn't accept writes.
const stopTimeout = 5 * time.Second

// Stop writes everything recorded and stops the background work. It must be
// called after the last Record. It returns an error if Postgres didn't accept
// all writes in time.
func (s *Service) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	return errors.Join(s.counts.Close(ctx), s.refusals.Close(ctx))
}

func (s *Service) addUncounted(requests int64) {
	s.uncounted.Add(requests)
	s.notYetLogged.Add(requests)
}

// logUncounted logs the uncounted requests since its last call.
func (s *Service) logUncounted() {
	if n := s.notYetLogged.Swap(0); n > 0 {
		s.log.Error("usage: buffer full, requests not counted", "requests", n)
	}
}

// DiskFull reports whether the last write failed because Postgres has no space.
// Failed writes are retried each flushInterval.
func (s *Service) DiskFull() bool { return s.diskFull.Load() }
