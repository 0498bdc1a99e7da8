package cache

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// State is the state of a key in an Aside.
type State int

// States of a key.
const (
	Absent  State = iota // not cached
	Expired              // expired or invalid, and must not be served
	Stale                // expired, but may be served, and due for Refresh
	Due                  // fresh, and due for Refresh
	Fresh
)

// refreshAhead is the fraction of an entry's lifetime after which it is due for
// a refresh in the background, so that keys in use never wait for a load.
const refreshAhead = 0.8

// entry is a cached value.
type entry[V any] struct {
	value    V
	loadedAt time.Time
	lifetime time.Duration             // from loadedAt or Options.AsOf on
	trusted  time.Duration             // Options.AsOf is used until loadedAt + trusted
	until    time.Time                 // of Options.Until
	failedAt atomic.Pointer[time.Time] // end of the last failed load; nil: none has failed
}

func (a *Aside[K, V]) newEntry(value V, now time.Time) *entry[V] {
	e := &entry[V]{
		value: value, loadedAt: now,
		lifetime: jittered(a.opts.TTL, 0.9), trusted: jittered(a.opts.MaxAge, 0.5),
	}
	if a.opts.Until != nil {
		e.until = a.opts.Until(value)
	}
	return e
}

// jittered returns a random duration from the fraction least of d to d.
func jittered(d time.Duration, least float64) time.Duration {
	return time.Duration(float64(d) * (least + (1-least)*rand.Float64()))
}

func (e *entry[V]) mayRetry(now time.Time) bool {
	failedAt := e.failedAt.Load()
	return failedAt == nil || !now.Before(failedAt.Add(retryAfterFailure))
}

// hasFailedSince reports whether a load has failed at or after a time.
func (e *entry[V]) hasFailedSince(at time.Time) bool {
	failedAt := e.failedAt.Load()
	return failedAt != nil && !failedAt.Before(at)
}

// state returns the state of an entry at now.
func (a *Aside[K, V]) state(e *entry[V], now time.Time) State {
	asOf := a.asOf(e) // before Valid, which may not know of later changes
	if !a.isValid(e.value) {
		return Expired
	}
	expiresAt, ends := asOf.Add(e.lifetime), false
	if !e.until.IsZero() && e.until.Before(expiresAt) {
		expiresAt, ends = e.until, true
	}
	switch refreshAt := asOf.Add(time.Duration(refreshAhead * float64(expiresAt.Sub(asOf)))); {
	case now.Before(expiresAt):
		if now.Before(refreshAt) || !e.mayRetry(now) {
			return Fresh
		}
		return Due
	case !now.Before(expiresAt.Add(a.opts.Stale)):
		return Absent
	case ends && !e.hasFailedSince(e.until), a.opts.ServeStale != nil && !a.opts.ServeStale(e.value):
		return Expired
	default:
		return Stale
	}
}

// asOf returns when the entry's TTL begins.
func (a *Aside[K, V]) asOf(e *entry[V]) time.Time {
	if a.opts.AsOf == nil {
		return e.loadedAt
	}
	asOf := a.opts.AsOf()
	if latest := e.loadedAt.Add(e.trusted); asOf.After(latest) {
		return latest
	}
	if asOf.Before(e.loadedAt) {
		return e.loadedAt
	}
	return asOf
}

func (a *Aside[K, V]) isValid(value V) bool { return a.opts.Valid == nil || a.opts.Valid(value) }
