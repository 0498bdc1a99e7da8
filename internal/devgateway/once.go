package devgateway

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/binding"
	"ratelimiter/internal/postgres"
)

// operationTimeout bounds an operation, which takes milliseconds.
const operationTimeout = 5 * time.Second

// order is what the gateway knows of an order besides its authorizations.
type order struct {
	id                      string
	failures                int
	recovered, voided, slow bool
}

// operation changes an order, whose row is locked, in tx and returns the response.
// After an error that is a *refusal, what it changed is kept.
type operation func(ctx context.Context, tx pgx.Tx, o *order) (any, error)

// idempotencyKey identifies a request.
type idempotencyKey struct {
	Value string `header:"Idempotency-Key" validate:"required" minLength:"1" maxLength:"255" pattern:"^[!-~]*$" says:"must be of visible ASCII characters, without spaces"`
}

// once runs an operation in one transaction and writes the response, 201. A request
// with a known key gets the response to the first one. The operation continues when
// the client has gone.
func (g *Gateway) once(c *gin.Context, key idempotencyKey, name string, request any, orderID string, do operation) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request.Context()), operationTimeout)
	defer cancel()
	content, err := json.Marshal(request)
	if err != nil {
		fail(c, err)
		return
	}
	hash := sha256.Sum256(append([]byte(name+"\n"), content...))
	var response string
	var refused *refusal
	var slow bool
	err = postgres.InTx(ctx, g.db, func(tx pgx.Tx) error {
		response, err = begin(ctx, tx, key.Value, hash[:])
		if err != nil || response != "" {
			return err
		}
		o, err := lock(ctx, tx, orderID)
		if err != nil {
			return err
		}
		body, err := do(ctx, tx, o)
		slow = o.slow
		if errors.As(err, &refused) {
			_, err = tx.Exec(ctx, `DELETE FROM dev_gateway.requests WHERE key = $1`, key.Value)
			return err
		}
		if err != nil {
			return err
		}
		content, err := json.Marshal(body)
		response = string(content)
		if err == nil {
			_, err = tx.Exec(ctx, `UPDATE dev_gateway.requests SET response = $2 WHERE key = $1`, key.Value, response)
		}
		return err
	})
	switch {
	case err != nil:
		fail(c, postgres.Classify("dev gateway", err))
		return
	case refused != nil:
		fail(c, refused)
		return
	case slow:
		g.delay(c.Request.Context())
	}
	c.Data(http.StatusCreated, binding.JSON, []byte(response))
}

// begin reserves an idempotency key, and waits for a request in progress with the
// same one. It returns the response to an earlier request, if there is one.
func begin(ctx context.Context, tx pgx.Tx, key string, hash []byte) (response string, err error) {
	tag, err := tx.Exec(ctx, `INSERT INTO dev_gateway.requests (key, request) VALUES ($1, $2) ON CONFLICT DO NOTHING`, key, hash)
	if err != nil || tag.RowsAffected() == 1 {
		return "", err
	}
	var earlier []byte
	err = tx.QueryRow(ctx, `SELECT request, response FROM dev_gateway.requests WHERE key = $1`, key).Scan(&earlier, &response)
	if err == nil && string(earlier) != string(hash) {
		err = errKeyReused
	}
	return response, err
}

// lock locks an order's row, which is created if there is none.
func lock(ctx context.Context, tx pgx.Tx, id string) (*order, error) {
	o := &order{id: id}
	err := tx.QueryRow(ctx, `
		INSERT INTO dev_gateway.orders (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET id = EXCLUDED.id
		RETURNING failures, recovered, voided, slow`, id).Scan(&o.failures, &o.recovered, &o.voided, &o.slow)
	return o, err
}

// save stores an order.
func (o *order) save(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `UPDATE dev_gateway.orders SET failures = $2, voided = $3, slow = $4 WHERE id = $1`, o.id, o.failures, o.voided, o.slow)
	return err
}
