package main

import (
	"net/http"

	"ratelimiter/handlers"
	"ratelimiter/internal/apikeys"
	"ratelimiter/internal/testkit"
)

// special produce what an operation has of its own: by operationId and status.
var special = map[string]producer{
	"commitLimit 204":  reserved,
	"releaseLimit 204": reserved,
	"putPlan 201": func(p *proof, op operation) *testkit.Response {
		return p.admin.Do(op.method, "/v1/admin/plans/new", op.body)
	},

	"createOrder 409": func(p *proof, op operation) *testkit.Response {
		locked, unlock := p.lock("order_items")
		first := make(chan int)
		go func() { first <- p.admin.Post(op.path, op.body, idempotencyKey, "proof").Status }()
		locked() // the first request hangs with its key in hand
		answer := p.admin.Post(op.path, op.body, idempotencyKey, "proof")
		unlock()
		<-first
		return answer
	},
	"patchKey 409": func(p *proof, op operation) *testkit.Response {
		return p.toLastAdmin(op, `{"scopes":["products:read"]}`)
	},
	"revokeKey 409": func(p *proof, op operation) *testkit.Response { return p.toLastAdmin(op, "") },
	"rotateKey 409": func(p *proof, op operation) *testkit.Response {
		path := p.own(op)
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
		p.ready.open.Store(false)
		defer p.ready.open.Store(true)
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
	text := app.key(apikeys.NewKey{Admin: true})
	var me handlers.OwnKeyWithQuota
	app.As(text).Get("/v1/me").Want(http.StatusOK).JSON(&me)
	return app.As(text).Do(op.method, parameterInBraces.ReplaceAllString(op.path, me.ID), bodyOf(body))
}
