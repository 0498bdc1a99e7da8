package app

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/rueidis"

	"ratelimiter/internal/redisfacts"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/redis"
)

const (
	// reconnectInterval is the pause between two attempts to reach a Redis that has
	// never answered. After that, the client reconnects by itself.
	reconnectInterval = time.Second
	// inspectTimeout bounds the check of the servers' configuration.
	inspectTimeout = 5 * time.Second
)

var errNotConnected = errors.New("redis: not connected")

// redisStore is a ratelimit.Store and a component: the counters in Redis. Until
// the servers have been reached, every call fails at once.
type redisStore struct {
	url       string
	timeout   time.Duration
	log       *slog.Logger
	options   []redis.Option
	durations *prometheus.HistogramVec // of calls, by call

	connected atomic.Pointer[redisConnection]
	cancel    context.CancelFunc
	ended     sync.WaitGroup
}

type redisConnection struct {
	client rueidis.Client
	store  *redis.Store
}

var _ ratelimit.Store = (*redisStore)(nil)

// Name returns "redis".
func (*redisStore) Name() string { return "redis" }

// Start connects. If that fails, it is repeated in the background.
func (s *redisStore) Start(ctx context.Context) error {
	err := s.connect(ctx)
	ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err == nil {
		return nil
	}
	s.log.Warn("redis: not reachable at start: deciding alone", "error", err.Error())
	s.ended.Go(func() {
		ticker := time.NewTicker(reconnectInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if s.connect(ctx) == nil {
					s.log.Info("redis: connected")
					return
				}
			}
		}
	})
	return nil
}

// connect connects, and logs what is wrong with the servers' configuration.
func (s *redisStore) connect(ctx context.Context) error {
	client, err := redis.Connect(s.url, s.timeout)
	if err != nil {
		return err
	}
	s.connected.Store(&redisConnection{client: client, store: redis.New(client, s.options...)})
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	servers, err := redisfacts.Inspect(ctx, client)
	if err != nil {
		s.log.Warn("redis: configuration not checked", "error", err.Error())
	}
	for _, facts := range servers {
		for _, warning := range facts.Warnings() {
			s.log.Warn("redis: "+warning, "server", facts.Addr)
		}
	}
	return nil
}

// Stop closes the connections.
func (s *redisStore) Stop(context.Context) error {
	s.cancel()
	s.ended.Wait()
	if c := s.connected.Load(); c != nil {
		c.client.Close()
	}
	return nil
}

// call calls the store and measures it.
func (s *redisStore) call(name string, do func(*redis.Store) error) error {
	c := s.connected.Load()
	if c == nil {
		return errNotConnected
	}
	began := time.Now()
	err := do(c.store)
	s.durations.WithLabelValues(name).Observe(time.Since(began).Seconds())
	return err
}

// Take implements ratelimit.Store.
func (s *redisStore) Take(ctx context.Context, b *ratelimit.Batch) error {
	return s.call("take", func(r *redis.Store) error { return r.Take(ctx, b) })
}

// Give implements ratelimit.Store.
func (s *redisStore) Give(ctx context.Context, b *ratelimit.Batch) error {
	return s.call("give", func(r *redis.Store) error { return r.Give(ctx, b) })
}

// Renew implements ratelimit.Store.
func (s *redisStore) Renew(ctx context.Context, b *ratelimit.Batch) error {
	return s.call("renew", func(r *redis.Store) error { return r.Renew(ctx, b) })
}

// Reset implements ratelimit.Store.
func (s *redisStore) Reset(ctx context.Context, b *ratelimit.Batch) error {
	return s.call("reset", func(r *redis.Store) error { return r.Reset(ctx, b) })
}

// redisRecords implements limits.Records in Redis.
type redisRecords struct {
	store *redisStore
	down  func() bool
}

// PutRecord implements limits.Records. While Redis is known to be down, it fails
// at once.
func (r *redisRecords) PutRecord(ctx context.Context, slot uint64, name string, data []byte, ttl time.Duration) error {
	if r.down() {
		return errNotConnected
	}
	ctx, cancel := context.WithTimeout(ctx, r.store.timeout)
	defer cancel()
	return r.store.call("put_record", func(s *redis.Store) error { return s.PutRecord(ctx, slot, name, data, ttl) })
}

// Record implements limits.Records.
func (r *redisRecords) Record(ctx context.Context, slot uint64, name string) (data []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.store.timeout)
	defer cancel()
	err = r.store.call("record", func(s *redis.Store) error {
		data, err = s.Record(ctx, slot, name)
		return err
	})
	return data, err
}
