package quota

import (
	"errors"
	"testing"
	"time"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// wrongKey verifies no presented key and counts the attempts.
type wrongKey struct {
	anyKey
	macs int
}

func (k *wrongKey) Verify(string, string, []byte) bool {
	k.macs++
	return false
}

func TestResolver_equal_work_for_unknown_ids(t *testing.T) {
	db, verifier := testkit.Database(t), &wrongKey{}
	if _, err := db.Exec(t.Context(), `INSERT INTO api_keys (id, name, plan, owner, subject, scopes, mac, pepper_version)
		VALUES ('known', 'k', 'free', 'o', 'k', '{}', sha256('x'), 'v1')`); err != nil {
		t.Fatal(err)
	}
	resolver, err := NewResolver(db, verifier, NewEnforcementMode(db, noInvalidator{}), CacheConfig{TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(resolver.Close)
	for i, id := range []string{"known", "unknown"} {
		if _, _, err := resolver.Resolve(t.Context(), id, time.Now()); !errors.Is(err, models.ErrInvalidKey) || verifier.macs != i+1 {
			t.Errorf("%s: got error %v and %d MACs so far; want %v and %d", id, err, verifier.macs, models.ErrInvalidKey, i+1)
		}
	}
}
