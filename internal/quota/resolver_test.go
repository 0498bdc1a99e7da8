package quota

import (
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// anyKey verifies every presented key; the key's text is its id.
type anyKey struct{}

func (anyKey) ParseID(presented string) (string, error)      { return presented, nil }
func (anyKey) Verify(_, pepperVersion string, _ []byte) bool { return pepperVersion == "v1" }

// noInvalidator ignores events.
type noInvalidator struct{ models.Invalidator }

func TestResolver_drops_a_load_that_began_before_a_change(t *testing.T) {
	address := testkit.DatabaseURL(t)
	db, err := pgxpool.New(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	proxy := testkit.NewProxy(t, u.Host)
	u.Host = proxy.Addr()
	slow, err := pgxpool.New(t.Context(), u.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(slow.Close)
	if _, err := db.Exec(t.Context(), `INSERT INTO api_keys (id, name, plan, owner, subject, scopes, mac, pepper_version)
		VALUES ('k', 'k', 'free', 'o', 'k', '{}', sha256('x'), 'v1')`); err != nil {
		t.Fatal(err)
	}
	resolver, err := NewResolver(slow, anyKey{}, NewEnforcementMode(db, noInvalidator{}), CacheConfig{TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(resolver.Close)
	if err := slow.Ping(t.Context()); err != nil { // connect before responses are held back
		t.Fatal(err)
	}

	proxy.HoldResponses()
	loaded := make(chan struct{})
	go func() {
		defer close(loaded)
		_, _, _ = resolver.Resolve(t.Context(), "k", time.Now()) // may get either result
	}()
	for deadline := time.Now().Add(20 * time.Second); !proxy.Holding(); {
		if time.Now().After(deadline) {
			t.Fatal("no response is held back")
		}
		time.Sleep(time.Millisecond)
	}
	if _, err := db.Exec(t.Context(), `UPDATE api_keys SET revoked_at = now()`); err != nil {
		t.Fatal(err)
	}
	resolver.Invalidate(models.ChangeEvent{Kind: models.ChangedKey, ID: "k", Version: 2})
	proxy.ReleaseResponses()
	<-loaded
	if key, _, fresh := resolver.Cached("k", time.Now()); key != nil && fresh {
		t.Error("the old key is cached as fresh")
	}
	if _, _, err := resolver.Resolve(t.Context(), "k", time.Now()); !errors.Is(err, models.ErrInvalidKey) {
		t.Errorf("Resolve: %v; want models.ErrInvalidKey", err)
	}
}

// insertKeys creates keys k1 to k$1 on the plan free.
const insertKeys = `INSERT INTO api_keys (id, name, plan, owner, subject, scopes, mac, pepper_version)
	SELECT 'k' || n, 'k', 'free', 'o', 'k' || n, '{}', sha256('x'), 'v1' FROM generate_series(1, $1::int) n`

func TestResolver_Cached_stale(t *testing.T) {
	db := testkit.Database(t)
	if _, err := db.Exec(t.Context(), insertKeys, 1); err != nil {
		t.Fatal(err)
	}
	resolver, err := NewResolver(db, anyKey{}, NewEnforcementMode(db, noInvalidator{}), CacheConfig{Keys: 100, TTL: time.Nanosecond, Stale: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(resolver.Close)
	if _, _, err := resolver.Resolve(t.Context(), "k1", time.Now()); err != nil {
		t.Fatal(err)
	}
	db.Close() // no refresh succeeds
	if key, _, fresh := resolver.Cached("k1", time.Now()); key == nil || !fresh {
		t.Error("a stale key isn't served")
	}
	resolver.Invalidate(models.ChangeEvent{Kind: models.ChangedKey, ID: "k1", Version: 2})
	if _, _, fresh := resolver.Cached("k1", time.Now()); fresh {
		t.Error("an invalidated key is served")
	}
	if _, _, err := resolver.Resolve(t.Context(), "k1", time.Now()); !errors.Is(err, models.ErrUnavailable) {
		t.Errorf("Resolve of an invalidated key: %v; want models.ErrUnavailable", err)
	}
}
