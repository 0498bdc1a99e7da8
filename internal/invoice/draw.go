package invoice

import (
	"bytes"
	"fmt"
	"strings"

	"codeberg.org/go-pdf/fpdf"

	"ratelimiter/models"
)

// colour is red, green and blue, 0 to 255.
type colour struct{ r, g, b int }

var (
	ink   = colour{33, 37, 41}
	faint = colour{108, 117, 125}
	rule  = colour{206, 212, 218}
	shade = colour{241, 243, 245}
)

// mark shows the status of an order on its invoice.
type mark struct {
	word, sentence string
	colour         colour
}

// marks by status. An unknown status is shown as unpaid.
var marks = map[models.OrderStatus]mark{
	models.OrderPending:   {"UNPAID", "This invoice is not paid yet.", colour{178, 84, 0}},
	models.OrderConfirmed: {"PAID", "Paid in full, with thanks.", colour{24, 120, 60}},
	models.OrderCancelled: {"CANCELLED", "This order was cancelled: nothing is due.", colour{176, 32, 44}},
}

// seller is the issuer named on every invoice.
const seller = "RateLimiter Shop"

// drawing is the state of drawing one invoice.
type drawing struct {
	pdf  *fpdf.Fpdf
	set  *typesetter
	inv  models.Invoice
	id   string // clean ID of the order
	mark mark
}

func newDrawing(set *typesetter, inv models.Invoice) *drawing {
	m, known := marks[inv.Order.Status]
	if !known {
		m = marks[models.OrderPending]
	}
	d := &drawing{pdf: fpdf.New("P", "mm", "A4", ""), set: set, inv: inv, id: set.clean(inv.Order.ID), mark: m}
	for _, face := range fontFaces() {
		d.pdf.AddUTF8FontFromBytes(fontFamily, face.style, []byte(face.data))
	}
	d.pdf.SetCatalogSort(true) // deterministic output
	d.pdf.SetCreationDate(inv.Order.CreatedAt.UTC())
	d.pdf.SetModificationDate(inv.Order.UpdatedAt.UTC())
	d.pdf.SetProducer(seller, true)
	d.pdf.SetTitle("Invoice "+d.id, true)
	d.pdf.SetLang("en")
	d.pdf.SetAutoPageBreak(false, 0) // paginate breaks pages
	return d
}

// bytes returns the finished PDF. Subsetting the fonts, half of the work of a
// drawing, happens here.
func (d *drawing) bytes() ([]byte, error) {
	var out bytes.Buffer
	if err := d.pdf.Output(&out); err != nil {
		return nil, fmt.Errorf("draw the invoice of %q: %w", d.inv.Order.ID, err)
	}
	return out.Bytes(), nil
}

// sheet draws page number of count.
func (d *drawing) sheet(s sheet, number, count int) {
	d.pdf.AddPage()
	y := margin + runningHeight
	if number == 1 {
		y = d.heading()
	} else {
		d.text(margin, margin+4, smallSize, faint, "Invoice "+d.id)
		d.flushRight(right, margin+4, smallSize, d.mark.colour, d.mark.word, bold)
	}
	if len(s.rows) > 0 {
		y = d.tableHead(y)
	}
	for i := range s.rows {
		y = d.row(&s.rows[i], y)
	}
	if s.totals {
		d.totals(y)
	}
	d.text(margin, pageHeight-12, smallSize, faint, seller)
	d.flushRight(right, pageHeight-12, smallSize, faint, fmt.Sprintf("page %d of %d", number, count), regular)
}

// factIndent is the distance between the names and the values of the heading.
const factIndent = 30.0

// heading draws the part of the first page above the table and returns the y
// of its end.
func (d *drawing) heading() float64 {
	d.bold(margin, margin+9, 22, ink, "Invoice")
	d.text(margin, margin+16, nameSize, faint, seller)
	d.badge()
	order := d.inv.Order
	y := margin + 32.0
	fact := func(name string, lines ...string) {
		d.text(margin, y, nameSize, faint, name)
		for _, line := range lines {
			d.text(margin+factIndent, y, nameSize, ink, line)
			y += lineHeight
		}
		y += 1.8
	}
	fact("Order", d.id)
	fact("Date", order.CreatedAt.UTC().Format("2 January 2006"))
	fact("Buyer", emailLines(d.set, d.inv)...)
	status := d.mark.word[:1] + strings.ToLower(d.mark.word[1:])
	if order.Reason != nil && order.Status == models.OrderCancelled {
		reason := d.set.clean(strings.ReplaceAll(*order.Reason, "_", " "))
		status = d.set.wrap(status+": "+reason, right-margin-factIndent, nameSize, 1)[0]
	}
	fact("Status", status)
	return margin + headingHeight + emailHeight(d.set, d.inv)
}

// badge draws the mark in a box in the upper right corner.
func (d *drawing) badge() {
	const size, height, padding = 13, 9.0, 4.0
	width := d.set.width(d.mark.word, size, bold) + 2*padding
	c := d.mark.colour
	d.pdf.SetFillColor(c.r, c.g, c.b)
	d.pdf.RoundedRect(right-width, margin+1.5, width, height, 1.5, "1234", "F")
	d.bold(right-width+padding, margin+7.7, size, colour{255, 255, 255}, d.mark.word)
}

// tableHead draws the titles of the columns and returns the y of its end.
func (d *drawing) tableHead(y float64) float64 {
	d.pdf.SetFillColor(shade.r, shade.g, shade.b)
	d.pdf.Rect(margin, y, right-margin, headHeight-1.5, "F")
	for _, c := range []column{columns.number, columns.name, columns.sku, columns.quantity, columns.unit, columns.total} {
		if c.flushLeft {
			d.bold(c.x, y+4.5, smallSize, ink, c.title)
		} else {
			d.flushRight(c.x, y+4.5, smallSize, ink, c.title, bold)
		}
	}
	return y + headHeight
}

// row draws an item and returns the y of its end.
func (d *drawing) row(r *row, y float64) float64 {
	base := y + rowPadding + 3.2
	d.flushRight(columns.number.x, base, smallSize, faint, r.number, regular)
	for i, line := range r.name {
		d.text(columns.name.x, base+float64(i)*lineHeight, nameSize, ink, line)
	}
	for i, line := range r.sku {
		d.text(columns.sku.x, base+float64(i)*lineHeight, smallSize, faint, line)
	}
	d.amount(columns.quantity, base, r.quantity)
	d.amount(columns.unit, base, r.unit)
	d.amount(columns.total, base, r.total)
	end := y + r.height()
	d.pdf.SetDrawColor(rule.r, rule.g, rule.b)
	d.pdf.SetLineWidth(0.15)
	d.pdf.Line(margin, end, right, end)
	return end
}

// totals draws the total and the sentence of the mark.
func (d *drawing) totals(y float64) {
	total := d.inv.Order.Total
	text := total.Format() + " " + d.set.clean(total.Currency)
	d.bold(columns.sku.x, y+10, 12, ink, "Total")
	d.flushRight(right, y+10, 12, ink, text, bold)
	d.flushRight(right, y+17, nameSize, d.mark.colour, d.mark.sentence, regular)
}
