package e2e

import (
	"net/http"

	"ratelimiter/handlers"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// special produce what an operation has of its own: by operationId and status.
var special = map[string]producer{
	"getOrder 200":     ownOrder,
	"getOrder 304":     ownOrderAgain,
	"getInvoice 200":   ownOrder,
	"getInvoice 304":   ownOrderAgain,
	"commitLimit 204":  reserved,
	"releaseLimit 204": reserved,
	"putPlan 201": func(p *proof, op operation) *testkit.Response {
		return p.admin.Do(op.method, "/v1/admin/plans/new", op.body)
	},

	"createOrder 409": func(p *proof, op operation) *testkit.Response {
		locked, unlock := p.lock("order_items")
		defer unlock()
		first := make(chan struct{})
		go func() { defer close(first); p.admin.Do(op.method, op.path, op.body, idempotencyKey, "k") }()
		locked()
		second := p.admin.Do(op.method, op.path, op.body, idempotencyKey, "k")
		unlock()
		<-first
		return second
	},
	"patchKey 409": func(p *proof, op operation) *testkit.Response {
		return p.toLastAdmin(op, `{"scopes":["products:read"]}`)
	},
	"revokeKey 409": func(p *proof, op operation) *testkit.Response { return p.toLastAdmin(op, "") },
	"rotateKey 409": func(p *proof, op operation) *testkit.Response {
		path := p.things(op.route.Path)
		p.admin.Do(op.method, path, nil).Want(http.StatusCreated)
		return p.admin.Do(op.method, path, nil)
	},
	"rotateMe 409": func(p *proof, op operation) *testkit.Response {
		caller := p.caller("internal")
		caller.Do(op.method, op.path, nil).Want(http.StatusCreated)
		return caller.Do(op.method, op.path, nil)
	},
	"deletePlan 409": func(p *proof, op operation) *testkit.Response {
		return p.admin.Do(op.method, "/v1/admin/plans/spent", nil)
	},

	"readyz 503": func(p *proof, op operation) *testkit.Response {
		p.exec(`DELETE FROM goose_db_version WHERE version_id = 3`)
		defer p.exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (3, true)`)
		p.await("the check is repeated", func() bool { return p.Do(op.method, op.path, nil).Status != http.StatusOK })
		return p.Do(op.method, op.path, nil)
	},

	// These touch no table once a key is known: a part that is missing stands
	// for what nobody thought of.
	"getMe 500":        panics,
	"getMyLimits 500":  panics,
	"checkLimit 500":   panics,
	"reserveLimit 500": panics,
	"commitLimit 500":  panics,
	"releaseLimit 500": panics,
	// A quota that can't be read is told as 503, whatever the reason.
	"getKey 500":       panics,
	"getKeyLimits 500": panics,
	"resetKey 500":     panics,
}

func panics(p *proof, op operation) *testkit.Response {
	return p.broken.Do(op.method, op.elsewhere(), bodyOf(op.body))
}

// ownOrder asks for something of an order that the caller has placed.
func ownOrder(p *proof, op operation) *testkit.Response {
	return p.admin.Do(op.method, p.placedIn(op.path), nil)
}

func ownOrderAgain(p *proof, op operation) *testkit.Response {
	path := p.placedIn(op.path)
	first := p.admin.Do(op.method, path, nil).Want(http.StatusOK)
	return p.admin.Do(op.method, path, nil, "If-None-Match", first.Header.Get("ETag"))
}

// placedIn returns a path with the id of a new order of the admin's.
func (p *proof) placedIn(path string) string {
	var placed models.Order
	p.admin.Post("/v1/orders", order1).Want(http.StatusCreated).JSON(&placed)
	return parameterInBraces.ReplaceAllString(path, placed.ID)
}

// reserved ends a reservation that was made just before.
func reserved(p *proof, op operation) *testkit.Response {
	made := ask(p.admin, "reserve", "proof", "free", 1)
	body := map[string]any{"reservation": *made.Reservation}
	if op.id == "commitLimit" {
		body["cost"] = 1
	}
	return p.admin.Do(op.method, op.path, body)
}

// toLastAdmin does something to the only admin key of a server, by itself.
func (p *proof) toLastAdmin(op operation, body string) *testkit.Response {
	app := newApp(p.t)
	text := app.key(models.NewKey{Admin: true})
	var me handlers.OwnKeyWithQuota
	app.As(text).Get("/v1/me").Want(http.StatusOK).JSON(&me)
	return app.As(text).Do(op.method, parameterInBraces.ReplaceAllString(op.path, me.ID), bodyOf(body))
}
