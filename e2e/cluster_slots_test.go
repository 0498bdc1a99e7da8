package e2e

import (
	"net/http"
	"syscall"
	"testing"
	"time"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// TestCluster_slot_of_a_killed_instance checks that a long request keeps its slot,
// which its instance renews in Redis, and that the slot is free a hold after the
// instance was killed.
func TestCluster_slot_of_a_killed_instance(t *testing.T) {
	t.Parallel()
	const hold = 2 * time.Second
	redis, database := testkit.Redis(t).URL(), testkit.DatabaseURL(t)
	app := newApp(t, onDatabase(database), withRedis(redis), onWallClock())
	app.plan("slot", `[{"name":"parallel","algorithm":"concurrency","limit":1,"hold":"2s"}]`)
	key := app.key(models.NewKey{Plan: "slot", Scopes: []models.Scope{models.ScopeOrdersRead}})
	other := serveProcess(t, "DATABASE_URL="+database, "REDIS_URL="+redis, "KEY_PEPPER="+testPepper, "DATA_DIR="+t.TempDir())
	locked, unlock := app.lock("orders")
	defer unlock()
	go func() {
		request, err := http.NewRequest(http.MethodGet, other.Base()+"/v1/orders", nil)
		if err != nil {
			return
		}
		request.Header.Set("Authorization", "Bearer "+key)
		if response, err := http.DefaultClient.Do(request); err == nil { // the instance is killed
			_ = response.Body.Close()
		}
	}()
	locked()
	// An invalid parameter: the request needs no database.
	slot := func() int { return app.As(key).Get("/v1/orders?limit=none").Status }
	for began := time.Now(); time.Since(began) < 2*hold; {
		if got := slot(); got != http.StatusTooManyRequests {
			t.Fatalf("got status %d after %s, while the slot is taken; want 429", got, time.Since(began))
		}
	}
	killed := time.Now()
	other.end(syscall.SIGKILL)
	app.await("the slot is free", func() bool { return slot() == http.StatusUnprocessableEntity })
	t.Logf("the slot was free %s after its instance was killed; its hold is %s", time.Since(killed), hold)
}
