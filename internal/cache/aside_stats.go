package cache

import "sync/atomic"

// Stats counts what an Aside did since it was made.
type Stats struct {
	Hits     int64 // reads of a fresh value
	Stale    int64 // reads of a stale value
	Negative int64 // reads of a value that is known not to exist
	Misses   int64 // reads that waited for a load
	Loaded   int64 // loads, in the background too, that found a value
	Absent   int64 // loads that found that there is none
	Failed   int64 // loads that failed
	Entries  int   // values in memory
}

type asideStats struct {
	_                       [64]byte // keeps hits, which every read writes, off other fields' cache line
	hits                    atomic.Int64
	_                       [64]byte
	stale, negative, misses atomic.Int64
	found, absent, failed   atomic.Int64
}

// loaded counts a load by its error, which is negative if it means that there is
// no value.
func (s *asideStats) loaded(err error, negative bool) {
	switch {
	case err == nil:
		s.found.Add(1)
	case negative:
		s.absent.Add(1)
	default:
		s.failed.Add(1)
	}
}

// Stats returns what the cache did so far.
func (a *Aside[K, V]) Stats() Stats {
	s := &a.stats
	return Stats{
		Hits: s.hits.Load(), Stale: s.stale.Load(), Negative: s.negative.Load(), Misses: s.misses.Load(),
		Loaded: s.found.Load(), Absent: s.absent.Load(), Failed: s.failed.Load(), Entries: a.entries.EstimatedSize(),
	}
}
