package apikeys

import (
	"testing"
	"time"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

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
