package streams

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"ratelimiter/models"
)

// ReadKeys returns those of the keys with these ids that exist, in any order. Errors:
// models.ErrUnavailable.
type ReadKeys func(ctx context.Context, ids []string) ([]models.APIKey, error)

const (
	// readBatch is how many keys one query reads.
	readBatch   = 500
	readTimeout = 2 * time.Second
	// retryPause is the average pause after a failed read. Until Postgres can be
	// read, the streams of a changed key stay open: they bring nothing either.
	retryPause = 500 * time.Millisecond
	// recheckInterval is how often all keys are read while changes aren't heard of,
	// because only the connection that listens for them is lost. The change feed counts as
	// current for 6 s after its last read: a change is in force within 10 s.
	recheckInterval = 2 * time.Second
)

// Invalidate has the streams of a changed key checked.
func (s *Streams) Invalidate(event models.ChangeEvent) {
	if event.Kind != models.ChangedKey {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byKey[event.ID] != nil {
		s.markStale(event.ID)
	}
}

// InvalidateAll has all streams checked.
func (s *Streams) InvalidateAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.byKey {
		s.markStale(id)
	}
}

// markStale has a key read again. s.mu is held.
func (s *Streams) markStale(ids ...string) {
	for _, id := range ids {
		s.stale[id] = true
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// watch checks streams whose key has changed, and all while changes aren't heard of,
// until ctx ends.
func (s *Streams) watch(ctx context.Context) {
	recheck := time.NewTicker(recheckInterval)
	defer recheck.Stop()
	for {
		select {
		case <-s.wake:
		case <-recheck.C:
			if s.current() {
				continue
			}
			s.InvalidateAll()
		case <-ctx.Done():
			return
		}
		if err := s.check(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("event streams: keys can't be read", "error", err.Error())
			select {
			case <-time.After(retryPause/2 + rand.N(retryPause)):
			case <-ctx.Done():
			}
		}
	}
}

// check reads the stale keys and ends the streams that they don't allow. Those
// that can't be read stay stale.
func (s *Streams) check(ctx context.Context) error {
	s.mu.Lock()
	ids := slices.Collect(maps.Keys(s.stale))
	clear(s.stale)
	s.mu.Unlock()
	for len(ids) > 0 {
		batch := ids[:min(readBatch, len(ids))]
		found, err := s.read(ctx, batch)
		if err != nil {
			s.mu.Lock()
			s.markStale(ids...)
			s.mu.Unlock()
			return err
		}
		s.apply(batch, found)
		ids = ids[len(batch):]
	}
	return nil
}

func (s *Streams) read(ctx context.Context, ids []string) (map[string]*models.APIKey, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	keys, err := s.readKeys(ctx, ids)
	found := make(map[string]*models.APIKey, len(keys))
	for i := range keys {
		found[keys[i].ID] = &keys[i]
	}
	return found, err
}

// apply ends the streams that the keys don't allow.
func (s *Streams) apply(ids []string, keys map[string]*models.APIKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, id := range ids {
		for st := range s.byKey[id] {
			if reason := st.refusedBy(keys[id], now); reason != "" {
				st.end(reason)
			} else {
				st.expireAt(keys[id].ExpiresAt)
			}
		}
	}
}

// refusedBy returns why the stream may not go on with its key as it is at now;
// empty: it may. A nil key doesn't exist.
func (st *stream) refusedBy(key *models.APIKey, now time.Time) models.StreamEnd {
	switch {
	case key == nil:
		return models.StreamKeyInvalid
	case errors.Is(key.Usable(now), models.ErrKeySuspended):
		return models.StreamKeySuspended
	case key.Usable(now) != nil:
		return models.StreamKeyInvalid
	case key.Owner != st.owner:
		return models.StreamOwnerChanged
	case !key.Has(st.scope):
		return models.StreamScopeMissing
	case !key.AllowsAddress(st.address):
		return models.StreamAddressNotAllowed
	default:
		return ""
	}
}

// expireAt has the stream end when its key expires; nil: never. The mutex of the
// Streams is held.
func (st *stream) expireAt(at *time.Time) {
	var expiresAt time.Time
	if at != nil {
		expiresAt = *at
	}
	if expiresAt.Equal(st.expiresAt) {
		return
	}
	st.expiresAt = expiresAt
	if st.expiry != nil {
		st.expiry.Stop()
		st.expiry = nil
	}
	if at != nil {
		st.expiry = time.AfterFunc(time.Until(*at), func() { st.end(models.StreamKeyInvalid) })
	}
}
