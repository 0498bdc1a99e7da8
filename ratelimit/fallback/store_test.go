package fallback_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/fallback"
	"ratelimiter/ratelimit/memory"
	"ratelimiter/ratelimit/storetest"
)

var errDown = errors.New("connection refused")

// down is a shared store that never answers, except to resets.
type down struct{ ratelimit.Store }

func (down) Take(context.Context, *ratelimit.Batch) error  { return errDown }
func (down) Give(context.Context, *ratelimit.Batch) error  { return errDown }
func (down) Renew(context.Context, *ratelimit.Batch) error { return errDown }

// resettable resets the mirror, where a Store reports that it can't reset alone.
type resettable struct{ *fallback.Store }

func (s resettable) Reset(ctx context.Context, b *ratelimit.Batch) error {
	if err := s.Store.Reset(ctx, b); !errors.Is(err, fallback.ErrUnavailable) {
		return err
	}
	return s.Mirror().Reset(ctx, b)
}

func TestStore_Conformance(t *testing.T) {
	for name, shared := range map[string]func() ratelimit.Store{
		"shared": func() ratelimit.Store { return memory.New() },
		"alone":  func() ratelimit.Store { return down{memory.New()} },
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(_ *testing.T, now func() time.Time) ratelimit.Store {
				return resettable{fallback.New(shared(), fallback.Options{Clock: func() int64 { return now().UnixNano() }})}
			})
			storetest.RunLinearizable(t, func(*testing.T, func() time.Time) ratelimit.Store {
				return fallback.New(shared(), fallback.Options{})
			})
		})
	}
}
