package invoice

import (
	"strconv"

	"ratelimiter/models"
)

// The page, A4, in millimetres; sizes of letters in points.
const (
	pageWidth, pageHeight = 210.0, 297.0
	margin                = 18.0
	right                 = pageWidth - margin
	bottom                = pageHeight - 22.0 // below it stands the footer
	nameSize, smallSize   = 9.5, 8.5
	lineHeight            = 4.4
	rowPadding            = 1.8 // above and below a row's lines
	headHeight            = 8.0 // the table's head
	headingHeight         = 66.0
	runningHeight         = 10.0 // the heading of the pages after the first
	totalsHeight          = 26.0
	maxNameLines          = 3
	maxSKULines           = 2
	maxEmailLines         = 6
)

// column is one of the table: x is its edge on the side that its text keeps to.
type column struct {
	title     string
	x, width  float64
	flushLeft bool
}

// columns of the table, from left to right.
var columns = struct{ number, name, sku, quantity, unit, total column }{
	number:   column{"#", margin + 7, 7, false},
	name:     column{"Item", margin + 11, 66, true},
	sku:      column{"SKU", margin + 80, 28, true},
	quantity: column{"Quantity", margin + 124, 15, false},
	unit:     column{"Unit price", margin + 149, 24, false},
	total:    column{"Total", right, 24, false},
}

// row is one item, ready to draw.
type row struct {
	number, quantity, unit, total string
	name, sku                     []string // lines
}

func (r *row) height() float64 {
	return float64(max(len(r.name), len(r.sku), 1))*lineHeight + 2*rowPadding
}

// sheet is what one page holds.
type sheet struct {
	rows   []row
	totals bool // the sum stands here, below the rows
}

// paginate lays the items out. A row is never split; the totals stand on the
// last page, alone where there is no room below the last row.
func paginate(t *typesetter, inv models.Invoice) []sheet {
	sheets := []sheet{{}}
	y := margin + headingHeight + emailHeight(t, inv) + headHeight
	next := func() {
		sheets = append(sheets, sheet{})
		y = margin + runningHeight + headHeight
	}
	for i := range inv.Order.Items {
		r := newRow(t, inv, i)
		if y+r.height() > bottom {
			next()
		}
		last := &sheets[len(sheets)-1]
		last.rows = append(last.rows, r)
		y += r.height()
	}
	if y+totalsHeight > bottom {
		next()
	}
	sheets[len(sheets)-1].totals = true
	return sheets
}

// newRow makes the row of the item at index.
func newRow(t *typesetter, inv models.Invoice, index int) row {
	item := inv.Order.Items[index]
	product := inv.Products[item.ProductID]
	name := t.clean(product.Name)
	if name == "" {
		name = t.clean(item.ProductID)
	}
	return row{
		number:   strconv.Itoa(index + 1),
		name:     t.wrap(name, columns.name.width, nameSize, maxNameLines),
		sku:      t.wrap(t.clean(product.SKU), columns.sku.width, smallSize, maxSKULines),
		quantity: grouped(strconv.FormatInt(item.Quantity, 10)),
		unit:     money(item.UnitPrice.Amount, item.UnitPrice.Currency),
		// It is no larger than the order's total, which was checked to fit.
		total: money(item.UnitPrice.Amount*item.Quantity, item.UnitPrice.Currency),
	}
}

// emailLines are the buyer's address, whole: 254 bytes are at most six lines.
func emailLines(t *typesetter, inv models.Invoice) []string {
	return t.wrap(t.clean(inv.Order.Email), right-margin-factIndent, nameSize, maxEmailLines)
}

// emailHeight is what the buyer's address takes beyond its first line.
func emailHeight(t *typesetter, inv models.Invoice) float64 {
	return float64(max(len(emailLines(t, inv)), 1)-1) * lineHeight
}
