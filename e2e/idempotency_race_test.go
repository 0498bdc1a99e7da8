package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"ratelimiter/internal/testkit"
	"ratelimiter/middleware"
)

func TestIdempotency_parallel(t *testing.T) {
	app := newApp(t)
	caller := app.of("o")
	bodies := make([]string, 50)
	var group sync.WaitGroup
	for i := range bodies {
		group.Go(func() {
			for { // retry conflicts, as clients do
				response := caller.Post("/v1/orders", order1, idempotencyKey, "k")
				if response.Status == http.StatusConflict {
					continue
				}
				bodies[i] = fmt.Sprint(response.Status, string(response.Body))
				return
			}
		})
	}
	group.Wait()
	for _, body := range bodies {
		if body != bodies[0] || !strings.HasPrefix(body, "201") {
			t.Fatalf("got responses %s and %s; want the same 201", bodies[0], body)
		}
	}
	if n := app.ordersOf("o"); n != 1 {
		t.Errorf("got %d orders; want 1", n)
	}
}

// blockedOrder sends order1 and waits until it is blocked before its commit. It
// continues after unlock; first receives its status.
func (a *testApp) blockedOrder(caller *testkit.Client) (first <-chan int, unlock func()) {
	a.t.Helper()
	locked, unlock := a.lock("order_items")
	status := make(chan int, 1)
	go func() { status <- caller.Post("/v1/orders", order1, idempotencyKey, "k").Status }()
	locked()
	return status, unlock
}

func TestIdempotency_conflict_in_flight(t *testing.T) {
	app := newApp(t)
	caller := app.of("o")
	first, unlock := app.blockedOrder(caller)
	defer unlock()
	second := caller.Post("/v1/orders", order1, idempotencyKey, "k").Want(http.StatusConflict)
	if second.Header.Get("Retry-After") == "" || second.Header.Get("Content-Type") != middleware.ProblemMediaType {
		t.Errorf("got header %v; want a problem with Retry-After", second.Header)
	}
	unlock()
	if status := <-first; status != http.StatusCreated {
		t.Errorf("first request: got %d; want 201", status)
	}
	caller.Post("/v1/orders", order1, idempotencyKey, "k").Want(http.StatusCreated)
	if n := app.ordersOf("o"); n != 1 {
		t.Errorf("got %d orders; want 1", n)
	}
}

func TestIdempotency_connection_lost_before_commit(t *testing.T) {
	app := newApp(t)
	caller := app.of("o")
	first, unlock := app.blockedOrder(caller)
	defer unlock()
	app.exec(`SELECT pg_terminate_backend(pid, 10000) FROM pg_locks WHERE NOT granted AND relation = 'order_items'::regclass`)
	if status := <-first; status != http.StatusServiceUnavailable {
		t.Errorf("first request: got %d; want 503", status)
	}
	unlock()
	if n := app.ordersOf("o") + app.count(`SELECT count(*) FROM idempotency_keys`); n != 0 {
		t.Errorf("got %d rows; want none", n)
	}
	again := caller.Post("/v1/orders", order1, idempotencyKey, "k").Want(http.StatusCreated)
	if again.Header.Get("Idempotency-Replayed") != "" || app.ordersOf("o") != 1 {
		t.Errorf("got header %v, %d orders; want 1, not a replay", again.Header, app.ordersOf("o"))
	}
}

func TestServer_prunes_idempotency_keys(t *testing.T) {
	address := testkit.DatabaseURL(t)
	app := newApp(t, onDatabase(address))
	app.exec(`INSERT INTO idempotency_keys (owner, key, body_hash, refusal, request_id, created_at)
		SELECT 'o', age, sha256(''), '{}', 'r', now() - age::interval FROM unnest(ARRAY['25 hours', '23 hours']) age`)
	serveProcess(t, "DATA_DIR="+t.TempDir(), "DATABASE_URL="+address)
	app.await("the expired key is removed", func() bool { return app.count(`SELECT count(*) FROM idempotency_keys`) == 1 })
	if n := app.count(`SELECT count(*) FROM idempotency_keys WHERE key = '23 hours'`); n != 1 {
		t.Errorf("got %d keys of 23 hours; want 1", n)
	}
}
