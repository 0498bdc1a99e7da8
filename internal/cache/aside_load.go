package cache

import (
	"context"
	"fmt"
	"time"
)

// flight is one load. Its result is valid after done is closed.
type flight[V any] struct {
	epoch    uint64    // Aside.epoch at its start
	at       time.Time // of its start, by the caller's clock
	replaces *entry[V] // cached at its start; nil: none
	running  bool      // false: resolved without a load
	refresh  bool      // one of Aside.refreshes
	outdated bool      // WriteThrough has a later value: the result isn't cached
	done     chan struct{}
	value    V
	err      error
}

// start returns the running load of key, or begins one. If the key has been
// loaded since the caller's lookup, it returns that result.
func (a *Aside[K, V]) start(key K, now time.Time, load Load[V]) *flight[V] {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.startLocked(key, now, load)
}

// startLocked is start for callers that hold a.mu.
func (a *Aside[K, V]) startLocked(key K, now time.Time, load Load[V]) *flight[V] {
	if f, running := a.flights[key]; running && f.epoch == a.epoch {
		return f
	}
	f := &flight[V]{epoch: a.epoch, at: now, done: make(chan struct{})}
	if a.resolve(f, key, now) {
		close(f.done)
		return f
	}
	f.running = true
	a.flights[key] = f
	a.loads.Go(func() { a.run(key, load, f) })
	return f
}

// resolve sets f's result without a load, if possible. a.mu must be held.
func (a *Aside[K, V]) resolve(f *flight[V], key K, now time.Time) bool {
	if a.closed {
		f.err = context.Canceled
		return true
	}
	e, found := a.entries.GetIfPresent(key)
	if found && a.state(e, now) == Fresh {
		f.value = e.value
		return true
	}
	f.replaces = e
	n, absent := a.negative.GetIfPresent(key)
	if absent = absent && now.Before(n.expiresAt); absent {
		f.err = n.err
	}
	return absent
}

// run executes a load, stores its result and wakes the waiters.
func (a *Aside[K, V]) run(key K, load Load[V], f *flight[V]) {
	ctx, cancel := context.WithTimeout(a.ctx, a.opts.LoadTimeout)
	defer cancel()
	f.value, f.err = withRecover(ctx, load)
	a.stats.loaded(f.err, f.err != nil && a.isNegative(f.err))
	a.mu.Lock()
	if a.flights[key] == f {
		delete(a.flights, key)
	}
	if f.refresh {
		a.refreshes--
	}
	a.store(key, f, time.Now()) // atomic with respect to Invalidate
	a.mu.Unlock()
	close(f.done)
}

// store caches the result of a load. A load that began before an invalidation
// may have read outdated data: its value is cached only if it is valid, and its
// negative result removes only the entry that was cached then. a.mu must be held.
func (a *Aside[K, V]) store(key K, f *flight[V], now time.Time) {
	switch {
	case f.err == nil:
		if a.isValid(f.value) && !f.outdated {
			a.setLocked(key, f.value, now)
		} else if a.opts.OnDrop != nil {
			a.opts.OnDrop(f.value)
		}
	case f.outdated:
	case a.isNegative(f.err):
		if e, found := a.entries.GetIfPresent(key); found && e == f.replaces {
			a.entries.Invalidate(key)
		}
		if f.epoch == a.epoch {
			a.negative.Set(key, negative{err: f.err, expiresAt: now.Add(a.opts.NegativeTTL)})
		}
	default:
		if e, found := a.entries.GetIfPresent(key); found {
			if f.at.After(now) { // the caller's clock is ahead
				now = f.at
			}
			e.failedAt.Store(&now)
		}
	}
}

// setLocked caches a value. a.mu must be held.
func (a *Aside[K, V]) setLocked(key K, value V, now time.Time) {
	a.entries.Set(key, a.newEntry(value, now))
	a.resize()
	a.negative.Invalidate(key)
}

// resize leaves room for what is reserved of the size. a.mu must be held.
func (a *Aside[K, V]) resize() {
	if a.opts.Reserved == nil {
		return
	}
	if reserved := a.opts.Reserved(); reserved != a.reserved {
		a.reserved = reserved
		a.entries.SetMaximum(uint64(max(0, a.opts.Size-reserved))) // evicts what exceeds it
	}
}

// withRecover calls load and turns a panic into an error.
func withRecover[V any](ctx context.Context, load Load[V]) (value V, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return load(ctx)
}
