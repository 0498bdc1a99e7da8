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

func TestFiftyRequestsAtOnceWithOneKeyPlaceOneOrder(t *testing.T) {
	app := newApp(t)
	caller := app.of("o")
	bodies := make([]string, 50)
	var group sync.WaitGroup
	for i := range bodies {
		group.Go(func() {
			for { // as a caller does: until there is an answer
				answer := caller.Post("/v1/orders", order1, idempotencyKey, "k")
				if answer.Status == http.StatusConflict {
					continue
				}
				bodies[i] = fmt.Sprint(answer.Status, string(answer.Body))
				return
			}
		})
	}
	group.Wait()
	for _, body := range bodies {
		if body != bodies[0] || !strings.HasPrefix(body, "201") {
			t.Fatalf("one got %s, another %s", bodies[0], body)
		}
	}
	if n := app.ordersOf("o"); n != 1 {
		t.Errorf("%d orders", n)
	}
}

func TestARequestUnderWayIsNotWaitedFor(t *testing.T) {
	app := newApp(t)
	caller := app.of("o")
	locked, unlock := app.lock("order_items")
	defer unlock()
	first := make(chan int)
	go func() { first <- caller.Post("/v1/orders", order1, idempotencyKey, "k").Status }()
	locked()
	second := caller.Post("/v1/orders", order1, idempotencyKey, "k").Want(http.StatusConflict)
	if second.Header.Get("Retry-After") == "" || second.Header.Get("Content-Type") != middleware.ProblemMediaType {
		t.Errorf("header %v", second.Header)
	}
	unlock()
	if status := <-first; status != http.StatusCreated {
		t.Errorf("the first got %d", status)
	}
	caller.Post("/v1/orders", order1, idempotencyKey, "k").Want(http.StatusCreated)
	if n := app.ordersOf("o"); n != 1 {
		t.Errorf("%d orders", n)
	}
}

// The connection is lost when the order is written and not yet committed.
func TestACrashLeavesNoOrderAndAFreeKey(t *testing.T) {
	app := newApp(t)
	caller := app.of("o")
	locked, unlock := app.lock("order_items")
	defer unlock()
	first := make(chan int)
	go func() { first <- caller.Post("/v1/orders", order1, idempotencyKey, "k").Status }()
	locked()
	app.exec(`SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted AND relation = 'order_items'::regclass`)
	if status := <-first; status != http.StatusServiceUnavailable {
		t.Errorf("the first got %d", status)
	}
	unlock()
	if n := app.ordersOf("o") + app.count(`SELECT count(*) FROM idempotency_keys`); n != 0 {
		t.Errorf("%d rows were left behind", n)
	}
	again := caller.Post("/v1/orders", order1, idempotencyKey, "k").Want(http.StatusCreated)
	if again.Header.Get("Idempotency-Replayed") != "" || app.ordersOf("o") != 1 {
		t.Errorf("header %v, %d orders", again.Header, app.ordersOf("o"))
	}
}

// The server removes what has had its life, from its start on.
func TestTheServerRemovesOldIdempotencyKeys(t *testing.T) {
	address := testkit.DatabaseURL(t)
	app := newApp(t, onDatabase(address))
	app.exec(`INSERT INTO idempotency_keys (owner, key, body_hash, refusal, request_id, created_at)
		SELECT 'o', age, sha256(''), '{}', 'r', now() - age::interval FROM unnest(ARRAY['25 hours', '23 hours']) age`)
	serveProcess(t, "DATA_DIR="+t.TempDir(), "DATABASE_URL="+address)
	app.await("the old key is removed", func() bool { return app.count(`SELECT count(*) FROM idempotency_keys`) == 1 })
	if n := app.count(`SELECT count(*) FROM idempotency_keys WHERE key = '23 hours'`); n != 1 {
		t.Errorf("the wrong one is left")
	}
}
