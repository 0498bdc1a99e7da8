package invoice

import (
	"strconv"

	"ratelimiter/models"
)

// Dimensions of the A4 page in millimetres; font sizes in points.
const (
	pageWidth, pageHeight = 210.0, 297.0
	margin                = 18.0
	right                 = pageWidth - margin
	bottom                = pageHeight - 22.0 // above the footer
	nameSize, smallSize   = 9.5, 8.5
	lineHeight            = 4.4
	rowPadding            = 1.8 // above and below the lines of a row
	headHeight            = 8.0 // of the table
	headingHeight         = 66.0
	runningHeight         = 10.0 // of the pages after the first
	totalsHeight          = 26.0
	maxNameLines          = 3
	maxSKULines           = 2
	maxEmailLines         = 6
)

// column is a column of the table. x is the edge that its text is aligned to.
type column struct {
	title     string
	x, width  float64
	flushLeft bool
}

// columns are the columns of the table, from left to right.
var columns = struct{ number, name, sku, quantity, unit, total column }{
	number:   column{"#", margin + 7, 7, false},
	name:     column{"Item", margin + 11, 66, true},
	sku:      column{"SKU", margin + 80, 28, true},
	quantity: column{"Quantity", margin + 124, 15, false},
	unit:     column{"Unit price", margin + 149, 24, false},
	total:    column{"Total", right, 24, false},
}

// row is the laid-out text of one item.
type row struct {
	number, quantity, unit, total string
	name, sku                     []string // lines
}

func (r *row) height() float64 {
	return float64(max(len(r.name), len(r.sku), 1))*lineHeight + 2*rowPadding
}

// sheet is the content of one page.
type sheet struct {
	rows   []row
	totals bool // below the rows
}

// paginate distributes the items over pages. A row is never split. The totals
// are on the last page, alone if there is no room below the last row.
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

// newRow lays out the item at index.
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
		quantity: models.GroupDigits(strconv.FormatInt(item.Quantity, 10)),
		unit:     item.UnitPrice.Format(),
		// No overflow: the order's total, which is no less, was checked on creation.
		total: item.Total().Format(),
	}
}

// emailLines returns the lines of the buyer's address, uncut: 254 bytes take at
// most maxEmailLines.
func emailLines(t *typesetter, inv models.Invoice) []string {
	return t.wrap(t.clean(inv.Order.Email), right-margin-factIndent, nameSize, maxEmailLines)
}

// emailHeight returns the height of the buyer's address below its first line.
func emailHeight(t *typesetter, inv models.Invoice) float64 {
	return float64(max(len(emailLines(t, inv)), 1)-1) * lineHeight
}
