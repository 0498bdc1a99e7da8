package models

// Invoice is everything that an order's invoice says.
type Invoice struct {
	Order    Order
	Products map[string]InvoiceProduct // by product id; of the order's items
}

// InvoiceProduct is how an invoice names a product.
type InvoiceProduct struct {
	SKU  string
	Name string
}
