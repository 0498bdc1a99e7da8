package handlers

import (
	"bytes"
	"context"
	"net/http"
	"regexp"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// InvoiceService makes the invoices of orders.
type InvoiceService interface {
	// Read returns the content of the invoice of one of the owner's orders, or
	// models.ErrNotFound.
	Read(ctx context.Context, owner, id string) (models.Invoice, error)
	// Tag returns the entity tag of what Draw would return, without drawing it.
	Tag(inv models.Invoice) string
	// Draw returns the invoice as a PDF. It is CPU-bound and checks ctx.
	Draw(ctx context.Context, inv models.Invoice) ([]byte, error)
}

// CPU bounds how much CPU-bound work runs at once.
type CPU interface {
	// Do runs job in the caller's goroutine when a worker is free and returns its
	// error; models.ErrOverloaded when none is free soon.
	Do(ctx context.Context, job func(context.Context) error) error
}

// Invoices serves the invoices of /v1/orders.
type Invoices struct {
	invoices InvoiceService
	cpu      CPU
}

// NewInvoices returns the handler of invoices, which draws them on cpu.
func NewInvoices(invoices InvoiceService, cpu CPU) *Invoices {
	return &Invoices{invoices: invoices, cpu: cpu}
}

// Get handles GET /v1/orders/{id}/invoice. It reads from the database before it occupies a worker, and responds after it.
//
//	@Summary		Get the invoice of an order
//	@Description	The invoice as a PDF, in every state of the order: marked as unpaid until the order is confirmed, and as cancelled if it is cancelled. The PDF is rendered on request. When the server is at capacity, it responds 503 with Retry-After, and the request costs nothing.
//	@Tags			orders
//	@ID				getInvoice
//	@Produce		application/pdf
//	@Param			id				path		string	true	"Order id"	example(ord_5HqT1bZr8w)
//	@Param			If-None-Match	header		string	false	"ETags of earlier responses"
//	@Success		200				{file}		file	"The invoice"
//	@Header			200				{string}	ETag				"Entity tag of the invoice"
//	@Header			200				{string}	Content-Disposition	"attachment, with a file name"
//	@Success		304				"Not modified"
//	@Failure		404				{object}	middleware.Problem
//	@Failure		503				{object}	middleware.Problem
//	@Router			/v1/orders/{id}/invoice [get]
func (h *Invoices) Get(c *gin.Context) {
	in, ok := bindFor(c, byID{}, pdfType)
	if !ok {
		return
	}
	inv, err := h.invoices.Read(c.Request.Context(), keyOf(c).Owner, in.ID)
	if err != nil {
		fail(c, err)
		return
	}
	tag := h.invoices.Tag(inv)
	if notModified(c, []string{tag}) {
		return
	}
	pdf, err := h.draw(c.Request.Context(), inv)
	if err != nil {
		fail(c, err)
		return
	}
	keepWithTag(c, []string{tag})
	c.Header("Content-Disposition", `attachment; filename="`+fileName(inv.Order.ID)+`"`)
	c.DataFromReader(http.StatusOK, int64(len(pdf)), pdfType, bytes.NewReader(pdf), nil)
}

const pdfType = "application/pdf"

// draw draws an invoice in the CPU pool.
func (h *Invoices) draw(ctx context.Context, inv models.Invoice) (pdf []byte, err error) {
	err = h.cpu.Do(ctx, func(ctx context.Context) (err error) {
		pdf, err = h.invoices.Draw(ctx, inv)
		return err
	})
	return pdf, err
}

var unsafeInFileName = regexp.MustCompile(`[^A-Za-z0-9_-]`)

// fileName returns the file name of an order's invoice, which is safe in a header
// field and on any file system.
func fileName(orderID string) string {
	return "invoice-" + unsafeInFileName.ReplaceAllString(orderID, "-") + ".pdf"
}
