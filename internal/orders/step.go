package orders

import (
	"context"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

// Step takes a step of an order's progress in a transaction of its own and returns
// the order as it is then. A step that the order doesn't allow changes nothing.
// Errors: models.ErrNotFound, models.ErrUnavailable.
func (s *Store) Step(ctx context.Context, id string, step models.Step) (work Work, err error) {
	err = postgres.InTx(ctx, s.db, func(tx pgx.Tx) error {
		order, err := s.Lock(ctx, tx, id)
		if err != nil {
			return err
		}
		err = order.Apply(ctx, step, models.EventData{})
		work = order.Work
		return err
	})
	return work, postgres.Classify("change order", err)
}
