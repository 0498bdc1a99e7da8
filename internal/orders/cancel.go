package orders

import (
	"context"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

var errNotCancellable = models.Conflict("order_not_cancellable",
	"The order can't be cancelled any more: it is confirmed, or its payment is being captured.")

// Cancel cancels one of the owner's orders and returns it. An order that is
// cancelled already is returned as it is. Errors: models.ErrNotFound, also for
// another owner's order; KindConflict if the order is confirmed or its payment is
// being captured; models.ErrUnavailable.
func (s *Store) Cancel(ctx context.Context, owner, id string) (models.Order, error) {
	var order models.Order
	err := postgres.InTx(ctx, s.db, func(tx pgx.Tx) error {
		locked, err := s.Lock(ctx, tx, id)
		switch {
		case err != nil:
			return err
		case locked.Owner != owner:
			return models.ErrNotFound
		}
		if err := locked.Apply(ctx, models.Progress.CancelledByCaller, models.EventData{}); err != nil {
			return err
		}
		if order = locked.Order; order.Status != models.OrderCancelled {
			return errNotCancellable
		}
		return nil
	})
	return order, postgres.Classify("cancel order", err)
}
