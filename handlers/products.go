package handlers

import (
	"context"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// ProductReader reads products.
type ProductReader interface {
	// List returns up to limit products, starting after the position after (nil:
	// the start).
	List(ctx context.Context, after *models.Position, limit int) (models.Page[models.Product], error)
	// Get returns one product, or models.ErrNotFound.
	Get(ctx context.Context, id string) (models.Product, error)
}

// Products serves /v1/products.
type Products struct {
	products ProductReader
	cursors  *Cursors
}

// NewProducts returns the handlers of /v1/products.
func NewProducts(products ProductReader, cursors *Cursors) *Products {
	return &Products{products: products, cursors: cursors}
}

// List handles GET /v1/products.
//
//	@Summary		List products
//	@Description	The products of the shop, in a stable order.
//	@Tags			products
//	@ID				listProducts
//	@Produce		json
//	@Param			page	query		page	false	"Page"
//	@Param			If-None-Match	header	string	false	"ETags of earlier responses"
//	@Success		200		{object}	List[models.Product]
//	@Header			200	{string}	ETag	"Entity tag of the content, for If-None-Match"
//	@Success		304	"Not modified"
//	@Header			304	{string}	ETag	"Entity tag of the content"
//	@Failure		400		{object}	middleware.Problem
//	@Failure		422		{object}	middleware.Problem
//	@Router			/v1/products [get]
func (h *Products) List(c *gin.Context) {
	if in, ok := bind(c, h.cursors.page("products")); ok {
		products, err := h.products.List(c.Request.Context(), in.after, in.Limit)
		respondTaggedPage(c, in, products, err)
	}
}

// byID identifies a resource.
type byID struct {
	ID string `uri:"id"`
}

// Get handles GET /v1/products/{id}.
//
//	@Summary		Get a product
//	@Description	A product with the stock that can be ordered now.
//	@Tags			products
//	@ID				getProduct
//	@Produce		json
//	@Param			id	path		string	true	"Product id"	example(prd_0y5apuf8zs)
//	@Param			If-None-Match	header	string	false	"ETags of earlier responses"
//	@Success		200	{object}	models.Product
//	@Header			200	{string}	ETag	"Entity tag of the content, for If-None-Match"
//	@Success		304	"Not modified"
//	@Header			304	{string}	ETag	"Entity tag of the content"
//	@Failure		404	{object}	middleware.Problem
//	@Router			/v1/products/{id} [get]
func (h *Products) Get(c *gin.Context) {
	if in, ok := bind(c, byID{}); ok {
		product, err := h.products.Get(c.Request.Context(), in.ID)
		respondTagged(c, product, err)
	}
}
