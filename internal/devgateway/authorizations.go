package devgateway

import (
	"context"
	"crypto/rand"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/binding"
	"ratelimiter/internal/postgres"
)

// Status is the status of an authorization.
type Status string

// The statuses of an authorization.
const (
	StatusAuthorized Status = "authorized" // the amount is held
	StatusDeclined   Status = "declined"
	StatusCaptured   Status = "captured" // the amount is charged
	StatusVoided     Status = "voided"   // the amount is held no longer
)

// Authorization is the payment of an order.
type Authorization struct {
	ID       string `json:"id"`
	OrderID  string `json:"order_id"`
	Status   Status `json:"status"`
	Amount   int64  `json:"amount"` // minor units
	Currency string `json:"currency"`
}

// authorizeRequest is the input of POST /authorizations.
type authorizeRequest struct {
	Key  idempotencyKey
	Body struct {
		OrderID      string `json:"order_id" validate:"required" minLength:"1" maxLength:"64"`
		Amount       int64  `json:"amount" validate:"required" minimum:"0"`
		Currency     string `json:"currency" validate:"required" pattern:"^[A-Z]{3}$"`
		PaymentToken string `json:"payment_token" validate:"required" minLength:"1" maxLength:"255"`
	} `body:"required"`
}

// authorize handles POST /authorizations.
func (g *Gateway) authorize(c *gin.Context) {
	in, err := binding.Bind(c, authorizeRequest{}, binding.JSON)
	if err != nil {
		fail(c, err)
		return
	}
	request := in.Body
	g.once(c, in.Key, "authorize", request, request.OrderID, func(ctx context.Context, tx pgx.Tx, o *order) (any, error) {
		o.slow = o.slow || request.PaymentToken == TokenSlow
		switch {
		case o.voided:
			return nil, errOrderVoided
		case o.fails(request.PaymentToken):
			o.failures++
			if err := o.save(ctx, tx); err != nil {
				return nil, err
			}
			return nil, errSimulated
		}
		a := Authorization{newID("auth_"), o.id, statusOf(request.PaymentToken), request.Amount, request.Currency}
		batch := &pgx.Batch{}
		batch.Queue(`UPDATE dev_gateway.orders SET slow = $2 WHERE id = $1 AND slow <> $2`, o.id, o.slow)
		batch.Queue(`INSERT INTO dev_gateway.authorizations VALUES ($1, $2, $3, $4, $5)`, a.ID, a.OrderID, a.Status, a.Amount, a.Currency)
		if a.Status == StatusAuthorized {
			record(batch, a.ID, kindAuthorization, a)
		}
		return a, tx.SendBatch(ctx, batch).Close()
	})
}

// captureRequest is the input of POST /captures.
type captureRequest struct {
	Key  idempotencyKey
	Body struct {
		AuthorizationID string `json:"authorization_id" validate:"required" minLength:"1" maxLength:"64"`
	} `body:"required"`
}

// capture handles POST /captures.
func (g *Gateway) capture(c *gin.Context) {
	in, err := binding.Bind(c, captureRequest{}, binding.JSON)
	if err != nil {
		fail(c, err)
		return
	}
	id := in.Body.AuthorizationID
	var orderID string // never changes
	err = g.db.QueryRow(c.Request.Context(), `SELECT order_id FROM dev_gateway.authorizations WHERE id = $1`, id).Scan(&orderID)
	if err != nil {
		fail(c, postgres.Classify("dev gateway", err))
		return
	}
	g.once(c, in.Key, "capture", in.Body, orderID, func(ctx context.Context, tx pgx.Tx, o *order) (any, error) {
		list, err := authorizations(ctx, tx, `id = $1`, id)
		if err != nil {
			return nil, err
		}
		a := list[0]
		switch a.Status {
		case StatusCaptured:
			return nil, errAlreadyCaptured
		case StatusDeclined, StatusVoided:
			return nil, errNotAuthorized
		case StatusAuthorized:
		}
		a.Status = StatusCaptured
		batch := &pgx.Batch{}
		change(batch, newID("cap_"), kindCapture, a)
		return a, tx.SendBatch(ctx, batch).Close()
	})
}

// voidRequest is the input of POST /voids.
type voidRequest struct {
	Key  idempotencyKey
	Body struct {
		OrderID string `json:"order_id" validate:"required" minLength:"1" maxLength:"64"`
	} `body:"required"`
}

// voidResponse has the authorizations that were voided, maybe none.
type voidResponse struct {
	OrderID string          `json:"order_id"`
	Voided  []Authorization `json:"voided"`
}

// void handles POST /voids.
func (g *Gateway) void(c *gin.Context) {
	in, err := binding.Bind(c, voidRequest{}, binding.JSON)
	if err != nil {
		fail(c, err)
		return
	}
	g.once(c, in.Key, "void", in.Body, in.Body.OrderID, func(ctx context.Context, tx pgx.Tx, o *order) (any, error) {
		list, err := authorizations(ctx, tx, `order_id = $1`, o.id)
		if err != nil {
			return nil, err
		}
		response := voidResponse{OrderID: o.id, Voided: []Authorization{}}
		batch := &pgx.Batch{}
		for _, a := range list {
			switch a.Status {
			case StatusCaptured:
				return nil, errAlreadyCaptured
			case StatusAuthorized:
				a.Status = StatusVoided
				change(batch, newID("void_"), kindVoid, a)
				response.Voided = append(response.Voided, a)
			case StatusDeclined, StatusVoided:
			}
		}
		batch.Queue(`UPDATE dev_gateway.orders SET voided = true WHERE id = $1`, o.id)
		return response, tx.SendBatch(ctx, batch).Close()
	})
}

// findRequest is the input of GET /authorizations.
type findRequest struct {
	OrderID string `form:"order_id" validate:"required" minLength:"1" maxLength:"64"`
}

// find handles GET /authorizations.
func (g *Gateway) find(c *gin.Context) {
	in, err := binding.Bind(c, findRequest{}, binding.JSON)
	var list []Authorization
	if err == nil {
		list, err = authorizations(c.Request.Context(), g.db, `order_id = $1`, in.OrderID)
		err = postgres.Classify("dev gateway", err)
	}
	respond(c, http.StatusOK, gin.H{"data": list}, err)
}

// authorizations returns those that match a condition on $1.
func authorizations(ctx context.Context, db interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}, condition, value string,
) ([]Authorization, error) {
	rows, _ := db.Query(ctx, `SELECT id, order_id, status, amount, currency FROM dev_gateway.authorizations WHERE `+condition, value) // CollectRows returns its error
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Authorization])
}

// newID returns an opaque id of 26 random characters after a prefix.
func newID(prefix string) string { return prefix + strings.ToLower(rand.Text()) }
