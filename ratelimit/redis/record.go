package redis

import (
	"context"
	"time"

	"github.com/redis/rueidis"
)

// PutRecord stores the record of an open reservation for ttl, in the slot of its
// counters. A Give whose Batch.Once is id deletes it. An id is used once.
func (s *Store) PutRecord(ctx context.Context, slot uint64, id string, data []byte, ttl time.Duration) error {
	return s.client.Do(ctx, s.client.B().Set().Key(s.recordKey(slot, id)).Value(rueidis.BinaryString(data)).
		Px(ttl).Build()).Error()
}

// Record returns the record of an open reservation; nil if there is none.
func (s *Store) Record(ctx context.Context, slot uint64, id string) ([]byte, error) {
	data, err := s.client.Do(ctx, s.client.B().Get().Key(s.recordKey(slot, id)).Build()).AsBytes()
	if rueidis.IsRedisNil(err) {
		return nil, nil
	}
	return data, err
}
