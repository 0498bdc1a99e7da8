package e2e

import (
	"net/http"
	"strings"

	"ratelimiter/handlers"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// numbered requests a dead letter by a number: another id is unknown in any case.
func numbered(f *statusFixture, op operation) *testkit.Response {
	return f.noColumns.Do(op.method, parameterInBraces.ReplaceAllString(op.path, "1"), bodyOf(op.body))
}

// special has the producers of single operations, by operationId and status.
var special = map[string]producer{
	"getOrder 200":     ownOrder,
	"getOrder 304":     ownOrderNotModified,
	"cancelOrder 200":  ownOrder,
	"getInvoice 200":   ownOrder,
	"getInvoice 304":   ownOrderNotModified,
	"commitLimit 204":  reserved,
	"releaseLimit 204": reserved,
	"putPlan 201": func(f *statusFixture, op operation) *testkit.Response {
		return f.admin.Do(op.method, "/v1/admin/plans/new", op.body)
	},

	"createOrder 409": func(f *statusFixture, op operation) *testkit.Response {
		locked, unlock := f.lock("order_items")
		defer unlock()
		first := make(chan struct{})
		go func() { defer close(first); f.admin.Do(op.method, op.path, op.body, idempotencyKey, "k") }()
		locked()
		second := f.admin.Do(op.method, op.path, op.body, idempotencyKey, "k")
		unlock()
		<-first
		return second
	},
	"cancelOrder 409": func(f *statusFixture, op operation) *testkit.Response {
		path := f.placedIn(op.path)
		f.exec(`UPDATE orders SET status = 'confirmed' WHERE status = 'pending'`)
		return f.admin.Do(op.method, path, nil)
	},
	"updateKey 409": func(f *statusFixture, op operation) *testkit.Response {
		return f.toLastAdmin(op, `{"scopes":["products:read"]}`)
	},
	"revokeKey 409":  func(f *statusFixture, op operation) *testkit.Response { return f.toLastAdmin(op, "") },
	"suspendKey 409": func(f *statusFixture, op operation) *testkit.Response { return f.toLastAdmin(op, "") },
	"resumeKey 409":  toRevoked,
	"revokeKeys 409": func(f *statusFixture, op operation) *testkit.Response {
		app := newApp(f.t)
		key := app.key(models.NewKey{Admin: true, Owner: "o"})
		return app.As(key).Do(op.method, op.path, `{"owner":"o"}`)
	},
	"rotateKey 409": func(f *statusFixture, op operation) *testkit.Response {
		path := f.resourcePath(op.route.Path)
		f.admin.Do(op.method, path, nil).Want(http.StatusCreated)
		return f.admin.Do(op.method, path, nil)
	},
	"rotateMe 409": func(f *statusFixture, op operation) *testkit.Response {
		caller := f.caller("internal")
		caller.Do(op.method, op.path, nil).Want(http.StatusCreated)
		return caller.Do(op.method, op.path, nil)
	},
	"redriveDeadLetter 409": func(f *statusFixture, op operation) *testkit.Response {
		f.exec(`INSERT INTO dead_letters ("group", topic, message, reason, attempts) VALUES ('email', '', '{}', 'r', 0)`)
		return f.admin.Do(op.method, "/v1/admin/dead-letters/"+f.newestDeadLetter()+"/redrive", nil)
	},
	"redriveDeadLetter 500": numbered,
	"discardDeadLetter 500": numbered,
	"deletePlan 409": func(f *statusFixture, op operation) *testkit.Response {
		return f.admin.Do(op.method, "/v1/admin/plans/spent", nil)
	},

	"readyz 503": func(f *statusFixture, op operation) *testkit.Response {
		f.exec(`DELETE FROM goose_db_version WHERE version_id = 3`)
		defer f.exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (3, true)`)
		f.await("the readiness check is repeated", func() bool { return f.Do(op.method, op.path, nil).Status != http.StatusOK })
		return f.Do(op.method, op.path, nil)
	},

	// These operations use no table once a key is cached.
	"getMe 500":        panics,
	"getMyLimits 500":  panics,
	"checkLimit 500":   panics,
	"reserveLimit 500": panics,
	"commitLimit 500":  panics,
	"releaseLimit 500": panics,
	// Failures to read a quota are reported as 503.
	"getKey 500":       panics,
	"getKeyLimits 500": panics,
	"resetKey 500":     panics,
}

func panics(f *statusFixture, op operation) *testkit.Response {
	return f.broken.Do(op.method, op.unknownPath(), bodyOf(op.body))
}

func toRevoked(f *statusFixture, op operation) *testkit.Response {
	path := f.resourcePath(op.route.Path)
	f.admin.Post(strings.TrimSuffix(path, "/resume")+"/revoke", nil).Want(http.StatusOK)
	return f.admin.Do(op.method, path, nil)
}

// ownOrder requests a new order of the caller.
func ownOrder(f *statusFixture, op operation) *testkit.Response {
	return f.admin.Do(op.method, f.placedIn(op.path), nil)
}

func ownOrderNotModified(f *statusFixture, op operation) *testkit.Response {
	path := f.placedIn(op.path)
	first := f.admin.Do(op.method, path, nil).Want(http.StatusOK)
	return f.admin.Do(op.method, path, nil, "If-None-Match", first.Header.Get("ETag"))
}

// placedIn places an order and returns path with its ID.
func (f *statusFixture) placedIn(path string) string {
	var placed models.Order
	f.admin.Post("/v1/orders", order1).Want(http.StatusCreated).JSON(&placed)
	return parameterInBraces.ReplaceAllString(path, placed.ID)
}

// reserved commits or releases a new reservation.
func reserved(f *statusFixture, op operation) *testkit.Response {
	reservation := decide(f.admin, "reserve", "subject", "free", 1)
	body := map[string]any{"reservation": *reservation.Reservation}
	if op.id == "commitLimit" {
		body["cost"] = 1
	}
	return f.admin.Do(op.method, op.path, body)
}

// toLastAdmin requests a change of the last admin key of a server.
func (f *statusFixture) toLastAdmin(op operation, body string) *testkit.Response {
	app := newApp(f.t)
	key := app.key(models.NewKey{Admin: true})
	var me handlers.OwnKeyWithQuota
	app.As(key).Get("/v1/me").Want(http.StatusOK).JSON(&me)
	return app.As(key).Do(op.method, parameterInBraces.ReplaceAllString(op.path, me.ID), bodyOf(body))
}
