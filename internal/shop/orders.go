package shop

import (
	"context"
	"crypto/rand"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

// Orders keeps what callers ordered.
type Orders struct {
	db *pgxpool.Pool
}

// NewOrders returns the orders in db.
func NewOrders(db *pgxpool.Pool) *Orders { return &Orders{db: db} }

const selectOrder = `
	SELECT o.id, o.owner, o.status, o.reason, o.email, o.total_amount, o.total_currency, o.created_at, o.updated_at
	FROM orders o `

// createTimeout bounds the placing of an order, which takes milliseconds.
const createTimeout = 8 * time.Second

// Create stores a pending order at today's prices and returns it. With an
// idempotency key that happens once: replayed says that an earlier request has
// had this answer, or this *models.InvalidError. Errors: *models.InvalidError
// that names every unknown product, items in several currencies, a total out of
// range or a key that came with another order; *models.StatusError (409) while
// another request with the key is under way; models.ErrUnavailable.
func (o *Orders) Create(ctx context.Context, spec models.NewOrder) (order models.Order, replayed bool, err error) {
	// A caller who hangs up doesn't know whether the order was placed; so that
	// we do, it is placed all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), createTimeout)
	defer cancel()
	var p placement
	err = postgres.InTx(ctx, o.db, func(tx pgx.Tx) (err error) {
		if spec.IdempotencyKey == "" {
			p.order, err = place(ctx, tx, spec)
		} else {
			p, err = o.placeOnce(ctx, tx, spec)
		}
		return err
	})
	if err == nil && p.refusal != nil {
		err = p.refusal
	}
	return p.order, p.replayed, failure("place order", err)
}

// place writes an order and its items.
func place(ctx context.Context, tx pgx.Tx, spec models.NewOrder) (models.Order, error) {
	items, total, err := price(ctx, tx, spec.Items)
	if err != nil {
		return models.Order{}, err
	}
	order, err := insert(ctx, tx, spec, total)
	if err != nil {
		return models.Order{}, err
	}
	order.Items = items
	return order, insertItems(ctx, tx, order)
}

// article is a product as it is today.
type article struct {
	sku, name string
	price     models.Money
}

// price looks up what every item is called, and costs, today.
func price(ctx context.Context, tx pgx.Tx, wanted []models.NewItem) ([]models.OrderItem, models.Money, error) {
	ids := make([]string, len(wanted))
	for i, item := range wanted {
		ids[i] = item.ProductID
	}
	rows, err := tx.Query(ctx, `SELECT id, sku, name, price_amount, price_currency FROM products WHERE id = ANY ($1)`, ids)
	if err != nil {
		return nil, models.Money{}, failure("read prices", err)
	}
	articles := map[string]article{}
	var id string
	var a article
	_, err = pgx.ForEachRow(rows, []any{&id, &a.sku, &a.name, &a.price.Amount, &a.price.Currency}, func() error {
		articles[id] = a
		return nil
	})
	if err != nil {
		return nil, models.Money{}, failure("read prices", err)
	}
	return total(wanted, articles)
}

// total adds the items up, in the one currency that they must share.
func total(wanted []models.NewItem, articles map[string]article) ([]models.OrderItem, models.Money, error) {
	var faults models.Faults
	var sum models.Money
	items := make([]models.OrderItem, len(wanted))
	for i, item := range wanted {
		article, known := articles[item.ProductID]
		unit := article.price
		switch {
		case !known:
			faults.Body(fmt.Sprintf("/items/%d/product_id", i), "unknown", "there is no such product")
			continue
		case sum.Currency == "":
			sum.Currency = unit.Currency
		case sum.Currency != unit.Currency:
			faults.Body(fmt.Sprintf("/items/%d/product_id", i), "currency",
				fmt.Sprintf("is sold in %s, the items before it in %s", unit.Currency, sum.Currency))
		}
		if unit.Amount > 0 && item.Quantity > (math.MaxInt64-sum.Amount)/unit.Amount {
			faults.Body(fmt.Sprintf("/items/%d/quantity", i), "max", "makes the total too large")
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
		RETURNING o.id, o.owner, o.status, o.reason, o.email, o.total_amount, o.total_currency, o.created_at, o.updated_at`,
		newOrderID(), spec.Owner, spec.Email, spec.PaymentToken, total.Amount, total.Currency)
	if err != nil {
		return models.Order{}, failure("store order", err)
	}
	order, err := pgx.CollectExactlyOneRow(rows, scanOrder)
	if err != nil {
		return models.Order{}, failure("store order", err)
	}
	return order, nil
}

func insertItems(ctx context.Context, tx pgx.Tx, order models.Order) error {
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"order_items"},
		[]string{"order_id", "position", "product_id", "sku", "name", "quantity", "unit_amount", "currency"},
		pgx.CopyFromSlice(len(order.Items), func(i int) ([]any, error) {
			item := order.Items[i]
			return []any{order.ID, i, item.ProductID, item.SKU, item.Name, item.Quantity, item.UnitPrice.Amount, item.UnitPrice.Currency}, nil
		}))
	if err != nil {
		return failure("store items", err)
	}
	return nil
}

// List returns up to limit of the owner's orders, newest first, from behind
// after (nil: the start). Errors: models.ErrUnavailable.
func (o *Orders) List(ctx context.Context, owner string, after *models.Position, limit int) (models.Page[models.Order], error) {
	before, id := "infinity", ""
	if after != nil {
		before, id = after.Sort, after.ID
	}
	rows, err := o.db.Query(ctx, selectOrder+`
		WHERE o.owner = $1 AND (o.created_at, o.id) < ($2::text::timestamptz, $3)
		ORDER BY o.created_at DESC, o.id DESC LIMIT $4`, owner, before, id, limit+1)
	if err != nil {
		return models.Page[models.Order]{}, failure("list orders", err)
	}
	orders, err := pgx.CollectRows(rows, scanOrder)
	if err != nil {
		return models.Page[models.Order]{}, failure("list orders", err)
	}
	result := models.PageOf(orders, limit, func(last models.Order) models.Position {
		return models.Position{Sort: last.CreatedAt.UTC().Format(time.RFC3339Nano), ID: last.ID}
	})
	return result, addItems(ctx, o.db, result.Data)
}

// Get returns one of the owner's orders. Errors: models.ErrNotFound, also for
// an order of somebody else's; models.ErrUnavailable.
func (o *Orders) Get(ctx context.Context, owner, id string) (models.Order, error) {
	return get(ctx, o.db, owner, id)
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func get(ctx context.Context, db querier, owner, id string) (models.Order, error) {
	rows, err := db.Query(ctx, selectOrder+`WHERE o.owner = $1 AND o.id = $2`, owner, id)
	if err != nil {
		return models.Order{}, failure("read order", err)
	}
	order, err := pgx.CollectExactlyOneRow(rows, scanOrder)
	if err != nil {
		return models.Order{}, found("order", id, err)
	}
	one := []models.Order{order}
	err = addItems(ctx, db, one)
	return one[0], err
}

// addItems reads the items of all orders in one query.
func addItems(ctx context.Context, db querier, orders []models.Order) error {
	byID := make(map[string]*models.Order, len(orders))
	ids := make([]string, len(orders))
	for i := range orders {
		ids[i] = orders[i].ID
		byID[orders[i].ID] = &orders[i]
	}
	rows, err := db.Query(ctx, `
		SELECT order_id, product_id, sku, name, quantity, unit_amount, currency
		FROM order_items WHERE order_id = ANY ($1) ORDER BY order_id, position`, ids)
	if err != nil {
		return failure("read items", err)
	}
	var id string
	var item models.OrderItem
	_, err = pgx.ForEachRow(rows, []any{&id, &item.ProductID, &item.SKU, &item.Name, &item.Quantity, &item.UnitPrice.Amount, &item.UnitPrice.Currency}, func() error {
		byID[id].Items = append(byID[id].Items, item)
		return nil
	})
	if err != nil {
		return failure("read items", err)
	}
	return nil
}

func scanOrder(row pgx.CollectableRow) (models.Order, error) {
	var o models.Order
	err := row.Scan(&o.ID, &o.Owner, &o.Status, &o.Reason, &o.Email, &o.Total.Amount, &o.Total.Currency, &o.CreatedAt, &o.UpdatedAt)
	return o, err
}

// newOrderID returns an id of 26 random characters: opaque, and not to be
// guessed or counted.
func newOrderID() string { return "ord_" + strings.ToLower(rand.Text()) }
