// Package orders stores the orders of the sample shop and their idempotency
// keys. An order belongs to an owner; other owners can't see it.
package orders

import (
	"context"
	"crypto/rand"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/events"
	"ratelimiter/internal/postgres"
	"ratelimiter/internal/queue"
	"ratelimiter/models"
)

// Store keeps orders in Postgres. It is safe for concurrent use.
type Store struct {
	db    *pgxpool.Pool
	queue *queue.Queue
	hub   *events.Hub
}

// NewStore returns the orders stored in db. Their messages are published to q, which
// must have Routes. Who waits for their events is woken by hub; nil: nobody.
func NewStore(db *pgxpool.Pool, q *queue.Queue, hub *events.Hub) *Store {
	return &Store{db: db, queue: q, hub: hub}
}

const selectOrder = `
	SELECT o.id, o.owner, o.status, o.reason, o.email, o.total_amount, o.total_currency, o.created_at, o.updated_at,
		(SELECT COALESCE(max(position) + 1, 0) FROM order_items WHERE order_id = o.id)
	FROM orders o `

// maxListed is the number of an order's items in lists. An order can have 200.
const maxListed = 10

// createTimeout bounds the creation of an order, which takes milliseconds.
const createTimeout = 8 * time.Second

// Create stores a pending order at current prices and returns it. With an
// idempotency key it does so once: replayed reports that the order, or the
// faults, are those of an earlier request. Errors: KindInvalid with every
// unknown product, items in several currencies, a total out of range, or a key
// that was used for another order; KindConflict while another request with the
// key is in flight; models.ErrUnavailable.
func (s *Store) Create(ctx context.Context, spec models.NewOrder) (order models.Order, replayed bool, err error) {
	// The order is placed even when the caller hangs up, so that the outcome is
	// known.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), createTimeout)
	defer cancel()
	var p placement
	err = postgres.InTx(ctx, s.db, func(tx pgx.Tx) (err error) {
		if spec.IdempotencyKey == "" {
			p.order, err = s.place(ctx, tx, spec)
		} else {
			p, err = s.placeOnce(ctx, tx, spec)
		}
		return err
	})
	if err == nil && p.rejection != nil {
		err = p.rejection
	}
	return p.order, p.replayed, postgres.Classify("place order", err)
}

// place inserts an order with its items, its first event and its messages.
func (s *Store) place(ctx context.Context, tx pgx.Tx, spec models.NewOrder) (models.Order, error) {
	items, total, err := price(ctx, tx, spec.Items)
	if err != nil {
		return models.Order{}, err
	}
	order, err := insert(ctx, tx, spec, total)
	if err != nil {
		return models.Order{}, err
	}
	order.Items = items
	if err := insertItems(ctx, tx, order); err != nil {
		return models.Order{}, err
	}
	placed := []models.EventType{models.EventOrderPlaced}
	batch, progress := &pgx.Batch{}, models.Progress{Status: models.OrderPending}
	events.Append(batch, order.ID, order.Owner, describe(order, progress, placed, models.EventData{})...)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return models.Order{}, postgres.Classify("store event", err)
	}
	s.hub.WakeAfter(tx, order.Owner, order.ID)
	return order, s.queue.Publish(ctx, tx, messages(order, progress, placed)...)
}

// article is a product with its current names and price.
type article struct {
	sku, name string
	price     models.Money
}

// price looks up the current names and prices of all items.
func price(ctx context.Context, tx pgx.Tx, wanted []models.NewItem) ([]models.OrderItem, models.Money, error) {
	ids := make([]string, len(wanted))
	for i, item := range wanted {
		ids[i] = item.ProductID
	}
	rows, err := tx.Query(ctx, `SELECT id, sku, name, price_amount, price_currency FROM products WHERE id = ANY ($1)`, ids)
	if err != nil {
		return nil, models.Money{}, postgres.Classify("read prices", err)
	}
	articles := map[string]article{}
	var id string
	var a article
	_, err = pgx.ForEachRow(rows, []any{&id, &a.sku, &a.name, &a.price.Amount, &a.price.Currency}, func() error {
		articles[id] = a
		return nil
	})
	if err != nil {
		return nil, models.Money{}, postgres.Classify("read prices", err)
	}
	return total(wanted, articles)
}

// total adds up the items, which must share one currency.
func total(wanted []models.NewItem, articles map[string]article) ([]models.OrderItem, models.Money, error) {
	var faults models.Faults
	var sum models.Money
	items := make([]models.OrderItem, len(wanted))
	for i, item := range wanted {
		article, known := articles[item.ProductID]
		unit := article.price
		switch {
		case !known:
			faults.Add("unknown", "there is no such product", "items", strconv.Itoa(i), "product_id")
			continue
		case sum.Currency == "":
			sum.Currency = unit.Currency
		case sum.Currency != unit.Currency:
			faults.Add("currency", fmt.Sprintf("is sold in %s, the items before it in %s", unit.Currency, sum.Currency),
				"items", strconv.Itoa(i), "product_id")
		}
		if unit.Amount > 0 && item.Quantity > (math.MaxInt64-sum.Amount)/unit.Amount {
			faults.Add("max", "makes the total too large", "items", strconv.Itoa(i), "quantity")
			continue
		}
		sum.Amount += unit.Amount * item.Quantity
		items[i] = models.OrderItem{ProductID: item.ProductID, SKU: article.sku, Name: article.name, Quantity: item.Quantity, UnitPrice: unit}
	}
	return items, sum, faults.Err()
}

func insert(ctx context.Context, tx pgx.Tx, spec models.NewOrder, total models.Money) (models.Order, error) {
	rows, err := tx.Query(ctx, `
		INSERT INTO orders AS o (id, owner, email, payment_token, total_amount, total_currency)
		VALUES ($1, $2, $3, $4, $5, $6)
		RETURNING o.id, o.owner, o.status, o.reason, o.email, o.total_amount, o.total_currency, o.created_at, o.updated_at, $7::integer`,
		newOrderID(), spec.Owner, spec.Email, spec.PaymentToken, total.Amount, total.Currency, len(spec.Items))
	if err != nil {
		return models.Order{}, postgres.Classify("store order", err)
	}
	order, err := pgx.CollectExactlyOneRow(rows, scanOrder)
	return order, postgres.Classify("store order", err)
}

func insertItems(ctx context.Context, tx pgx.Tx, order models.Order) error {
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"order_items"},
		[]string{"order_id", "position", "product_id", "sku", "name", "quantity", "unit_amount", "currency"},
		pgx.CopyFromSlice(len(order.Items), func(i int) ([]any, error) {
			item := order.Items[i]
			return []any{order.ID, i, item.ProductID, item.SKU, item.Name, item.Quantity, item.UnitPrice.Amount, item.UnitPrice.Currency}, nil
		}))
	return postgres.Classify("store items", err)
}

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

// newOrderID returns an opaque id of 26 random characters.
func newOrderID() string { return "ord_" + strings.ToLower(rand.Text()) }
