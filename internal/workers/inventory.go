package workers

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/catalog"
	"ratelimiter/internal/orders"
	"ratelimiter/internal/queue"
	"ratelimiter/models"
)

// Inventory holds the stock for orders, and gives it back when they are cancelled.
type Inventory struct{ orders *orders.Store }

// NewInventory returns the worker of the group inventory.
func NewInventory(store *orders.Store) *Inventory { return &Inventory{store} }

// Handlers returns the handlers by topic.
func (w *Inventory) Handlers() map[string]queue.Handler {
	return map[string]queue.Handler{
		string(models.EventOrderPlaced):     w.handle(reserve),
		string(models.EventPaymentDeclined): w.handle(release),
		string(models.EventOrderCancelled):  w.handle(release),
	}
}

// handle returns a handler that changes the order of a message.
func (w *Inventory) handle(change func(context.Context, pgx.Tx, *orders.Locked) error) queue.Handler {
	return func(_ context.Context, m *queue.Message) (queue.Effect, error) {
		id, err := orders.OrderOf(m)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context, tx pgx.Tx) error {
			order, err := w.orders.Lock(ctx, tx, id)
			if err != nil {
				return permanentIfMissing(err)
			}
			return change(ctx, tx, order)
		}, nil
	}
}

// errStockChanged reports that the stock became too little after it was read.
var errStockChanged = errors.New("the stock was taken by another order")

// reserve holds the stock of an order, or rejects the order. The products are
// locked last, because orders of popular products wait for each other's locks.
func reserve(ctx context.Context, tx pgx.Tx, order *orders.Locked) error {
	if !order.Progress.NeedsStock() {
		return nil
	}
	enough, err := catalog.Available(ctx, tx, order.Items)
	if err != nil {
		return err
	}
	if !enough {
		return order.Apply(ctx, models.Progress.StockRejected, models.EventData{})
	}
	if err := order.Apply(ctx, models.Progress.StockReserved, models.EventData{}); err != nil {
		return err
	}
	held, err := catalog.Hold(ctx, tx, order.Items)
	if err == nil && !held {
		err = queue.Postpone(0, errStockChanged) // at once: then the stock is read again
	}
	return err
}

// release gives back the stock that a cancelled order holds.
func release(ctx context.Context, tx pgx.Tx, order *orders.Locked) error {
	if !order.Progress.NeedsRelease() {
		return nil
	}
	if err := order.Apply(ctx, models.Progress.StockReleased, models.EventData{}); err != nil {
		return err
	}
	return catalog.Release(ctx, tx, order.Items)
}

// permanentIfMissing marks the error about an order that doesn't exist as permanent.
func permanentIfMissing(err error) error {
	if errors.Is(err, models.ErrNotFound) {
		return queue.Permanent(err)
	}
	return err
}
