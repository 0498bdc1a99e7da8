package streams

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ratelimiter/models"
)

// table is the keys in storage.
type table struct {
	mu   sync.Mutex
	keys map[string]models.APIKey
	down bool
}

func (t *table) read(_ context.Context, ids []string) (found []models.APIKey, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.down {
		return nil, models.ErrUnavailable
	}
	for _, id := range ids {
		if key, ok := t.keys[id]; ok {
			found = append(found, key)
		}
	}
	return found, nil
}

func (t *table) put(key models.APIKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keys[key.ID] = key
}

func (t *table) setDown(down bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.down = down
}

// fixture is Streams on a table of keys.
type fixture struct {
	*Streams
	t     *testing.T
	table *table
	deaf  atomic.Bool // changes aren't heard of
	ends  []string    // reasons; guarded by Streams.mu
}

func (f *fixture) hears() bool { return !f.deaf.Load() }

// inBubble runs a test with Streams that are started and stopped.
func inBubble(t *testing.T, test func(f *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fixture{t: t, table: &table{keys: map[string]models.APIKey{}}}
		f.Streams = New(f.table.read, f.hears, slog.New(slog.DiscardHandler), func(reason string) { f.ends = append(f.ends, reason) })
		if err := f.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		test(f)
		if err := f.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if f.open != 0 || len(f.byKey) != 0 || len(f.places) != 0 {
			t.Errorf("%d streams are left, by key %v, by owner %v", f.open, f.byKey, f.places)
		}
	})
}

func keyOf(id, owner string) models.APIKey {
	return models.APIKey{ID: id, Owner: owner, Scopes: []models.Scope{models.ScopeOrdersRead}}
}

// open opens a stream that is closed when it ends.
func (f *fixture) open1(key models.APIKey) (*models.Stream, error) {
	f.table.put(key)
	return f.reopen(key)
}

// reopen is open1 for a key that the table has already, or hasn't.
func (f *fixture) reopen(key models.APIKey) (*models.Stream, error) {
	st, err := f.Open(models.WithRequest(f.t.Context(), &models.Request{Key: &key}), models.ScopeOrdersRead)
	if err == nil {
		context.AfterFunc(st, func() { st.Close(context.Cause(st)) })
	}
	return st, err
}

func (f *fixture) must(key models.APIKey) *models.Stream {
	f.t.Helper()
	st, err := f.open1(key)
	if err != nil {
		f.t.Fatal(err)
	}
	return st
}

// want checks why a stream has ended; nil: it hasn't.
func (f *fixture) want(st *models.Stream, cause error) {
	f.t.Helper()
	synctest.Wait()
	if got := context.Cause(st); !errors.Is(got, cause) {
		f.t.Errorf("got cause %v; want %v", got, cause)
	}
}

func TestStreams_lifetime(t *testing.T) {
	inBubble(t, func(f *fixture) {
		const opened = 200
		began := time.Now()
		var took []time.Duration
		for range opened {
			st := f.must(keyOf("k", "o"))
			context.AfterFunc(st, func() {
				f.mu.Lock()
				defer f.mu.Unlock()
				took = append(took, time.Since(began))
			})
		}
		time.Sleep(minLifetime + lifetimeJitter)
		synctest.Wait()
		slices.Sort(took)
		if len(took) != opened || took[0] < minLifetime || took[opened-1]-took[0] < lifetimeJitter/2 {
			t.Errorf("%d streams ended between %s and %s; want %d, spread over %s from %s on", len(took), took[0], took[len(took)-1], opened, lifetimeJitter, minLifetime)
		}
		if f.ends[0] != string(models.StreamLifetime) {
			t.Errorf("got reason %q", f.ends[0])
		}
	})
}

func TestStreams_shares(t *testing.T) {
	inBubble(t, func(f *fixture) {
		count := func(owner string) (opened int) {
			for {
				if _, err := f.open1(keyOf(owner, owner)); err != nil {
					if e, ok := errors.AsType[*models.Error](err); !ok || e.Kind != models.KindOverloaded || e.Code != "too_many_streams" {
						t.Errorf("got error %v", err)
					}
					return opened
				}
				opened++
			}
		}
		if a, b := count("a"), count("b"); a != maxOpen/2 || b != maxOpen/4 {
			t.Errorf("owners could open %d and %d streams; want half and a quarter of %d", a, b, maxOpen)
		}
	})
}

