package models

import "time"

// Money is an amount in the minor units of a currency: 1999 EUR is 19.99 €.
type Money struct {
	Amount   int64  `json:"amount" minimum:"0" example:"1999"`           // amount in minor units
	Currency string `json:"currency" pattern:"^[A-Z]{3}$" example:"EUR"` // currency code (ISO 4217)
}

// Product is an article that the shop sells.
type Product struct {
	ID          string    `json:"id" example:"prd_0y5apuf8zs"`                           // id of the product
	SKU         string    `json:"sku" example:"CUP-ESP-2"`                               // stock keeping unit
	Name        string    `json:"name" example:"Espresso cups, set of two"`              // name of the product
	Description string    `json:"description" example:"Porcelain, 80 ml, with saucers."` // description of the product
	Price       Money     `json:"price"`                                                 // price of one unit
	Stock       int64     `json:"stock" minimum:"0" example:"1000"`                      // units that can be ordered now
	UpdatedAt   time.Time `json:"updated_at" example:"2026-01-15T09:30:00Z"`             // when something other than the stock last changed
	Version     int64     `json:"-"`                                                     // increases with every change of something other than the stock
}

// NewProduct describes a product to create.
type NewProduct struct {
	SKU, Name, Description string
	Price                  Money
	Stock                  int64
}

// Representation is a resource as it is sent, encoded once for many responses. It
// must not be changed.
type Representation struct {
	Body []byte   // JSON
	ETag []string // the one line of the header field
}
