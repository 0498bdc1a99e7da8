package invoice

import (
	"fmt"
	"strings"
	"time"

	"ratelimiter/models"
)

// names of products: supported and unsupported scripts, long words, PDF syntax.
var names = []string{
	"Espresso cups, set of two",
	"Größe Ærø Łódź Đồng İstanbul Čaj",
	"Καφετιέρα για ελληνικό καφέ",
	"Кофемолка ручная, 30 г",
	"急须 コーヒーカップ 에스프레소",
	"Cafe\u0301 de\u0301compose\u0301",
	"A kettle with a name that goes on for longer than one line of the table has room for",
	strings.Repeat("Donaudampfschifffahrtsgesellschaft", 20),
	"(brackets) \\ backslash /Type /Catalog >> endobj",
}

// order returns the invoice of a confirmed order of n items.
func order(n int) models.Invoice {
	at := time.Date(2026, 3, 10, 12, 30, 45, 0, time.UTC)
	inv := models.Invoice{Products: map[string]models.InvoiceProduct{}, Order: models.Order{
		ID: "ord_abcdefghijklmnopqrstuvwxyz", Status: models.OrderConfirmed, Email: "buyer@example.com",
		Total: models.Money{Currency: "EUR"}, CreatedAt: at, UpdatedAt: at.Add(time.Minute),
	}}
	for i := range n {
		id := fmt.Sprintf("prd_%d", i)
		item := models.OrderItem{ProductID: id, Quantity: int64(i%7 + 1), UnitPrice: models.Money{Amount: int64(100 + 37*i), Currency: "EUR"}}
		inv.Products[id] = models.InvoiceProduct{SKU: fmt.Sprintf("SKU-%04d", i), Name: fmt.Sprintf("Product number %d", i)}
		inv.Order.Items = append(inv.Order.Items, item)
		inv.Order.Total.Amount += item.Quantity * item.UnitPrice.Amount
	}
	return inv
}

// named sets the names of the products, cycling through names.
func named(inv models.Invoice, names ...string) models.Invoice {
	for i, item := range inv.Order.Items {
		product := inv.Products[item.ProductID]
		product.Name = names[i%len(names)]
		inv.Products[item.ProductID] = product
	}
	return inv
}
