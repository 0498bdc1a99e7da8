package apikeys

import (
	"errors"
	"strings"
	"testing"
	"time"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

func TestStore_Rotate_bounds(t *testing.T) {
	s := newTestStore(t)
	labels := map[string]string{}
	for name := range strings.FieldsSeq("a b c d e f g h i j") {
		labels[name] = strings.Repeat("x", 500)
	}
	first := s.create(models.NewKey{Name: "k", Metadata: labels})
	key := first
	const live = `SELECT count(*) FROM api_keys WHERE subject = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())`
	for i := range selfRotations {
		key = s.rotate(s.as(key), key.ID)
		if n := s.count(live, first.ID); n != 2 {
			t.Fatalf("after rotation %d: got %d live keys; want 2", i+1, n)
		}
	}
	if n := s.count(`SELECT max(length(COALESCE(before::text, '') || after::text)) FROM audit_log WHERE target <> $1 OR action <> 'key.create'`, first.ID); n > 200 {
		t.Errorf("got an audit entry of %d bytes for a rotation; want ids only", n)
	}

	_, err := s.Rotate(s.as(key), key.ID, 0, models.Precondition{})
	var limited *models.Error
	if !errors.As(err, &limited) || limited.Kind != models.KindLimited || limited.RetryAfter <= 59*time.Minute || limited.RetryAfter > time.Hour {
		t.Fatalf("one rotation too many: got %v", err)
	}
	operator := s.create(models.NewKey{Name: "operator", Admin: true})
	key = s.rotate(s.as(operator), key.ID)
	s.exec(`UPDATE api_keys SET created_at = created_at - interval '1 hour' WHERE subject = $1 AND id NOT IN ($1, $2)`, first.ID, key.ID)
	s.rotate(s.as(key), key.ID)
}

// Two rotations of a key at once make one successor.
func TestStore_Rotate_twice_at_once(t *testing.T) {
	s := newTestStore(t)
	key := s.create(models.NewKey{Name: "k"})
	results := make(chan error, 2)
	for range cap(results) {
		go func() {
			_, err := s.Rotate(s.as(key), key.ID, time.Hour, models.Precondition{})
			results <- err
		}()
	}
	got := []string{outcome(<-results), outcome(<-results)}
	if got[0] == got[1] || got[0] != "ok" && got[1] != "ok" || s.count(`SELECT count(*) FROM api_keys`) != 2 {
		t.Errorf("got %v; want one success", got)
	}
}

// The grace period starts by the database's clock: on a machine whose clock is
// wrong it would end at once, or late.
func TestStore_Rotate_grace(t *testing.T) {
	db := testkit.Database(t)
	peppers, err := ParsePeppers("v1:a secret for the tests only")
	if err != nil {
		t.Fatal(err)
	}
	store, ctx := NewStore(db, peppers, anyQuota{}, noInvalidator{}), models.WithActor(t.Context(), "test")
	key, _, err := store.Create(ctx, models.NewKey{Name: "k"})
	if err != nil {
		t.Fatal(err)
	}
	rotation, err := store.Rotate(ctx, key.ID, time.Hour, models.Precondition{})
	if err != nil {
		t.Fatal(err)
	}
	if want := rotation.Key.CreatedAt.Add(time.Hour); rotation.Old.ExpiresAt == nil || !rotation.Old.ExpiresAt.Equal(want) {
		t.Errorf("the old key expires at %v; want %v, an hour after the new one was created", rotation.Old.ExpiresAt, want)
	}
}
