// Package quota stores plans and resolves presented keys to their quotas. Key
// and plan are read from Postgres in one query, merged to policies, and cached
// in memory by cache-aside, so that a request with a known key needs no query.
//
// Package ratelimit decides requests; internal/apikeys manages keys and supplies
// the verification of presented keys.
package quota

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/cache"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// KeyVerifier checks presented keys.
type KeyVerifier interface {
	// ParseID returns the id in a presented key, or models.ErrInvalidKey.
	ParseID(presented string) (string, error)
	// Verify reports, in constant time, whether mac is the presented key's
	// under the pepper of that version.
	Verify(presented, pepperVersion string, mac []byte) bool
}

// CacheConfig sets what is cached, and for how long.
type CacheConfig struct {
	Keys  int           // keys in memory, at keyBytes each; 0: DefaultKeys
	TTL   time.Duration // how long a quota is fresh after its load, or after AsOf if that is later
	Stale time.Duration // how long a stale one is served while it is loaded again; never for admin keys

	// AsOf returns the time of the last read of the change log whose changes
	// Invalidate was called for, or zero. nil: changes aren't followed.
	AsOf func() time.Time
}

// DefaultKeys is how many keys are cached by default.
const DefaultKeys = 100_000

// Bounds of the cache. It is bounded in bytes: keyBytes for each of
// CacheConfig.Keys, which a key with scopes and an owner needs. Keys with the
// same policies share them compiled; what those take reduces the bytes for keys.
// Negative entries are cheap to load again.
const (
	keyBytes    = 1024
	maxNegative = 10_000
	negativeTTL = 5 * time.Second
	loadTimeout = 2 * time.Second
)

// maxAge is the age at which a quota is loaded again although the change log has
// no change of it: the log lacks changes made with triggers disabled. 100,000 keys
// in use are loaded 75 times a second.
const maxAge = 30 * time.Minute

// Resolver resolves presented keys to quotas. It is safe for concurrent use.
type Resolver struct {
	db          *pgxpool.Pool
	verifier    KeyVerifier
	mode        *EnforcementMode
	reads       keyReads
	cache       *cache.Aside[keyHash, *resolved]
	shared      *sharedQuotas
	generations generations
}

// keyHash is the SHA-256 of a presented key. Entries are found by it, so that
// the slower HMAC is computed once per load and memory holds no key in clear.
type keyHash [sha256.Size]byte

// resolved is a cache entry.
type resolved struct {
	key    models.APIKey // what a request needs of it
	quota  *ratelimit.Quota
	shared *sharedQuota // what quota is bound from
	shadow struct {     // quota in shadow mode, bound at first use
		once  sync.Once
		quota *ratelimit.Quota
	}
	until    time.Time // when the next override expires; zero: never
	snapshot snapshot
}

// NewResolver returns a Resolver that reads from db. In the global shadow mode
// all quotas that it returns are in shadow mode. The caller must Close it.
func NewResolver(db *pgxpool.Pool, verifier KeyVerifier, mode *EnforcementMode, cfg CacheConfig) (*Resolver, error) {
	r := &Resolver{db: db, reads: keyReads{db: db}, verifier: verifier, mode: mode, shared: newSharedQuotas()}
	var err error
	r.cache, err = cache.NewAside[keyHash](cache.Options[*resolved]{
		Size: cmp.Or(cfg.Keys, DefaultKeys) * keyBytes, Weigh: weigh, Reserved: r.shared.size, LoadTimeout: loadTimeout, TTL: cfg.TTL,
		Stale:        cfg.Stale,
		ServeStale:   func(r *resolved) bool { return !r.key.IsAdmin() },
		Negative:     func(err error) bool { return errors.Is(err, models.ErrInvalidKey) },
		NegativeSize: maxNegative, NegativeTTL: negativeTTL,
		Until: func(r *resolved) time.Time { return r.until },
		Valid: func(r *resolved) bool { return r.snapshot.current() },
		AsOf:  cfg.AsOf, MaxAge: maxAge,
		OnDrop: func(entry *resolved) { r.shared.release(entry.shared) },
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Cached returns what is cached for a presented key at now, and refreshes it in
// the background if it is due or stale. A nil key means that it isn't cached.
// If the result isn't fresh, it must not be served: Resolve must be called.
func (r *Resolver) Cached(presented string, now time.Time) (key *models.APIKey, quota *ratelimit.Quota, fresh bool) {
	hash := keyHash(sha256.Sum256([]byte(presented)))
	entry, state := r.cache.Peek(hash, now)
	switch state {
	case cache.Absent:
		return nil, nil, false
	case cache.Due, cache.Stale:
		r.cache.Refresh(hash, now, r.loader(presented))
	case cache.Fresh, cache.Expired:
	}
	if entry.key.Usable(now) != nil {
		return nil, nil, false
	}
	return &entry.key, r.inForce(entry), state != cache.Expired
}

// Resolve returns the presented key and its quota, from the cache or by one
// query, shared by concurrent callers. Key and quota are shared and must not be
// changed. Errors: models.ErrInvalidKey (unknown, revoked, expired or mistyped);
// models.ErrKeySuspended; models.ErrUnavailable (Postgres is down and nothing cached may be served);
// ctx's.
func (r *Resolver) Resolve(ctx context.Context, presented string, now time.Time) (*models.APIKey, *ratelimit.Quota, error) {
	if _, err := r.verifier.ParseID(presented); err != nil {
		return nil, nil, err
	}
	hash := keyHash(sha256.Sum256([]byte(presented)))
	entry, err := r.cache.Get(ctx, hash, now, r.loader(presented))
	if err != nil {
		return nil, nil, err
	}
	if err := entry.key.Usable(now); err != nil {
		return nil, nil, err
	}
	return &entry.key, r.inForce(entry), nil
}

// inForce returns the entry's quota under the global mode.
func (r *Resolver) inForce(entry *resolved) *ratelimit.Quota {
	if !r.mode.Shadow() {
		return entry.quota
	}
	s := &entry.shadow
	s.once.Do(func() { s.quota = entry.shared.inShadow().For(entry.quota.Subjects()) })
	return s.quota
}

// Invalidate drops the entries that depend on a changed key or plan. Requests
// that begin later see the new state; the result of a load that began earlier
// is not cached.
func (r *Resolver) Invalidate(event models.ChangeEvent) {
	switch event.Kind {
	case models.ChangedKey:
		r.generations.mark(r.generations.key(event.ID))
	case models.ChangedPlan:
		r.generations.mark(r.generations.plan(event.ID))
	default:
		return
	}
	r.cache.Invalidate()
}

// InvalidateAll drops all entries.
func (r *Resolver) InvalidateAll() {
	r.generations.markAll()
	r.cache.Invalidate()
}

// CacheStats returns what the cache of keys did so far.
func (r *Resolver) CacheStats() cache.Stats { return r.cache.Stats() }

// Close ends running loads.
func (r *Resolver) Close() { r.cache.Close() }
