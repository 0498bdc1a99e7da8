package catalog

import (
	"context"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

// Available reports whether there is enough stock for all items. It locks nothing,
// so the stock may change at once. Errors: models.ErrUnavailable.
func Available(ctx context.Context, tx pgx.Tx, items []models.OrderItem) (enough bool, err error) {
	ids, quantities := totals(items)
	err = tx.QueryRow(ctx, `SELECT `+enoughStock, ids, quantities).Scan(&enough)
	return enough, postgres.Classify("read stock", err)
}

// Hold takes the items from the stock of their products: all of them, or none if
// there is too little of one. It locks the products, in the order of their ids,
// until tx ends: make it the last statement of tx. Errors: models.ErrUnavailable.
func Hold(ctx context.Context, tx pgx.Tx, items []models.OrderItem) (held bool, err error) {
	n, err := change(ctx, tx, items, `
		UPDATE products p SET stock = p.stock - wanted.quantity
		FROM unnest($1::text[], $2::bigint[]) AS wanted (id, quantity)
		WHERE p.id = wanted.id AND `+enoughStock)
	return n > 0, postgres.Classify("hold stock", err)
}

// Release gives the items back. It locks as Hold does. Errors:
// models.ErrUnavailable.
func Release(ctx context.Context, tx pgx.Tx, items []models.OrderItem) error {
	_, err := change(ctx, tx, items, `
		UPDATE products p SET stock = p.stock + held.quantity
		FROM unnest($1::text[], $2::bigint[]) AS held (id, quantity)
		WHERE p.id = held.id`)
	return postgres.Classify("release stock", err)
}

// enoughStock is whether each product of $1 has at least the quantity of $2.
const enoughStock = `(
	SELECT bool_and(COALESCE(p.stock >= wanted.quantity, false))
	FROM unnest($1::text[], $2::bigint[]) AS wanted (id, quantity) LEFT JOIN products p USING (id))`

// change locks the products of the items and updates them, in one round trip. The
// update is a statement of its own, so that it sees what the lock waited for. The
// lock doesn't conflict with those of new orders, which refer to the products.
func change(ctx context.Context, tx pgx.Tx, items []models.OrderItem, update string) (rows int64, err error) {
	ids, quantities := totals(items)
	batch := &pgx.Batch{}
	batch.Queue(`SELECT FROM products WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE`, ids)
	batch.Queue(update, ids, quantities)
	results := tx.SendBatch(ctx, batch)
	_, err = results.Exec()
	if err == nil {
		tag, failed := results.Exec()
		rows, err = tag.RowsAffected(), failed
	}
	if closed := results.Close(); err == nil {
		err = closed
	}
	return rows, err
}

// totals returns the products of the items and the quantity of each.
func totals(items []models.OrderItem) (ids []string, quantities []int64) {
	index := map[string]int{}
	for _, item := range items {
		i, known := index[item.ProductID]
		if !known {
			i = len(ids)
			index[item.ProductID] = i
			ids, quantities = append(ids, item.ProductID), append(quantities, 0)
		}
		quantities[i] += item.Quantity
	}
	return ids, quantities
}
