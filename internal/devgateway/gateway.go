// Package devgateway is a payment gateway for development and tests. It is a real
// HTTP server part, served on OPS_ADDR under /dev/gateway in dev mode, and keeps its
// state in the Postgres schema dev_gateway, so that it survives a kill.
//
//	POST /authorizations {"order_id","amount","currency","payment_token"} → 201 Authorization
//	GET  /authorizations?order_id=… → 200 {"data":[Authorization]}
//	POST /captures {"authorization_id"} → 201 Authorization
//	POST /voids {"order_id"} → 201 {"order_id","voided":[Authorization]}
//	GET  /ledger → 200 {"data":[{"id","order_id","kind","amount","currency","at"}]}
//	POST /recover → 200 {"recovered":n}
//
// An authorization holds an amount, a capture charges it, a void releases it and
// makes the gateway refuse later authorizations of the order. The first three POSTs
// need an Idempotency-Key: a repeated request with the same key and body gets the
// same response and has no further effect, one with another body 422. Only
// successes are remembered. Amounts are in the currency's minor unit.
//
// Payment tokens decide what happens to an order; see the constants.
package devgateway

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

// Path is where the gateway is mounted on OPS_ADDR.
const Path = "/dev/gateway"

// Gateway is the payment gateway. It is a component of the server and safe for
// concurrent use.
type Gateway struct {
	db       *pgxpool.Pool
	ready    atomic.Bool
	stopping chan struct{}
	slow     time.Duration // delay of tok_slow
}

// New returns a gateway whose state is in db. It responds with 503 until it is
// started.
func New(db *pgxpool.Pool) *Gateway {
	return &Gateway{db: db, stopping: make(chan struct{}), slow: slowDelay}
}

// Name implements app.Component.
func (*Gateway) Name() string { return "dev payment gateway" }

// schemaLock keeps instances that start together from creating the schema twice.
const schemaLock = 0x6465_7667_6174_6577 // "devgatew"

// Start creates the schema if there is none.
func (g *Gateway) Start(ctx context.Context) error {
	err := postgres.InTx(ctx, g.db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(schemaLock)); err != nil {
			return err
		}
		var exists bool
		if err := tx.QueryRow(ctx, `SELECT to_regclass('dev_gateway.ledger') IS NOT NULL`).Scan(&exists); err != nil || exists {
			return err
		}
		_, err := tx.Exec(ctx, schema)
		return err
	})
	if err != nil {
		return fmt.Errorf("create the schema dev_gateway, for which the role needs CREATE on the database; PAYMENT_URL names another gateway: %w", err)
	}
	g.ready.Store(true)
	return nil
}

// Stop ends the delays of tok_slow.
func (g *Gateway) Stop(context.Context) error {
	close(g.stopping)
	return nil
}

// Routes adds the gateway below Path. The router must render the errors of handlers,
// and check the Host of requests.
func (g *Gateway) Routes(router gin.IRouter) {
	at := router.Group(Path, g.requireReady)
	at.POST("/authorizations", g.authorize)
	at.GET("/authorizations", g.find)
	at.POST("/captures", g.capture)
	at.POST("/voids", g.void)
	at.GET("/ledger", g.ledger)
	at.POST("/recover", g.recover)
}

// requireReady fails requests that come before the start.
func (g *Gateway) requireReady(c *gin.Context) {
	if !g.ready.Load() {
		fail(c, models.ErrUnavailable)
	}
}

// fail reports that the request failed.
func fail(c *gin.Context, err error) {
	_ = c.Error(err) // the router renders it
	c.Abort()
}

// respond writes a body, or fails the request with err.
func respond(c *gin.Context, status int, body any, err error) {
	if err != nil {
		fail(c, err)
		return
	}
	c.JSON(status, body)
}

// refusal is a request that the gateway refuses, or a failure that a token asks for.
type refusal struct {
	status int
	code   string
	detail string
}

// Error returns a sentence for the client.
func (r *refusal) Error() string { return r.detail }

// HTTPStatus returns the status of the response.
func (r *refusal) HTTPStatus() int { return r.status }

// Code returns the code of the problem.
func (r *refusal) Code() string { return r.code }

var (
	errKeyReused       = &refusal{http.StatusUnprocessableEntity, "idempotency_key_reused", "The Idempotency-Key was used for another request."}
	errOrderVoided     = &refusal{http.StatusConflict, "order_voided", "The order was voided: it can't be authorized."}
	errAlreadyCaptured = &refusal{http.StatusConflict, "already_captured", "The authorization is captured."}
	errNotAuthorized   = &refusal{http.StatusConflict, "not_authorized", "The authorization is declined or voided."}
	errSimulated       = &refusal{http.StatusInternalServerError, "simulated_failure", "The payment token asks for this failure."}
)
