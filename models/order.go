package models

import "time"

// OrderStatus is a state of an order.
type OrderStatus string

// The states of an order. It starts as pending and ends confirmed (stock
// reserved and payment captured) or cancelled (all effects undone).
const (
	OrderPending   OrderStatus = "pending"   // accepted, not processed yet
	OrderConfirmed OrderStatus = "confirmed" // final: stock reserved and payment captured
	OrderCancelled OrderStatus = "cancelled" // final: all effects undone
)

// Order is an order and its state. Prices and total are fixed when the order is
// placed.
type Order struct {
	ID        string      `json:"id" example:"ord_5HqT1bZr8w"` // id of the order
	Owner     string      `json:"-"`
	Status    OrderStatus `json:"status" enums:"pending,confirmed,cancelled" example:"pending"` // state of the order
	Reason    *string     `json:"reason"`                                                       // why the order was cancelled, such as payment_declined; otherwise null
	Items     []OrderItem `json:"items"`                                                        // ordered items; in lists, the first 10
	ItemCount int         `json:"item_count" minimum:"1" example:"1"`                           // number of ordered items
	Total     Money       `json:"total" exampleJSON:"{\"amount\":3998,\"currency\":\"EUR\"}"`   // sum over all items
	Email     string      `json:"email" example:"a@example.com"`                                // address for the confirmation
	CreatedAt time.Time   `json:"created_at" example:"2026-01-15T09:30:00Z"`                    // when the order was placed
	UpdatedAt time.Time   `json:"updated_at" example:"2026-01-15T09:30:00Z"`                    // when the order last changed
}

// AsPlaced returns the order as it was when it was placed. Only status, reason
// and the time of the last change ever differ.
func (o Order) AsPlaced() Order {
	o.Status, o.Reason, o.UpdatedAt = OrderPending, nil, o.CreatedAt
	return o
}

// OrderItem is one line of an order, at the price when the order was placed.
type OrderItem struct {
	ProductID string `json:"product_id" example:"prd_0y5apuf8zs"` // id of the product
	SKU       string `json:"-"`                                   // as of when the order was placed, for the invoice
	Name      string `json:"-"`
	Quantity  int64  `json:"quantity" minimum:"1" example:"2"` // number of units
	UnitPrice Money  `json:"unit_price"`                       // price of one unit when the order was placed
}

// Total returns the price of the whole line.
func (i OrderItem) Total() Money {
	return Money{Amount: i.UnitPrice.Amount * i.Quantity, Currency: i.UnitPrice.Currency}
}

// NewOrder is an order to place. Its syntax has been checked; whether its
// products exist hasn't.
type NewOrder struct {
	Owner        string
	Items        []NewItem
	Email        string
	PaymentToken string // the payment provider's; a secret

	IdempotencyKey string // orders of one owner with the same key are one order; empty: none
}

// NewItem is one line of a NewOrder.
type NewItem struct {
	ProductID string
	Quantity  int64
}
