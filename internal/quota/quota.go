// Package quota answers the question that every request asks: whose key is
// this, and which policies hold for it? Key and plan are read from Postgres in
// one query, resolved to policies, and kept in memory by cache-aside, so that
// a request with a known key touches no database.
//
// It doesn't decide: that is package ratelimit's. It doesn't make keys: that is
// internal/apikeys, which lends it the check of a presented key.
package quota

import (
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/maypok86/otter/v2"

	"ratelimiter/internal/cache"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// KeyChecker tells real keys from made-up ones.
type KeyChecker interface {
	// ParseID returns the id in a presented key, or models.ErrInvalidKey.
	ParseID(presented string) (string, error)
	// Verify reports, in constant time, whether mac is the presented key's
	// under the pepper of that version.
	Verify(presented, pepperVersion string, mac []byte) bool
}

// Config says how long quotas are kept in memory.
type Config struct {
	TTL   time.Duration // how long a quota is fresh
	Stale time.Duration // how long a stale one is served while Postgres is down; admin keys excepted
}

// Bounds of the cache. An entry takes about 1 KB, for keys on one
// plan share what is compiled, so the first is at most about 100 MB; the second is small, for what it holds is worth little.
const (
	maxEntries  = 100_000
	maxNegative = 10_000
	negativeTTL = 5 * time.Second
	loadTimeout = 2 * time.Second
)

// Service resolves presented keys to their quotas. Its methods may be called
// from any goroutine.
type Service struct {
	db    *pgxpool.Pool
	check KeyChecker
	calm  *Calm
	cache *cache.Aside[presentedHash, *resolved]
	plans *otter.Cache[string, *ratelimit.Quota] // compiled, by the text of their policies

	changes changes
}

// presentedHash is the SHA-256 of a presented key. In memory a key is found by
// it, so that the ten times dearer HMAC is paid once a load, and no key is held
// in clear.
type presentedHash [sha256.Size]byte

// resolved is what the cache holds of a key.
type resolved struct {
	key    models.APIKey
	quota  *ratelimit.Quota
	shadow shadowed  // of quota
	until  time.Time // when the next override ends to count; zero: none does
	basis  basis     // what it was read from
}

// New returns a Service that reads from db. While calm is on, every quota that
// it answers with is in shadow mode. Close it when its owner ends.
func New(db *pgxpool.Pool, check KeyChecker, calm *Calm, cfg Config) (*Service, error) {
	aside, err := cache.NewAside[presentedHash](cache.Options[*resolved]{
		Size: maxEntries, LoadTimeout: loadTimeout, TTL: cfg.TTL,
		Stale:        cfg.Stale,
		ServeStale:   func(r *resolved) bool { return !r.key.IsAdmin() },
		Negative:     func(err error) bool { return errors.Is(err, models.ErrInvalidKey) },
		NegativeSize: maxNegative, NegativeTTL: negativeTTL,
		Until: func(r *resolved) time.Time { return r.until },
		Valid: func(r *resolved) bool { return r.basis.stands() },
	})
	if err != nil {
		return nil, err
	}
	plans, err := otter.New(&otter.Options[string, *ratelimit.Quota]{MaximumSize: maxPlans})
	if err != nil {
		return nil, err
	}
	return &Service{db: db, check: check, calm: calm, cache: aside, plans: plans}, nil
}

// Cached returns what memory holds of a presented key at now. A nil key: memory
// doesn't know it. Not fresh: Resolve has to be asked.
func (s *Service) Cached(presented string, now time.Time) (key *models.APIKey, quota *ratelimit.Quota, fresh bool) {
	hash := presentedHash(sha256.Sum256([]byte(presented)))
	r, state := s.cache.Peek(hash, now)
	switch state {
	case cache.Absent:
		return nil, nil, false
	case cache.Due:
		s.cache.Refresh(hash, now, s.loader(presented))
	case cache.Fresh, cache.Stale, cache.Expired:
	}
	if r.key.Status(now) != models.KeyActive {
		return nil, nil, false
	}
	return &r.key, s.inForce(r), state == cache.Fresh || state == cache.Due
}

// Resolve returns the key that was presented and its quota, from memory or by
// one query however many ask at once. Both are shared: callers must not change
// them. Errors: models.ErrInvalidKey (unknown, revoked, expired or mistyped);
// models.ErrUnavailable (Postgres can't be asked, and memory has nothing that
// may be served); ctx's.
func (s *Service) Resolve(ctx context.Context, presented string, now time.Time) (*models.APIKey, *ratelimit.Quota, error) {
	if _, err := s.check.ParseID(presented); err != nil {
		return nil, nil, err
	}
	hash := presentedHash(sha256.Sum256([]byte(presented)))
	r, err := s.cache.Get(ctx, hash, now, s.loader(presented))
	if err != nil {
		return nil, nil, err
	}
	if r.key.Status(now) != models.KeyActive {
		return nil, nil, models.ErrInvalidKey
	}
	return &r.key, s.inForce(r), nil
}

// inForce is the quota that counts now.
func (s *Service) inForce(r *resolved) *ratelimit.Quota {
	if s.calm.On() {
		return r.shadow.of(r.quota)
	}
	return r.quota
}

// Close ends the loads under way.
func (s *Service) Close() {
	s.cache.Close()
	s.plans.StopAllGoroutines()
}
