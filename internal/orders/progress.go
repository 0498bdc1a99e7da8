package orders

import (
	"context"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/events"
	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

// Work is an order as its workers see it.
type Work struct {
	models.Order
	PaymentToken  string // a secret
	Authorization string // the gateway's id; empty: not authorized
	Progress      models.Progress
}

// setProgress sets the progress and what the order shows of it.
func (w *Work) setProgress(p models.Progress) {
	w.Progress, w.Status, w.Reason = p, p.Status, nil
	if p.Reason != "" {
		w.Reason = &p.Reason
	}
}

// Read returns an order with its items. Its progress may change at any time.
// Errors: models.ErrNotFound, models.ErrUnavailable.
func (s *Store) Read(ctx context.Context, id string) (Work, error) {
	return readWork(ctx, s.db, id, "")
}

// Locked is an order whose row is locked: no other transaction changes its
// progress before this one ends.
type Locked struct {
	Work
	store *Store
	tx    pgx.Tx
}

// Lock locks an order in tx and returns it with its items. Errors:
// models.ErrNotFound, models.ErrUnavailable.
func (s *Store) Lock(ctx context.Context, tx pgx.Tx, id string) (*Locked, error) {
	work, err := readWork(ctx, tx, id, "FOR UPDATE OF o")
	return &Locked{work, s, tx}, err
}

// Apply takes a step of the order's progress: it stores the result, appends the
// events and publishes the messages that follow. The details are added to those of
// each event. It does nothing if the order doesn't allow the step. Errors:
// models.ErrUnavailable.
func (l *Locked) Apply(ctx context.Context, step models.Step, details models.EventData) error {
	next, types := step(l.Progress)
	if next == l.Progress && len(types) == 0 {
		return nil
	}
	batch := &pgx.Batch{}
	batch.Queue(`
		UPDATE orders SET status = $2, reason = NULLIF($3, ''), stock = $4, payment = $5, authorization_id = NULLIF($6, ''),
			updated_at = CASE WHEN $7 THEN clock_timestamp() ELSE updated_at END
		WHERE id = $1 RETURNING updated_at`, l.ID, next.Status, next.Reason, next.Stock, next.Payment, l.Authorization, len(types) > 0).
		QueryRow(func(row pgx.Row) error { return row.Scan(&l.UpdatedAt) })
	if len(types) > 0 {
		events.Append(batch, l.ID, l.Owner, describe(l.Order, next, types, details)...)
	}
	if err := l.store.queue.PublishBatch(ctx, l.tx, batch, batch, messages(l.Order, next, types)...); err != nil {
		return err
	}
	if err := l.tx.SendBatch(ctx, batch).Close(); err != nil {
		return postgres.Classify("change order", err)
	}
	l.setProgress(next)
	if len(types) > 0 {
		l.store.hub.WakeAfter(l.tx, l.Owner, l.ID)
	}
	return nil
}

// describe returns the events of these types with their details.
func describe(o models.Order, p models.Progress, types []models.EventType, details models.EventData) []events.New {
	list := make([]events.New, len(types))
	for i, t := range types {
		list[i] = events.New{Type: t, Data: details}
		switch t { //nolint:exhaustive // the other types have no details of their own
		case models.EventOrderPlaced, models.EventPaymentAuthorized, models.EventPaymentCaptured, models.EventPaymentVoided:
			list[i].Data.Amount = &o.Total
		case models.EventOrderCancelled:
			list[i].Data.Reason = p.Reason
		}
	}
	return list
}

const selectWork = `
	SELECT o.id, o.owner, o.status, COALESCE(o.reason, ''), o.email, o.total_amount, o.total_currency, o.created_at, o.updated_at,
		o.payment_token, COALESCE(o.authorization_id, ''), o.stock, o.payment, i.products, i.skus, i.names, i.quantities, i.amounts
	FROM orders o CROSS JOIN LATERAL (
		SELECT array_agg(product_id ORDER BY position) AS products, array_agg(sku ORDER BY position) AS skus,
			array_agg(name ORDER BY position) AS names, array_agg(quantity ORDER BY position) AS quantities,
			array_agg(unit_amount ORDER BY position) AS amounts
		FROM order_items WHERE order_id = o.id) i
	WHERE o.id = $1 `

// readWork reads an order and its items; suffix can lock it.
func readWork(ctx context.Context, db querier, id, suffix string) (w Work, err error) {
	var products, skus, names []string
	var quantities, amounts []int64
	rows, _ := db.Query(ctx, selectWork+suffix, id) // CollectExactlyOneRow returns its error
	w, err = pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (Work, error) {
		o, p := &w.Order, &w.Progress
		err := row.Scan(&o.ID, &o.Owner, &p.Status, &p.Reason, &o.Email, &o.Total.Amount, &o.Total.Currency, &o.CreatedAt, &o.UpdatedAt,
			&w.PaymentToken, &w.Authorization, &p.Stock, &p.Payment, &products, &skus, &names, &quantities, &amounts)
		return w, err
	})
	if err != nil {
		return Work{}, postgres.Classify("read order", err)
	}
	w.setProgress(w.Progress)
	for i := range products {
		w.Items = append(w.Items, models.OrderItem{
			ProductID: products[i], SKU: skus[i], Name: names[i], Quantity: quantities[i],
			UnitPrice: models.Money{Amount: amounts[i], Currency: w.Total.Currency},
		})
	}
	w.ItemCount = len(w.Items)
	return w, nil
}
