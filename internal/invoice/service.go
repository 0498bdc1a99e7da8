package invoice

import (
	"context"

	"ratelimiter/models"
)

// OrderReader reads orders.
type OrderReader interface {
	// Get returns one of the owner's orders, or models.ErrNotFound.
	Get(ctx context.Context, owner, id string) (models.Order, error)
}

// Service reads and draws the invoices of orders.
type Service struct {
	orders OrderReader
}

// NewService returns a Service that reads from orders.
func NewService(orders OrderReader) *Service { return &Service{orders: orders} }

// Read returns the content of the invoice of one of the owner's orders, with
// the names that the products had when it was placed. Errors:
// models.ErrNotFound, also for another owner's order; models.ErrUnavailable.
func (s *Service) Read(ctx context.Context, owner, id string) (models.Invoice, error) {
	order, err := s.orders.Get(ctx, owner, id)
	products := make(map[string]models.InvoiceProduct, len(order.Items))
	for _, item := range order.Items {
		products[item.ProductID] = models.InvoiceProduct{SKU: item.SKU, Name: item.Name}
	}
	return models.Invoice{Order: order, Products: products}, err
}

// Tag returns a strong entity tag of the PDF that Draw returns.
func (*Service) Tag(inv models.Invoice) string { return Tag(inv) }

// Draw returns the invoice as a PDF. It takes milliseconds of CPU time and
// checks ctx between pages. Errors: ctx's, and failures to draw.
func (*Service) Draw(ctx context.Context, inv models.Invoice) ([]byte, error) { return Draw(ctx, inv) }
