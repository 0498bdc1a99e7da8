package workers

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/orders"
	"ratelimiter/internal/queue"
	"ratelimiter/models"
)

// Payment authorizes, captures and voids the payments of orders.
type Payment struct {
	orders  *orders.Store
	gateway *Gateway
	log     *slog.Logger
}

// NewPayment returns the payment worker.
func NewPayment(store *orders.Store, gateway *Gateway, log *slog.Logger) *Payment {
	return &Payment{orders: store, gateway: gateway, log: log}
}

// Handlers returns the handlers of the group, by topic.
func (p *Payment) Handlers() map[string]queue.Handler {
	return map[string]queue.Handler{
		string(models.EventOrderPlaced):       p.authorize,
		string(models.EventStockReserved):     p.capture,
		string(models.EventPaymentAuthorized): p.capture,
		string(models.EventStockRejected):     p.void,
		string(models.EventOrderCancelled):    p.void,
	}
}

// authorize holds the amount of a pending order.
func (p *Payment) authorize(ctx context.Context, m *queue.Message) (queue.Effect, error) {
	order, err := p.read(ctx, m)
	if err != nil || !order.Progress.NeedsAuthorization() {
		return nil, err
	}
	a, err := p.known(ctx, m, order)
	if errors.Is(err, ErrNoAuthorization) {
		a, err = p.gateway.Authorize(ctx, order.ID, order.Total, order.PaymentToken)
	}
	if err != nil {
		return nil, err
	}
	step := models.Progress.PaymentAuthorized
	switch a.Status {
	case AuthorizationHeld, AuthorizationCaptured: // a capture finds out that it is captured
	case AuthorizationDeclined, AuthorizationVoided:
		step = models.Progress.PaymentDeclined
	}
	if m.Attempt > 1 {
		p.log.Info("payment: authorization has an outcome", "order", order.ID, "attempt", m.Attempt, "outcome", string(a.Status))
	}
	return p.effect(order.ID, a.ID, step), nil
}

// capture charges the amount of an order whose stock is held. From the first
// transaction on, the order can't be cancelled by its caller, so that a cancelled
// order is never charged.
func (p *Payment) capture(ctx context.Context, m *queue.Message) (queue.Effect, error) {
	order, err := p.read(ctx, m)
	if err != nil || !order.Progress.NeedsCapture() {
		return nil, err
	}
	if order.Progress.Payment == models.PaymentAuthorized { // while calls are suspended, it can still be cancelled
		if err := p.gateway.Suspended(); err != nil {
			return nil, err
		}
	}
	if order, err = p.orders.Step(ctx, order.ID, models.Progress.CaptureBegun); err != nil || !order.Progress.NeedsCapture() {
		return nil, err // it was cancelled
	}
	a, err := p.known(ctx, m, order)
	if errors.Is(err, ErrNoAuthorization) || err == nil && a.Status == AuthorizationHeld {
		a, err = p.gateway.Capture(ctx, order.ID, order.Authorization)
	}
	switch {
	case err != nil:
		return nil, err
	case a.Status == AuthorizationCaptured:
		return p.effect(order.ID, "", models.Progress.PaymentCaptured), nil
	default:
		return p.effect(order.ID, "", models.Progress.CaptureDeclined), nil
	}
}

// void releases the amount of a cancelled order, and makes the gateway refuse to hold
// it later.
func (p *Payment) void(ctx context.Context, m *queue.Message) (queue.Effect, error) {
	order, err := p.read(ctx, m)
	if err != nil || !order.Progress.NeedsVoid() {
		return nil, err
	}
	voided, err := p.gateway.Void(ctx, order.ID)
	switch {
	case errors.Is(err, errCaptured):
		return nil, queue.Permanent(err)
	case err != nil || !voided && order.Progress.Payment == models.PaymentNone:
		return nil, err // there was nothing to void
	default:
		return p.effect(order.ID, "", models.Progress.PaymentVoided), nil
	}
}

// keysLast is how long the gateway remembers idempotency keys for certain.
const keysLast = time.Hour

// read returns the order that a message is about. A missing order is permanent.
func (p *Payment) read(ctx context.Context, m *queue.Message) (orders.Work, error) {
	id, err := orders.OrderOf(m)
	if err != nil {
		return orders.Work{}, err
	}
	order, err := p.orders.Read(ctx, id)
	if errors.Is(err, models.ErrNotFound) {
		err = queue.Permanent(err)
	}
	return order, err
}

// known asks the gateway for the authorization of an order, if an earlier delivery
// may have had an effect there whose outcome wasn't recorded. The idempotency key
// protects a repeated call too, but gateways forget keys after a day, and a dead
// letter may be redriven, or an order resumed, later.
func (p *Payment) known(ctx context.Context, m *queue.Message, order orders.Work) (Authorization, error) {
	if m.Attempt <= 1 && len(m.History) == 0 && time.Since(order.CreatedAt) < keysLast {
		return Authorization{}, ErrNoAuthorization
	}
	return p.gateway.Find(ctx, order.ID)
}

// effect takes a step of an order. An authorization's id is stored with it; "": none.
func (p *Payment) effect(orderID, authorization string, step models.Step) queue.Effect {
	return func(ctx context.Context, tx pgx.Tx) error {
		order, err := p.orders.Lock(ctx, tx, orderID)
		if err != nil {
			return err
		}
		if authorization != "" {
			order.Authorization = authorization
		}
		return order.Apply(ctx, step, models.EventData{})
	}
}
