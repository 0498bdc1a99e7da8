package models

import "time"

// Money is an amount in the minor units of a currency: 1999 EUR is 19.99 €.
type Money struct {
	Amount   int64  `json:"amount" minimum:"0" example:"1999"`           // in minor units
	Currency string `json:"currency" pattern:"^[A-Z]{3}$" example:"EUR"` // ISO 4217, three capital letters
}

// Product is an article that the shop sells.
type Product struct {
	ID          string    `json:"id" example:"prd_0y5apuf8zs"`                           // names the product
	SKU         string    `json:"sku" example:"CUP-ESP-2"`                               // the shop's own number for it
	Name        string    `json:"name" example:"Espresso cups, set of two"`              // what it is called
	Description string    `json:"description" example:"Porcelain, 80 ml, with saucers."` // what it is like
	Price       Money     `json:"price"`                                                 // of one
	Stock       int64     `json:"stock" minimum:"0" example:"1000"`                      // units that can be ordered now
	UpdatedAt   time.Time `json:"updated_at" example:"2026-01-15T09:30:00Z"`             // when it last changed
}
