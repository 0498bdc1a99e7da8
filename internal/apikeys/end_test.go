package apikeys

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/models"
)

func TestStore_Revoke_chain(t *testing.T) {
	s := newTestStore(t)
	first := s.create(models.NewKey{Name: "first"})
	second := s.rotate(s.cli, first.ID)
	third := s.rotate(s.cli, second.ID)
	if got := s.statuses(first, second, third); got != "expired active active" {
		t.Errorf("after two rotations: got %s; want two live keys", got)
	}
	if _, err := s.Revoke(s.cli, second.ID, false, models.Precondition{}); err != nil || s.statuses(second, third) != "revoked active" {
		t.Errorf("without the chain: got error %v, %s", err, s.statuses(second, third))
	}
	// The chain of a key that is revoked already.
	if key, err := s.Revoke(s.cli, second.ID, true, models.Precondition{}); err != nil || key.ID != second.ID || s.statuses(third) != "revoked" {
		t.Errorf("with the chain: got error %v, key %s, successor %s", err, key.ID, s.statuses(third))
	}
	if n := s.count(`SELECT count(*) FROM audit_log WHERE action = 'key.revoke'`); n != 3 {
		t.Errorf("got %d audit entries; want one for each revoked key", n)
	}
}

// A thief's rotation is in progress when the key is revoked. Without FOR UPDATE,
// or without the second look of lockAll, the thief's new key survives.
func TestStore_Revoke_waits_for_rotations(t *testing.T) {
	for name, revoke := range map[string]func(*testStore, models.APIKey) error{
		"chain": func(s *testStore, stolen models.APIKey) error {
			_, err := s.Revoke(s.cli, stolen.ID, true, models.Precondition{})
			return err
		},
		"owner": func(s *testStore, stolen models.APIKey) error {
			_, err := s.RevokeAll(s.cli, models.KeySelector{Owner: stolen.Owner})
			return err
		},
		"subject": func(s *testStore, stolen models.APIKey) error {
			_, err := s.RevokeAll(s.cli, models.KeySelector{Subject: stolen.Subject})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTestStore(t)
			stolen := s.create(models.NewKey{Name: "stolen"})
			tx, err := s.db.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			rotation, err := NewStore(tx, s.peppers, anyQuota{}, noInvalidator{}).Rotate(s.as(stolen), stolen.ID, time.Hour, models.Precondition{})
			if err != nil {
				t.Fatal(err)
			}
			revoked := make(chan error, 1)
			go func() { revoked <- revoke(s, stolen) }()
			s.awaitBlocked(tx)
			if err := tx.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := <-revoked; err != nil {
				t.Fatal(err)
			}
			if got := s.statuses(stolen, rotation.Key); got != "revoked revoked" {
				t.Errorf("got %s; want no key of the chain to work", got)
			}
		})
	}
}

// awaitBlocked waits until another transaction waits for tx.
func (s *testStore) awaitBlocked(tx pgx.Tx) {
	s.t.Helper()
	pid := tx.Conn().PgConn().PID()
	for s.count(`SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))`, pid) == 0 {
		if s.t.Context().Err() != nil {
			s.t.Fatal("no transaction waits")
		}
	}
}

// A thief rotates as fast as possible while the chain is revoked.
func TestStore_Revoke_races_rotations(t *testing.T) {
	s := newTestStore(t)
	for range 10 {
		stolen := s.create(models.NewKey{Name: "stolen"})
		started, ended := make(chan struct{}), make(chan error, 1)
		go func() {
			for key := stolen; ; {
				rotation, err := s.Rotate(s.as(key), key.ID, time.Hour, models.Precondition{})
				if key.ID == stolen.ID {
					close(started)
				}
				if err != nil {
					ended <- err
					return
				}
				key = rotation.Key
			}
		}()
		<-started
		if _, err := s.Revoke(s.cli, stolen.ID, true, models.Precondition{}); err != nil {
			t.Fatal(err)
		}
		if n := s.count(`SELECT count(*) FROM api_keys WHERE subject = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())`, stolen.ID); n != 0 {
			t.Fatalf("got %d keys that work after the revocation", n)
		}
		if err := <-ended; !models.IsError(err) {
			t.Fatal(err)
		}
	}
}

func TestStore_RevokeAll_authority(t *testing.T) {
	s := newTestStore(t)
	operator := s.create(models.NewKey{Name: "operator", Scopes: []models.Scope{models.ScopeAdminKeys, models.ScopeProductsRead}})
	weak := s.create(models.NewKey{Name: "weak", Owner: "o", Scopes: []models.Scope{models.ScopeProductsRead}})
	strong := s.create(models.NewKey{Name: "strong", Owner: "o", Scopes: []models.Scope{models.ScopeProductsWrite}})
	if _, err := s.RevokeAll(s.as(operator), models.KeySelector{Owner: "o"}); outcome(err) != "scope_missing" || s.statuses(weak, strong) != "active active" {
		t.Errorf("got error %v, %s; want none revoked", err, s.statuses(weak, strong))
	}
	if _, err := s.Revoke(s.cli, strong.ID, true, models.Precondition{}); err != nil {
		t.Fatal(err)
	}
	if n, err := s.RevokeAll(s.as(operator), models.KeySelector{Owner: "o"}); n != 1 || err != nil || s.statuses(weak) != "revoked" {
		t.Errorf("got %d revoked, error %v", n, err)
	}
	if n, err := s.RevokeAll(s.as(operator), models.KeySelector{Subject: "none"}); n != 0 || err != nil {
		t.Errorf("unknown subject: got %d revoked, error %v", n, err)
	}
}