func TestStreams_key_changes(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		name   string
		change func(*models.APIKey)
		cause  error
	}{
		{"revoked", func(k *models.APIKey) { k.RevokedAt = &now }, models.StreamKeyInvalid},
		{"suspended", func(k *models.APIKey) { k.SuspendedAt = &now }, models.StreamKeySuspended},
		{"scope lost", func(k *models.APIKey) { k.Scopes = models.DefaultScopes()[:1] }, models.StreamScopeMissing},
		{"moved to another owner", func(k *models.APIKey) { k.Owner = "other" }, models.StreamOwnerChanged},
		{"renamed", func(k *models.APIKey) { k.Name = "x" }, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(f *fixture) {
				st, other := f.must(keyOf("k", "o")), f.must(keyOf("other", "o"))
				f.want(st, nil)
				changed := keyOf("k", "o")
				test.change(&changed)
				f.table.put(changed)
				f.Invalidate(models.ChangeEvent{Kind: models.ChangedPlan, ID: "k"})
				f.want(st, nil)
				f.Invalidate(models.ChangeEvent{Kind: models.ChangedKey, ID: "k"})
				f.want(st, test.cause)
				f.want(other, nil)
			})
		})
	}
	t.Run("everything may have changed", func(t *testing.T) {
		inBubble(t, func(f *fixture) {
			st := f.must(keyOf("k", "o"))
			f.want(st, nil)
			changed := keyOf("k", "o")
			changed.RevokedAt = &now
			f.table.put(changed)
			f.InvalidateAll()
			f.want(st, models.StreamKeyInvalid)
		})
	})
	t.Run("while changes aren't heard of", func(t *testing.T) {
		inBubble(t, func(f *fixture) {
			st := f.must(keyOf("k", "o"))
			f.want(st, nil)
			changed := keyOf("k", "o")
			changed.RevokedAt = &now
			f.table.put(changed)
			time.Sleep(time.Minute)
			f.want(st, nil) // nothing is read while they are
			f.deaf.Store(true)
			time.Sleep(recheckInterval)
			f.want(st, models.StreamKeyInvalid)
		})
	})
	t.Run("before the stream was opened", func(t *testing.T) {
		inBubble(t, func(f *fixture) {
			st, err := f.reopen(keyOf("gone", "o")) // the request was authenticated before
			if err != nil {
				t.Fatal(err)
			}
			f.want(st, models.StreamKeyInvalid)
		})
	})
	t.Run("while storage is down", func(t *testing.T) {
		inBubble(t, func(f *fixture) {
			st := f.must(keyOf("k", "o"))
			f.want(st, nil)
			changed := keyOf("k", "o")
			changed.RevokedAt = &now
			f.table.put(changed)
			f.table.setDown(true)
			f.Invalidate(models.ChangeEvent{Kind: models.ChangedKey, ID: "k"})
			time.Sleep(time.Minute)
			f.want(st, nil)
			f.table.setDown(false)
			time.Sleep(2 * retryPause)
			f.want(st, models.StreamKeyInvalid)
		})
	})
}

func TestStreams_expiry(t *testing.T) {
	inBubble(t, func(f *fixture) {
		soon, later := time.Now().Add(time.Minute), time.Now().Add(2*time.Minute)
		key := keyOf("k", "o")
		key.ExpiresAt = &soon
		extended, st := f.must(key), f.must(keyOf("other", "o"))
		key.ExpiresAt = &later
		f.table.put(key)
		f.Invalidate(models.ChangeEvent{Kind: models.ChangedKey, ID: "k"})
		time.Sleep(2*time.Minute - time.Nanosecond)
		f.want(extended, nil)
		time.Sleep(time.Nanosecond)
		f.want(extended, models.StreamKeyInvalid)
		f.want(st, nil)
		key = keyOf("other", "o")
		key.ExpiresAt = new(time.Now().Add(time.Second))
		f.table.put(key)
		f.Invalidate(models.ChangeEvent{Kind: models.ChangedKey, ID: "other"})
		time.Sleep(time.Second)
		f.want(st, models.StreamKeyInvalid)
	})
}

func TestStreams_Stop(t *testing.T) {
	for _, test := range []struct {
		open          int
		atLeast, most time.Duration
	}{{0, 0, 0}, {1, 0, drainPause}, {100, 99 * drainPause, 100 * drainPause}, {5000, drainSpread - drainPause, drainSpread + drainPause}} {
		synctest.Test(t, func(t *testing.T) {
			f := &fixture{t: t, table: &table{keys: map[string]models.APIKey{}}}
			f.Streams = New(f.table.read, f.hears, slog.New(slog.DiscardHandler), func(reason string) { f.ends = append(f.ends, reason) })
			_ = f.Start(t.Context())
			for range test.open {
				f.must(keyOf("k", "o"))
			}
			began := time.Now()
			if err := f.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took < test.atLeast || took > test.most {
				t.Errorf("%d streams ended within %s; want between %s and %s", test.open, took, test.atLeast, test.most)
			}
			if len(f.ends) != test.open || test.open > 0 && f.ends[0] != string(models.StreamShutdown) {
				t.Errorf("%d streams ended", len(f.ends))
			}
			if _, err := f.open1(keyOf("k", "o")); !errors.Is(err, models.ErrUnavailable) && err == nil {
				t.Errorf("got error %v after the stop", err)
			}
		})
	}
	t.Run("a stream that stays open", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := New(new(table).read, func() bool { return true }, slog.New(slog.DiscardHandler), func(string) {})
			_ = s.Start(t.Context())
			st, err := s.Open(models.WithRequest(t.Context(), &models.Request{Key: new(keyOf("k", "o"))}), models.ScopeOrdersRead)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := s.Stop(ctx); err == nil {
				t.Error("got no error")
			}
			st.Close(nil)
		})
	})
}
