package handlers

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// ProductService reads and changes products.
type ProductService interface {
	// List returns up to limit products, starting after the position after (nil:
	// the start).
	List(ctx context.Context, after *models.Position, limit int) (models.Page[models.Product], error)
	// Get returns one product as EncodeProduct encodes it, or models.ErrNotFound.
	Get(ctx context.Context, id string) (*models.Representation, error)
	// Create stores a new product.
	Create(ctx context.Context, spec models.NewProduct) (models.Product, error)
	// Change lets apply change a product that meets the condition. An error of
	// apply is returned.
	Change(ctx context.Context, id string, condition models.Precondition, apply func(*models.Product) error) (models.Product, error)
	// Delete removes a product that meets the condition.
	Delete(ctx context.Context, id string, condition models.Precondition) error
}

// Products serves /v1/products.
type Products struct {
	products ProductService
	cursors  *Cursors
}

// NewProducts returns the handlers of /v1/products.
func NewProducts(products ProductService, cursors *Cursors) *Products {
	return &Products{products: products, cursors: cursors}
}

// EncodeProduct returns a product as it is sent. Its entity tag has the version,
// for If-Match, and the hash of the content, for If-None-Match: the stock changes
// without the version.
func EncodeProduct(product models.Product) (models.Representation, error) {
	body, err := json.Marshal(product)
	tag := `"` + strconv.FormatInt(product.Version, 10) + "-" + contentTag(body)[1:]
	return models.Representation{Body: body, ETag: []string{tag}}, err
}

// List handles GET /v1/products.
//
//	@Summary		List products
//	@Description	The products of the shop, in a stable order. Their stock is at most a second old.
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
//	@Description	A product with the stock that can be ordered now, at most a second old.
//	@Tags			products
//	@ID				getProduct
//	@Produce		json
//	@Param			id	path		string	true	"Product id"	example(prd_0y5apuf8zs)
//	@Param			If-None-Match	header	string	false	"ETags of earlier responses"
//	@Success		200	{object}	models.Product
//	@Header			200	{string}	ETag	"Entity tag of the content and the version, for If-None-Match and If-Match"
//	@Success		304	"Not modified"
//	@Header			304	{string}	ETag	"Entity tag of the content and the version"
//	@Failure		404	{object}	middleware.Problem
//	@Router			/v1/products/{id} [get]
func (h *Products) Get(c *gin.Context) {
	if in, ok := bind(c, byID{}); ok {
		product, err := h.products.Get(c.Request.Context(), in.ID)
		respondEncoded(c, product, err)
	}
}

// Create handles POST /v1/products.
//
//	@Summary		Create a product
//	@Description	The product can be ordered when the response is sent, and is in every instance's responses within two seconds.
//	@Tags			products
//	@ID				createProduct
//	@Accept			json
//	@Produce		json
//	@Param			product	body		createProductRequest	true	"The product"
//	@Success		201	{object}	models.Product
//	@Header			201	{string}	Location	"Path of the product"
//	@Header			201	{string}	ETag		"Entity tag of the content and the version"
//	@Failure		400	{object}	middleware.Problem
//	@Failure		409	{object}	middleware.Problem	"Another product has the SKU"
//	@Failure		413	{object}	middleware.Problem
//	@Failure		415	{object}	middleware.Problem
//	@Failure		422	{object}	middleware.Problem
//	@Router			/v1/products [post]
func (h *Products) Create(c *gin.Context) {
	if in, ok := bind(c, makeProduct{}); ok {
		product, err := h.products.Create(c.Request.Context(), in.Body.toModel())
		if err == nil {
			c.Header("Location", "/v1/products/"+product.ID)
		}
		respondProduct(c, http.StatusCreated, product, err)
	}
}

// Patch handles PATCH /v1/products/{id}.
//
//	@Summary		Change a product
//	@Description	A JSON merge patch (RFC 7396): absent fields stay unchanged. The change is in this instance's responses when the response is sent, and in every instance's within two seconds. Orders that were placed keep their names and prices.
//	@Tags			products
//	@ID				updateProduct
//	@Accept			json
//	@Produce		json
//	@Param			id			path		string	true	"Product id"	example(prd_0y5apuf8zs)
//	@Param			If-Match	header		string	false	"Change only this version: the ETag of an earlier response. Orders change the stock, and not the version; a change of the stock also requires that the stock is the one of that response."
//	@Param			patch		body		updateProductRequest	true	"Changes"
//	@Success		200	{object}	models.Product
//	@Header			200	{string}	ETag	"Entity tag of the content and the version"
//	@Failure		400	{object}	middleware.Problem
//	@Failure		404	{object}	middleware.Problem
//	@Failure		409	{object}	middleware.Problem	"Another product has the SKU"
//	@Failure		412	{object}	middleware.Problem
//	@Failure		413	{object}	middleware.Problem
//	@Failure		415	{object}	middleware.Problem
//	@Failure		422	{object}	middleware.Problem
//	@Router			/v1/products/{id} [patch]
func (h *Products) Patch(c *gin.Context) {
	if in, ok := bind(c, changeProduct{}); ok {
		product, err := h.products.Change(c.Request.Context(), in.ID, in.IfMatch.Precondition, in.apply)
		respondProduct(c, http.StatusOK, product, err)
	}
}

// Delete handles DELETE /v1/products/{id}.
//
//	@Summary		Delete a product
//	@Description	The product can't be read or ordered any more, and its SKU is free. Orders that were placed keep it.
//	@Tags			products
//	@ID				deleteProduct
//	@Produce		json
//	@Param			id			path	string	true	"Product id"	example(prd_0y5apuf8zs)
//	@Param			If-Match	header	string	false	"Delete only this version: the ETag of an earlier response"
//	@Success		204
//	@Failure		404	{object}	middleware.Problem
//	@Failure		412	{object}	middleware.Problem
//	@Router			/v1/products/{id} [delete]
func (h *Products) Delete(c *gin.Context) {
	if in, ok := bindFor(c, versionedProduct{}); ok {
		respondEmpty(c, h.products.Delete(c.Request.Context(), in.ID, in.IfMatch.Precondition))
	}
}

// respondProduct responds with a product that was written, or fails the request
// with err.
func respondProduct(c *gin.Context, status int, product models.Product, err error) {
	var encoded models.Representation
	if err == nil {
		encoded, err = EncodeProduct(product)
	}
	if err != nil {
		fail(c, err)
		return
	}
	c.Writer.Header()["Etag"] = encoded.ETag
	write(c, status, encoded.Body)
}