func TestStore_SetSuspended(t *testing.T) {
	s := newTestStore(t)
	key := s.create(models.NewKey{Name: "k"})
	set := func(suspended bool) (models.APIKey, string) {
		key, err := s.SetSuspended(s.cli, key.ID, suspended, models.Precondition{})
		return key, outcome(err)
	}
	for _, step := range []struct {
		suspended bool
		version   int64
		status    string
	}{{false, 1, "active"}, {true, 2, "suspended"}, {true, 2, "suspended"}, {false, 3, "active"}, {true, 4, "suspended"}} {
		if got, code := set(step.suspended); code != "ok" || got.Version != step.version || s.statuses(key) != step.status {
			t.Errorf("suspended %t: got %s, version %d, %s; want %+v", step.suspended, code, got.Version, s.statuses(key), step)
		}
	}
	if _, err := s.Rotate(s.cli, key.ID, 0, models.Precondition{}); outcome(err) != "key_suspended" {
		t.Errorf("rotate: got %v", err)
	}
	if page, err := s.List(t.Context(), models.KeyFilter{Status: models.KeySuspended}, nil, 10); err != nil || len(page.Data) != 1 {
		t.Errorf("list: got %v, %v", page, err)
	}
	if _, err := s.Revoke(s.cli, key.ID, true, models.Precondition{}); err != nil {
		t.Fatal(err)
	}
	for _, suspended := range []bool{true, false} {
		if _, code := set(suspended); code != "key_ended" || s.statuses(key) != "revoked" {
			t.Errorf("revoked, suspended %t: got %s, %s", suspended, code, s.statuses(key))
		}
	}
}

// A request that was authenticated before its key ended, and whose body arrives
// later, changes nothing.
func TestStore_actor_has_ended(t *testing.T) {
	s := newTestStore(t)
	for state, sql := range map[string]string{
		"revoked":   `UPDATE api_keys SET revoked_at = now() WHERE id = $1`,
		"suspended": `UPDATE api_keys SET suspended_at = now() WHERE id = $1`,
		"expired":   `UPDATE api_keys SET expires_at = now() WHERE id = $1`,
	} {
		actor, other := s.create(models.NewKey{Name: "actor", Admin: true}), s.create(models.NewKey{Name: "other"})
		s.exec(sql, actor.ID)
		ctx := s.as(actor)
		for name, call := range map[string]func() error{
			"create": func() error { _, _, err := s.Create(ctx, models.NewKey{Name: "new"}); return err },
			"change": func() error {
				_, err := s.Change(ctx, other.ID, models.Precondition{}, func(k *models.APIKey) { k.Name = "x" })
				return err
			},
			"rotate":        func() error { _, err := s.Rotate(ctx, other.ID, 0, models.Precondition{}); return err },
			"rotate itself": func() error { _, err := s.Rotate(ctx, actor.ID, 0, models.Precondition{}); return err },
			"revoke":        func() error { _, err := s.Revoke(ctx, other.ID, true, models.Precondition{}); return err },
			"revoke all":    func() error { _, err := s.RevokeAll(ctx, models.KeySelector{Owner: other.Owner}); return err },
			"suspend":       func() error { _, err := s.SetSuspended(ctx, other.ID, true, models.Precondition{}); return err },
			"reset": func() error {
				return s.Reset(ctx, other.ID, nil, func(context.Context) error { return errors.New("was called") })
			},
		} {
			if err := call(); outcome(err) != "forbidden" {
				t.Errorf("%s: %s: got %v; want it forbidden", state, name, err)
			}
		}
		if got := s.statuses(other); got != "active" {
			t.Errorf("%s: the other key is %s", state, got)
		}
	}
}

func TestStore_keeps_an_admin(t *testing.T) {
	s := newTestStore(t)
	first := s.create(models.NewKey{Name: "first", Admin: true, Owner: "house"})
	last := s.rotate(s.cli, first.ID)
	suspended := s.create(models.NewKey{Name: "suspended", Admin: true})
	briefly := time.Now().Add(90 * time.Minute) // longer than the first one's grace period
	s.create(models.NewKey{Name: "expiring", Admin: true, ExpiresAt: &briefly})
	if _, err := s.SetSuspended(s.as(last), suspended.ID, true, models.Precondition{}); err != nil {
		t.Fatal(err)
	}
	ctx, soon := s.as(last), time.Now().Add(2*time.Hour)
	for name, call := range map[string]func() error{
		"suspend": func() error { _, err := s.SetSuspended(ctx, last.ID, true, models.Precondition{}); return err },
		"revoke":  func() error { _, err := s.Revoke(ctx, last.ID, false, models.Precondition{}); return err },
		"chain":   func() error { _, err := s.Revoke(ctx, first.ID, true, models.Precondition{}); return err },
		"owner":   func() error { _, err := s.RevokeAll(ctx, models.KeySelector{Owner: "house"}); return err },
		"subject": func() error { _, err := s.RevokeAll(ctx, models.KeySelector{Subject: first.ID}); return err },
		"expiry": func() error {
			_, err := s.Change(ctx, last.ID, models.Precondition{}, func(k *models.APIKey) { k.ExpiresAt = &soon })
			return err
		},
	} {
		if err := call(); outcome(err) != "last_admin_key" || s.statuses(last) != "active" {
			t.Errorf("%s: got %v, the key is %s", name, err, s.statuses(last))
		}
	}
	if _, err := s.SetSuspended(ctx, suspended.ID, false, models.Precondition{}); err != nil {
		t.Fatal(err)
	}
	if n, err := s.RevokeAll(ctx, models.KeySelector{Owner: "house"}); n != 2 || err != nil {
		t.Errorf("with another admin key: got %d revoked, error %v", n, err)
	}
}
