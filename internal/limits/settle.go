package limits

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// Records keeps records of open reservations where every instance finds them.
type Records interface {
	// PutRecord keeps a record for ttl. An error means that it may not be kept.
	PutRecord(ctx context.Context, slot uint64, name string, data []byte, ttl time.Duration) error
	// Record returns a record, or nil if it has expired or was deleted. An error
	// means that the records can't be reached.
	Record(ctx context.Context, slot uint64, name string) ([]byte, error)
}

// keep keeps a reservation in a place that was taken and returns its id. If the
// records can't be reached, only this instance can settle it.
func (s *Service) keep(ctx context.Context, owner string, r *ratelimit.Reservation, slot uint64, expiresAt time.Time, lifetime time.Duration) string {
	id := reservationID{slot: slot, name: newRecordName()}
	if s.records != nil && !r.Alone() {
		data, err := r.MarshalBinary()
		if err == nil {
			err = s.records.PutRecord(ctx, slot, id.name, data, lifetime)
		}
		if id.shared = err == nil; id.shared {
			r.SetRecord(id.name)
		}
	}
	text := id.text(s.idKey, owner)
	s.open.add(owner, text, r, expiresAt)
	return text
}

// find returns an owner's open reservation, of whichever instance. Errors:
// models.ErrNotFound, models.ErrUnavailable.
func (s *Service) find(ctx context.Context, owner, text string) (*ratelimit.Reservation, error) {
	id, ok := parseID(s.idKey, owner, text)
	if !ok {
		return nil, models.ErrNotFound
	}
	if r := s.open.get(text, s.now()); r != nil {
		return r, nil
	}
	if !id.shared || s.records == nil {
		return nil, models.ErrNotFound
	}
	data, err := s.records.Record(ctx, id.slot, id.name)
	if err != nil {
		return nil, fmt.Errorf("%w: read reservation: %w", models.ErrUnavailable, err)
	}
	if data == nil {
		return nil, models.ErrNotFound
	}
	r := new(ratelimit.Reservation)
	if err := s.limiter.Resume(r, id.name, data); err != nil {
		return nil, models.LimiterFailed(err)
	}
	return r, nil
}

// settled forgets a reservation. A concurrent call may have settled it first.
func (s *Service) settled(id string, err error) error {
	s.open.remove(id)
	switch {
	case errors.Is(err, ratelimit.ErrSettled):
		return models.ErrNotFound
	case err != nil:
		return models.LimiterFailed(err)
	default:
		return nil
	}
}
