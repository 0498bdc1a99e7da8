package shop

import (
	"context"

	"ratelimiter/internal/shop/invoice"
	"ratelimiter/models"
)

// Invoices makes the invoices of orders.
type Invoices struct {
	orders *Orders
}

// NewInvoices returns the invoices of orders.
func NewInvoices(orders *Orders) *Invoices { return &Invoices{orders: orders} }

// Read returns what the invoice of one of the owner's orders says, with the
// products as they were called when it was placed. Errors: models.ErrNotFound,
// also for an order of somebody else's; models.ErrUnavailable.
func (i *Invoices) Read(ctx context.Context, owner, id string) (models.Invoice, error) {
	order, err := i.orders.Get(ctx, owner, id)
	products := make(map[string]models.InvoiceProduct, len(order.Items))
	for _, item := range order.Items {
		products[item.ProductID] = models.InvoiceProduct{SKU: item.SKU, Name: item.Name}
	}
	return models.Invoice{Order: order, Products: products}, err
}

// Tag returns a strong entity tag of what Draw returns.
func (*Invoices) Tag(inv models.Invoice) string { return invoice.Tag(inv) }

// Draw returns the invoice as a PDF. It keeps a core busy for milliseconds; it
// looks at ctx between pages. Errors: ctx's, or what could not be drawn.
func (*Invoices) Draw(ctx context.Context, inv models.Invoice) ([]byte, error) {
	return invoice.Draw(ctx, inv)
}
