// Package orders stores the orders of the sample shop and their idempotency
// keys. An order belongs to an owner; other owners can't see it.
package orders

import (
	"context"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/queue"
	"ratelimiter/models"
)

// Store keeps orders in Postgres. It is safe for concurrent use.
type Store struct {
	db    *pgxpool.Pool
	queue *queue.Queue
}

// NewStore returns the orders stored in db. Their messages are published to q, which
// must have Routes.
func NewStore(db *pgxpool.Pool, q *queue.Queue) *Store { return &Store{db: db, queue: q} }

const selectOrder = `
	SELECT o.id, o.owner, o.status, o.reason, o.email, o.total_amount, o.total_currency, o.created_at, o.updated_at,
		(SELECT COALESCE(max(position) + 1, 0) FROM order_items WHERE order_id = o.id)
	FROM orders o `

// maxListed is the number of an order's items in lists. An order can have 200.
const maxListed = 10

// List returns up to limit of the owner's orders, newest first, starting after
// the position after (nil: the start), with the first 10 items of each. Errors: models.ErrUnavailable.
func (s *Store) List(ctx context.Context, owner string, after *models.Position, limit int) (models.Page[models.Order], error) {
	before, id := "infinity", ""
	if after != nil {
		before, id = after.Sort, after.ID
	}
	rows, err := s.db.Query(ctx, selectOrder+`
		WHERE o.owner = $1 AND (o.created_at, o.id) < ($2::text::timestamptz, $3)
		ORDER BY o.created_at DESC, o.id DESC LIMIT $4`, owner, before, id, limit+1)
	if err != nil {
		return models.Page[models.Order]{}, postgres.Classify("list orders", err)
	}
	result, err := postgres.CollectPage("list orders", rows, limit, scanOrder, func(last models.Order) models.Position {
		return models.Position{Sort: last.CreatedAt.UTC().Format(time.RFC3339Nano), ID: last.ID}
	})
	if err != nil {
		return models.Page[models.Order]{}, err
	}
	return result, addItems(ctx, s.db, result.Data, maxListed)
}

// Get returns one of the owner's orders. Errors: models.ErrNotFound, also for
// another owner's order; models.ErrUnavailable.
func (s *Store) Get(ctx context.Context, owner, id string) (models.Order, error) {
	return get(ctx, s.db, owner, id)
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func get(ctx context.Context, db querier, owner, id string) (models.Order, error) {
	rows, err := db.Query(ctx, selectOrder+`WHERE o.owner = $1 AND o.id = $2`, owner, id)
	if err != nil {
		return models.Order{}, postgres.Classify("read order", err)
	}
	order, err := pgx.CollectExactlyOneRow(rows, scanOrder)
	if err != nil {
		return models.Order{}, postgres.Classify("read order", err)
	}
	one := []models.Order{order}
	err = addItems(ctx, db, one, math.MaxInt32)
	return one[0], err
}

// addItems reads the first items of all orders, up to most of each, in one query.
func addItems(ctx context.Context, db querier, orders []models.Order, most int) error {
	byID := make(map[string]*models.Order, len(orders))
	ids := make([]string, len(orders))
	for i := range orders {
		ids[i] = orders[i].ID
		byID[orders[i].ID] = &orders[i]
	}
	rows, err := db.Query(ctx, `
		SELECT order_id, product_id, sku, name, quantity, unit_amount, currency
		FROM order_items WHERE order_id = ANY ($1) AND position < $2 ORDER BY order_id, position`, ids, most)
	if err != nil {
		return postgres.Classify("read items", err)
	}
	var id string
	var item models.OrderItem
	_, err = pgx.ForEachRow(rows, []any{&id, &item.ProductID, &item.SKU, &item.Name, &item.Quantity, &item.UnitPrice.Amount, &item.UnitPrice.Currency}, func() error {
		byID[id].Items = append(byID[id].Items, item)
		return nil
	})
	return postgres.Classify("read items", err)
}

func scanOrder(row pgx.CollectableRow) (models.Order, error) {
	var o models.Order
	err := row.Scan(&o.ID, &o.Owner, &o.Status, &o.Reason, &o.Email, &o.Total.Amount, &o.Total.Currency, &o.CreatedAt, &o.UpdatedAt, &o.ItemCount)
	return o, err
}
