// Package handlers carries the sample's annotations.
package handlers

import "ratelimiter/scripts/openapi/testdata/sample/models"

// List is one page of anything.
type List[T any] struct {
	Data       []T     `json:"data"`
	NextCursor *string `json:"next_cursor"`
}

// Problem shares its last name with models.Problem.
type Problem struct {
	Title string `json:"title"`
}

// NewProduct is what a caller sends to create a product.
type NewProduct struct {
	Name  string       `json:"name" binding:"required,max=120" example:"Blue mug"`
	Price models.Money `json:"price"`
	Note  *string      `json:"note"`
}

// ListProducts lists products.
//
//	@Summary		List products
//	@Description	A page of products, in order of name.
//	@ID				listProducts
//	@Tags			products
//	@Produce		json
//	@Param			limit	query		int		false	"How many"	minimum(1)	maximum(100)	default(20)
//	@Param			cursor	query		string	false	"Where the last page ended"
//	@Success		200		{object}	List[models.Product]
//	@Failure		422		{object}	models.Problem
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/products [get]
func ListProducts() {}

// CreateProduct makes a product.
//
//	@Summary	Create a product
//	@ID			createProduct
//	@Tags		products
//	@Accept		json
//	@Produce	json
//	@Param		product	body		NewProduct	true	"The product"
//	@Success	201		{object}	models.Product
//	@Header		201		{string}	Location	"Where the product is"
//	@Failure	409		{object}	models.Problem	"The name is taken"
//	@Header		409		{string}	Link	"The product that has the name"
//	@Security	BearerAuth
//	@Router		/v1/products [post]
func CreateProduct() {}

// GetProduct gets one product.
//
//	@Summary	Get a product
//	@ID			getProduct
//	@Tags		products
//	@Produce	json
//	@Param		id	path		string	true	"The product's id"
//	@Success	200	{object}	models.Product
//	@Failure	404
//	@Security	ApiKeyAuth
//	@Router		/v1/products/{id} [get]
func GetProduct() {}

// Livez says that the process runs.
//
//	@Summary	Say whether the process runs
//	@ID			livez
//	@Tags		products
//	@Produce	json
//	@Success	200	{object}	Problem
//	@Failure	503	{object}	models.Problem
//	@Router		/livez [get]
func Livez() {}
