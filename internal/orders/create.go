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

	"ratelimiter/internal/events"
	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

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
	p := placement{store: s, spec: spec}
	if err := postgres.InBatches(ctx, s.db, p.read, func(tx pgx.Tx, batch, after *pgx.Batch) error { return p.write(ctx, tx, batch, after) }); err != nil {
		return models.Order{}, false, postgres.Classify("place order", err)
	}
	if p.first != nil {
		order, err = s.replay(ctx, spec.Owner, p.first)
		return order, true, err
	}
	if p.rejection != nil {
		return models.Order{}, false, p.rejection
	}
	return p.order, false, nil
}

// placement is one request for an order.
type placement struct {
	store *Store
	spec  models.NewOrder

	// What is read.
	articles map[string]article
	locked   bool    // the idempotency key
	first    *record // nil: there was no earlier request with the idempotency key

	// The outcome of a first request: the order, or faults that only the
	// transaction could find.
	order     models.Order
	rejection *models.Error // nil: the order was placed
}

// article is a product with its current names and price.
type article struct {
	sku, name string
	price     models.Money
}

// read queues what is needed to decide the outcome.
func (p *placement) read(batch *pgx.Batch) {
	if p.spec.IdempotencyKey != "" {
		p.readRecord(batch)
	}
	ids := make([]string, len(p.spec.Items))
	for i, item := range p.spec.Items {
		ids[i] = item.ProductID
	}
	p.articles = make(map[string]article, len(ids))
	batch.Queue(`SELECT id, sku, name, price_amount, price_currency FROM products WHERE id = ANY ($1)`, ids).Query(func(rows pgx.Rows) error {
		var id string
		var a article
		_, err := pgx.ForEachRow(rows, []any{&id, &a.sku, &a.name, &a.price.Amount, &a.price.Currency}, func() error {
			p.articles[id] = a
			return nil
		})
		return err
	})
}

// write queues the outcome: the order with its items, first event and messages;
// and the record of the idempotency key, which rejections have too. A replay
// writes nothing.
func (p *placement) write(ctx context.Context, tx pgx.Tx, batch, after *pgx.Batch) error {
	var hash bodyHash
	if p.spec.IdempotencyKey != "" {
		var err error
		if hash, err = p.check(); err != nil || p.first != nil {
			return err
		}
	}
	items, sum, err := total(p.spec.Items, p.articles)
	if p.rejection = rejectionOf(err); err != nil && (p.rejection == nil || p.spec.IdempotencyKey == "") {
		return err
	}
	if p.rejection == nil {
		if err := p.insert(ctx, tx, batch, after, items, sum); err != nil {
			return err
		}
	}
	if p.spec.IdempotencyKey != "" {
		p.insertRecord(batch, hash, models.RequestFrom(ctx).ID)
	}
	return nil
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

// insert queues the order with its items, its first event and its messages.
func (p *placement) insert(ctx context.Context, tx pgx.Tx, batch, after *pgx.Batch, items []models.OrderItem, sum models.Money) error {
	p.order = models.Order{
		ID: newOrderID(), Owner: p.spec.Owner, Status: models.OrderPending, Items: items, ItemCount: len(items), Total: sum, Email: p.spec.Email,
	}
	o := &p.order
	batch.Queue(`
		INSERT INTO orders (id, owner, email, payment_token, total_amount, total_currency)
		VALUES ($1, $2, $3, $4, $5, $6) RETURNING created_at, updated_at`,
		o.ID, o.Owner, o.Email, p.spec.PaymentToken, sum.Amount, sum.Currency).QueryRow(func(row pgx.Row) error {
		return row.Scan(&o.CreatedAt, &o.UpdatedAt)
	})
	insertItems(batch, o.ID, items)
	placed := []models.EventType{models.EventOrderPlaced}
	progress := models.Progress{Status: models.OrderPending, Stock: models.StockNone, Payment: models.PaymentNone}
	events.Append(batch, o.ID, o.Owner, describe(*o, progress, placed, models.EventData{})...)
	return p.store.queue.PublishBatch(ctx, tx, batch, after, messages(*o, progress, placed)...)
}

// insertItems queues the items of an order.
func insertItems(batch *pgx.Batch, orderID string, items []models.OrderItem) {
	n := len(items)
	products, skus, names, currencies := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	quantities, amounts := make([]int64, n), make([]int64, n)
	for i, item := range items {
		products[i], skus[i], names[i], currencies[i] = item.ProductID, item.SKU, item.Name, item.UnitPrice.Currency
		quantities[i], amounts[i] = item.Quantity, item.UnitPrice.Amount
	}
	batch.Queue(`
		INSERT INTO order_items (order_id, position, product_id, sku, name, quantity, unit_amount, currency)
		SELECT $1, n - 1, product, sku, name, quantity, amount, currency
		FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::text[]) WITH ORDINALITY
			AS item (product, sku, name, quantity, amount, currency, n)`,
		orderID, products, skus, names, quantities, amounts, currencies)
}

// newOrderID returns an opaque id of 26 random characters.
func newOrderID() string { return "ord_" + strings.ToLower(rand.Text()) }
