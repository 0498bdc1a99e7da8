package apikeys

import (
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/models"
)

// Filter recognizes the live keys of the database from memory, so that made-up
// keys cost no query. It holds a part of each key's MAC by the hash of its id:
// an unknown id and a wrong secret are refused by the same steps. It is loaded
// once and again whenever the change feed has lost its place; then the change
// feed keeps it current. It is safe for concurrent use.
type Filter struct {
	db      *pgxpool.Pool
	log     *slog.Logger
	peppers *Peppers
	current func() bool
	seed    maphash.Seed

	wake   chan struct{} // capacity 1
	cancel context.CancelFunc
	ended  sync.WaitGroup

	mu      sync.RWMutex
	tags    map[uint64]uint64   // by hash of id; 0: must be read. nil before the first InvalidateAll
	changed map[string]struct{} // ids whose tags must be read
	all     bool                // all tags must be read
	loaded  bool                // all tags were read
	changes uint64              // number of invalidations so far
}

// Bounds of the filter.
const (
	// maxChanged is how many tags are read one by one. Reading all is cheaper
	// than more.
	maxChanged = 10_000
	// filterPage is how many keys one statement reads; it takes milliseconds.
	filterPage = 10_000
	// filterTimeout bounds one statement.
	filterTimeout = 5 * time.Second
	// filterRetry is the pause after a failed read.
	filterRetry = time.Second
)

// NewFilter returns an empty Filter of the keys in db that were hashed with
// peppers. current reports whether the change feed is up to date.
func NewFilter(db *pgxpool.Pool, log *slog.Logger, peppers *Peppers, current func() bool) *Filter {
	return &Filter{
		db: db, log: log, peppers: peppers, current: current, seed: maphash.MakeSeed(),
		wake: make(chan struct{}, 1), changed: map[string]struct{}{},
	}
}

// Check judges a presented key. Every well-formed key takes the same steps.
func (f *Filter) Check(presented string) models.KeyVerdict {
	id, err := ParseID(presented)
	if err != nil {
		return models.KeyMalformed
	}
	usable := f.current()
	f.mu.RLock()
	tag, found := f.tags[f.hash(id)]
	usable = usable && f.loaded && (tag != 0 || !found)
	f.mu.RUnlock()
	switch matches := f.peppers.hasTag(presented, tag); {
	case matches:
		return models.KeyLive
	case usable:
		return models.KeyUnknown
	default:
		return models.KeyUndecided
	}
}

// LookUp reports whether Postgres has a live key with the presented id and
// secret, and remembers what it has. Errors: models.ErrUnavailable.
func (f *Filter) LookUp(ctx context.Context, presented string) (live bool, err error) {
	id, err := ParseID(presented)
	if err != nil {
		return false, nil //nolint:nilerr // no key has this form
	}
	f.mu.RLock()
	before := f.changes
	f.mu.RUnlock()
	var tag uint64
	err = f.query(ctx, tagsQuery, []string{id}, func(_ string, read uint64) { tag = read })
	if err != nil {
		return false, fmt.Errorf("%w: look up key: %w", models.ErrUnavailable, err)
	}
	f.mu.Lock()
	if f.tags != nil && f.changes == before { // otherwise tag may be out of date
		f.set(id, tag)
	}
	f.mu.Unlock()
	return f.peppers.hasTag(presented, tag), nil
}

// Invalidate makes the filter read a changed key again. Until it has, the key's
// verdict is KeyUndecided.
func (f *Filter) Invalidate(event models.ChangeEvent) {
	if event.Kind != models.ChangedKey {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tags == nil {
		return // the change feed hasn't begun
	}
	if len(f.changed) >= maxChanged {
		f.all, f.loaded = true, false
		for id := range f.changed {
			delete(f.tags, f.hash(id))
		}
		clear(f.changed)
	}
	f.changes++
	f.changed[event.ID] = struct{}{}
	f.tags[f.hash(event.ID)] = 0
	f.signal()
}

// InvalidateAll makes the filter read all keys again. Until it has, no verdict is
// KeyUnknown.
func (f *Filter) InvalidateAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tags == nil {
		f.tags = map[uint64]uint64{}
	}
	f.changes++
	f.all, f.loaded = true, false
	f.signal()
}

// signal wakes the reader.
func (f *Filter) signal() {
	select {
	case f.wake <- struct{}{}:
	default: // awake already
	}
}

func (f *Filter) hash(id string) uint64 { return maphash.String(f.seed, id) }

// set remembers the tag of a key; 0: there is no such live key. f.mu must be
// held.
func (f *Filter) set(id string, tag uint64) {
	if tag == 0 {
		delete(f.tags, f.hash(id))
	} else {
		f.tags[f.hash(id)] = tag
	}
}

// FilterStats is the state of a Filter.
type FilterStats struct {
	Keys     int  // keys in memory
	Pending  int  // keys that changed and must be read again
	Complete bool // unknown keys are recognized without a query
}

// Stats returns the state of the filter.
func (f *Filter) Stats() FilterStats {
	complete := f.current()
	f.mu.RLock()
	defer f.mu.RUnlock()
	return FilterStats{Keys: len(f.tags), Pending: len(f.changed), Complete: complete && f.loaded}
}
