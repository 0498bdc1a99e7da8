// Package handlers carries the sample's annotations.
package handlers

import (
	"time"

	"ratelimiter/scripts/openapi/testdata/sample/models"
)

// List is one page of anything.
type List[T any] struct {
	Data       []T     `json:"data"`
	NextCursor *string `json:"next_cursor"`
}

// Problem is what models.Problem is called too.
type Problem struct {
	Title string `json:"title"`
}

// NewProduct is what a caller sends to create a product.
type NewProduct struct {
	Name  string       `json:"name" binding:"required,max=120" example:"Blue mug"`
	Price models.Money `json:"price" exampleJSON:"{\"amount\":250,\"currency\":\"USD\"}"`
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
//	@Param			If-None-Match	header	string	false	"What you have"
//	@Success		200		{object}	List[models.Product]
//	@Header			200		{string}	ETag	"Of this page"
//	@Success		304
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

// page is where a list goes on.
type page struct {
	Limit  int             `form:"limit" minimum:"1" maximum:"100" default:"20"`                 // how many
	Cursor wrapped[string] `form:"cursor" swaggertype:"string" pattern:"^[a-z]*$" example:"abc"` // where the last page ended
}

// wrapped says whether there was a value.
type wrapped[T any] struct {
	Present bool
	Value   T
}

// changeProduct is a whole request: path, query, headers and body.
//
// What stands here is for readers of [changeProduct] alone.
type changeProduct struct {
	page
	ID       string             `uri:"id" minLength:"3" maxLength:"64" example:"prd_1"`                                        // the product's id
	Since    *time.Time         `form:"since"`                                                                                 // only if it changed since
	Currency []models.Currency  `form:"currency" minItems:"1" maxItems:"2"`                                                    // in which currencies
	Sort     string             `form:"sort" enums:"name,price" default:"name" validate:"required"`                            // by what
	IfMatch  string             `header:"If-Match" maxLength:"40"`                                                             // only this version
	Name     string             `json:"name" validate:"required" pattern:"^[A-Z]" maxLength:"120" example:"Mug"`               // what it is called
	Extra    map[string]*string `json:"extra" maxItems:"3" minName:"1" maxName:"8" maxLength:"20"`                             // what else there is to say
	Counts   map[string]int64   `json:"counts" minimum:"0"`                                                                    // how many of each
	Labels   []string           `json:"labels" minItems:"1" maxItems:"5" uniqueItems:"true" pattern:"^[a-z]+$" maxLength:"10"` // what it is found by
}

// ChangeProduct changes a product.
//
//	@Summary	Change a product
//	@ID			changeProduct
//	@Tags		products
//	@Accept		json
//	@Produce	json
//	@Param		request	query		changeProduct	true	"path, query and headers"
//	@Param		product	body		changeProduct	true	"The changes"
//	@Success	204
//	@Security	BearerAuth
//	@Failure	409		{object}	models.Problem	"It is sold out"
//	@Router		/v1/products/{id} [patch]
func ChangeProduct() {}

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

// GetProductSheet gives a product's data sheet.
//
//	@Summary	Get a product's data sheet
//	@ID			getProductSheet
//	@Tags		products
//	@Produce	application/pdf
//	@Param		id	path	string	true	"The product's id"
//	@Success	200	{file}	file
//	@Failure	404
//	@Security	BearerAuth
//	@Router		/v1/products/{id}/sheet [get]
func GetProductSheet() {}

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
