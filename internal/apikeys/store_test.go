package apikeys

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// testStore is a Store on a new database, and the command line as its actor.
type testStore struct {
	*Store
	t   *testing.T
	db  *pgxpool.Pool
	cli context.Context
}

func newTestStore(t *testing.T) *testStore {
	t.Helper()
	peppers, err := ParsePeppers("v1:the original secret of tests")
	if err != nil {
		t.Fatal(err)
	}
	db := testkit.Database(t)
	return &testStore{NewStore(db, peppers, anyQuota{}, noInvalidator{}), t, db, models.WithActor(t.Context(), models.ActorCLI)}
}

// create creates a key as the command line.
func (s *testStore) create(spec models.NewKey) models.APIKey {
	s.t.Helper()
	key, _, err := s.Create(s.cli, spec)
	if err != nil {
		s.t.Fatal(err)
	}
	return key
}

// as returns a context in which a key acts.
func (s *testStore) as(key models.APIKey) context.Context {
	return models.WithRequest(s.t.Context(), &models.Request{Key: &key})
}

// rotate rotates a key with a grace period of an hour and returns its successor.
func (s *testStore) rotate(ctx context.Context, id string) models.APIKey {
	s.t.Helper()
	rotation, err := s.Rotate(ctx, id, time.Hour, models.Precondition{})
	if err != nil {
		s.t.Fatal(err)
	}
	return rotation.Key
}

// statuses returns the status of keys, in order.
func (s *testStore) statuses(keys ...models.APIKey) string {
	s.t.Helper()
	var list []string
	for _, key := range keys {
		stored, err := s.Get(s.t.Context(), key.ID)
		if err != nil {
			s.t.Fatal(err)
		}
		list = append(list, string(stored.Status(time.Now())))
	}
	return strings.Join(list, " ")
}

func (s *testStore) count(sql string, args ...any) (n int) {
	s.t.Helper()
	if err := s.db.QueryRow(s.t.Context(), sql, args...).Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *testStore) exec(sql string, args ...any) {
	s.t.Helper()
	if _, err := s.db.Exec(s.t.Context(), sql, args...); err != nil {
		s.t.Fatal(err)
	}
}

// outcome returns the code of a domain error, its kind without one, and "ok" for
// nil.
func outcome(err error) string {
	domain, ok := errors.AsType[*models.Error](err)
	switch {
	case err == nil:
		return "ok"
	case !ok:
		return err.Error()
	case domain.Code != "":
		return domain.Code
	default:
		return string(domain.Kind)
	}
}
