package shop

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/shop/invoice"
	"ratelimiter/models"
)

// Invoices makes the invoices of orders.
type Invoices struct {
	orders *Orders
	db     *pgxpool.Pool
}

// NewInvoices returns the invoices of the orders in db.
func NewInvoices(db *pgxpool.Pool) *Invoices { return &Invoices{orders: NewOrders(db), db: db} }

// Read returns what the invoice of one of the owner's orders says, with the
// products as they are called now. Errors: models.ErrNotFound, also for an order
// of somebody else's; models.ErrUnavailable.
func (i *Invoices) Read(ctx context.Context, owner, id string) (models.Invoice, error) {
	order, err := i.orders.Get(ctx, owner, id)
	if err != nil {
		return models.Invoice{}, err
	}
	ids := make([]string, len(order.Items))
	for n, item := range order.Items {
		ids[n] = item.ProductID
	}
	rows, err := i.db.Query(ctx, `SELECT id, sku, name FROM products WHERE id = ANY ($1)`, ids)
	if err != nil {
		return models.Invoice{}, failure("read the names of products", err)
	}
	products := make(map[string]models.InvoiceProduct, len(ids))
	var product models.InvoiceProduct
	_, err = pgx.ForEachRow(rows, []any{&id, &product.SKU, &product.Name}, func() error {
		products[id] = product
		return nil
	})
	if err != nil {
		return models.Invoice{}, failure("read the names of products", err)
	}
	return models.Invoice{Order: order, Products: products}, nil
}

// Tag returns a strong entity tag of what Draw returns.
func (*Invoices) Tag(inv models.Invoice) string { return invoice.Tag(inv) }

// Draw returns the invoice as a PDF. It keeps a core busy for milliseconds; it
// looks at ctx between pages. Errors: ctx's, or what could not be drawn.
func (*Invoices) Draw(ctx context.Context, inv models.Invoice) ([]byte, error) {
	return invoice.Draw(ctx, inv)
}
