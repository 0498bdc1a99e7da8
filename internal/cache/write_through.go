package cache

import (
	"context"
	"fmt"
	"time"
)

// WriteThrough is a cache whose writers change the source and then the cache,
// before they return: a read that begins after a write has returned gets that
// write or a later one, without a load. Reads load missing values like those of an
// Aside.
//
// Values have versions, which rise with every write to the source. They order
// writes that end at the same time, and this instance's writes and the changes of
// other instances, which Invalidate announces. What they don't order, such as a
// Put that arrives after the invalidation by a later write, is out of date until
// the entry's end: Options.TTL or Options.Until. A crash loses no acknowledged
// write.
//
// WriteThrough is safe for concurrent use.
type WriteThrough[K comparable, V any] struct {
	aside   *Aside[K, V]
	load    func(ctx context.Context, key K) (V, error)
	version func(V) int64
}

// NewWriteThrough returns an empty cache of values that load reads from the source;
// see Load. version returns the version of a value. The caller must Close the cache.
func NewWriteThrough[K comparable, V any](opts Options[V], load func(ctx context.Context, key K) (V, error), version func(V) int64) (*WriteThrough[K, V], error) {
	aside, err := NewAside[K](opts)
	if err != nil {
		return nil, fmt.Errorf("write-through: %w", err)
	}
	return &WriteThrough[K, V]{aside: aside, load: load, version: version}, nil
}

// Get returns the value of key at now, cached or loaded; see Aside.Get. An entry in
// use is loaded again before it ends, so that no caller waits for that.
func (w *WriteThrough[K, V]) Get(ctx context.Context, key K, now time.Time) (V, error) {
	value, state := w.aside.Peek(key, now)
	if state == Fresh { // nothing is allocated
		return value, nil
	}
	load := func(ctx context.Context) (V, error) { return w.load(ctx, key) }
	if state == Due || state == Stale {
		w.aside.Refresh(key, now, load)
		return value, nil
	}
	return w.aside.Get(ctx, key, now, load)
}

// Put caches the value that a write has stored at the source, unless a later
// version is cached. Running loads of key may have read the source before the
// write: their results go to the callers that wait for them, and aren't cached.
func (w *WriteThrough[K, V]) Put(key K, value V) {
	a := w.aside
	a.mu.Lock()
	defer a.mu.Unlock()
	if !w.isLater(key, w.version(value)) {
		a.outdateLocked(key)
		a.setLocked(key, value, time.Now())
	}
}

// Remove drops the value of key: it has changed at the source, or may have. A read
// that begins later loads it.
func (w *WriteThrough[K, V]) Remove(key K) {
	a := w.aside
	a.mu.Lock()
	defer a.mu.Unlock()
	w.removeLocked(key)
}

// Invalidate drops the value of key unless the cached one is at least of this
// version, as after this instance's own write. Version 0: it was deleted.
func (w *WriteThrough[K, V]) Invalidate(key K, version int64) {
	a := w.aside
	a.mu.Lock()
	defer a.mu.Unlock()
	if version == 0 || !w.isLater(key, version-1) {
		w.removeLocked(key)
	}
}

// InvalidateAll drops everything.
func (w *WriteThrough[K, V]) InvalidateAll() {
	a := w.aside
	a.mu.Lock()
	defer a.mu.Unlock()
	for key := range a.flights {
		a.outdateLocked(key)
	}
	a.entries.InvalidateAll()
	a.negative.InvalidateAll()
}

// isLater reports whether the cached value of key has a later version.
func (w *WriteThrough[K, V]) isLater(key K, version int64) bool {
	e, found := w.aside.entries.GetIfPresent(key)
	return found && w.version(e.value) > version
}

func (w *WriteThrough[K, V]) removeLocked(key K) {
	w.aside.outdateLocked(key)
	w.aside.entries.Invalidate(key)
	w.aside.negative.Invalidate(key)
}

// outdateLocked makes the running load of key neither cached nor shared with
// callers that come later. a.mu must be held.
func (a *Aside[K, V]) outdateLocked(key K) {
	if f := a.flights[key]; f != nil {
		f.outdated = true
		delete(a.flights, key)
	}
}

// Len returns the number of cached values; see Aside.Len.
func (w *WriteThrough[K, V]) Len() int { return w.aside.Len() }

// Stats returns what the cache did so far.
func (w *WriteThrough[K, V]) Stats() Stats { return w.aside.Stats() }

// Close cancels running loads and waits for them; see Aside.Close.
func (w *WriteThrough[K, V]) Close() { w.aside.Close() }
