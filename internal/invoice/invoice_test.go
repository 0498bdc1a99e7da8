package invoice

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ratelimiter/models"
)

func draw(t testing.TB, inv models.Invoice) ([]byte, document) {
	t.Helper()
	pdf, err := Draw(t.Context(), inv)
	if err != nil {
		t.Fatal(err)
	}
	return pdf, read(t, pdf)
}

func TestTwoHundredItemsStandOnceEachWithTheirTotals(t *testing.T) {
	inv := order(200)
	pdf, doc := draw(t, inv)
	if doc.pages < 5 || doc.pages > 12 {
		t.Errorf("%d pages for 200 items", doc.pages)
	}
	if len(pdf) > 100<<10 {
		t.Errorf("%d bytes: are whole fonts in it?", len(pdf))
	}
	all := "\n" + doc.text() + "\n"
	for i, item := range inv.Order.Items {
		line := fmt.Sprintf("\n%d|Product number %d|SKU-%04d|%d|%s|%s\n", i+1, i, i, item.Quantity,
			money(item.UnitPrice.Amount, "EUR"), money(item.UnitPrice.Amount*item.Quantity, "EUR"))
		if n := strings.Count(all, line); n != 1 {
			t.Errorf("item %d stands %d times: %q", i+1, n, line)
		}
	}
	for page := 1; page <= doc.pages; page++ {
		lines := doc.lines(page)
		if !slices.Contains(lines, "#|Item|SKU|Quantity|Unit price|Total") {
			t.Errorf("page %d has no head of the table: %q", page, lines)
		}
		if last := lines[len(lines)-1]; last != fmt.Sprintf("RateLimiter Shop|page %d of %d", page, doc.pages) {
			t.Errorf("page %d ends with %q", page, last)
		}
	}
	if total := "\nTotal|" + money(inv.Order.Total.Amount, "EUR") + " EUR\n"; strings.Count(all, total) != 1 {
		t.Errorf("%q stands %d times", total, strings.Count(all, total))
	}
}

func TestTheHeadingSaysWhoseOrderItIs(t *testing.T) {
	inv := order(1)
	inv.Order.Email = strings.Repeat("a.long.address.", 16) + "@example.com"
	inv.Order.CreatedAt = time.Date(2026, 1, 1, 0, 30, 0, 0, time.FixedZone("", 3600)) // still 2025 in UTC
	_, doc := draw(t, inv)
	all := doc.text()
	for _, want := range []string{"Invoice", "Order|ord_abcdefghijklmnopqrstuvwxyz", "Date|31 December 2025", "Status|Paid"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is missing in\n%s", want, all)
		}
	}
	if address := strings.ReplaceAll(all, "\n", ""); !strings.Contains(address, "Buyer|"+inv.Order.Email+"Status") {
		t.Errorf("the address isn't whole:\n%s", all)
	}
}

func TestEachStateIsMarked(t *testing.T) {
	reason := "payment_declined"
	for status, want := range map[models.OrderStatus][]string{
		models.OrderPending:   {"UNPAID", "Status|Unpaid", "This invoice is not paid yet."},
		models.OrderConfirmed: {"PAID", "Status|Paid", "Paid in full"},
		models.OrderCancelled: {"CANCELLED", "Status|Cancelled: payment declined", "nothing is due"},
		"refunded":            {"UNPAID"}, // a state to come: never paid by mistake
	} {
		inv := order(60)
		inv.Order.Status = status
		if status == models.OrderCancelled {
			inv.Order.Reason = &reason
		}
		_, doc := draw(t, inv)
		for _, text := range want {
			if !strings.Contains(doc.text(), text) {
				t.Errorf("%s: %q is missing", status, text)
			}
		}
		for page := 1; page <= doc.pages; page++ {
			if got := doc.lines(page)[0]; !strings.HasSuffix(got, "|"+want[0]) && !slices.Contains(doc.lines(page)[:3], want[0]) {
				t.Errorf("%s: page %d is not marked %s: %q", status, page, want[0], doc.lines(page)[:3])
			}
		}
	}
}

func TestTheSameInvoiceIsTheSameBytes(t *testing.T) {
	inv := named(order(40), names...)
	want, _ := draw(t, inv)
	var group sync.WaitGroup
	for range 4 { // at the same time, too: fonts are shared
		group.Go(func() {
			got, err := Draw(t.Context(), inv)
			if err != nil || string(got) != string(want) {
				t.Errorf("another drawing of the same invoice differs: %v", err)
			}
		})
	}
	group.Wait()
}

func TestTheOnlyTimesInADocumentAreTheOrders(t *testing.T) {
	pdf, _ := draw(t, order(1))
	for _, want := range []string{"/CreationDate (D:20260310123045", "/ModDate (D:20260310123145"} {
		if !bytes.Contains(pdf, []byte(want)) {
			t.Errorf("%s is missing in %s", want, pdf[bytes.LastIndex(pdf, []byte("/Info")):])
		}
	}
	if n := bytes.Count(pdf, []byte("(D:")); n != 2 {
		t.Errorf("%d times", n)
	}
}

func TestALargeNumberIsSmallNotCut(t *testing.T) {
	inv := order(1)
	inv.Order.Items[0].Quantity = 10_000
	inv.Order.Items[0].UnitPrice.Amount = 900_000_000_000_000
	_, doc := draw(t, inv)
	set := newTypesetter()
	for text, c := range map[string]column{
		"10,000": columns.quantity, "9,000,000,000,000.00": columns.unit, "90,000,000,000,000,000.00": columns.total,
	} {
		at := slices.IndexFunc(doc.words, func(w word) bool { return w.text == text })
		if at < 0 {
			t.Fatalf("%s is missing in\n%s", text, doc.text())
		}
		w := doc.words[at]
		left := w.x * millimetresPerPoint
		if end := left + set.width(text, w.size, false); left < c.x-c.width-0.1 || end > c.x+0.1 {
			t.Errorf("%s stands from %.1f to %.1f; its column from %.1f to %.1f", text, left, end, c.x-c.width, c.x)
		}
	}
}

// drawn is the hash of what order(40) with all names looked like in a version.
var drawn = map[int]string{1: "af02955dce0a3908"}

func TestAChangedDrawingHasAnotherVersion(t *testing.T) {
	_, doc := draw(t, named(order(40), names...))
	hash := sha256.New()
	for _, stream := range doc.streams { // inflated: how well they are deflated doesn't matter
		hash.Write(stream)
	}
	if got := hex.EncodeToString(hash.Sum(nil)[:8]); got != drawn[Version] {
		t.Errorf("the drawing has changed: raise Version, and note %s for it", got)
	}
}

func tagOf(version int) string { return tag(version, order(2)) }

func TestTheTagFollowsWhatTheInvoiceSays(t *testing.T) {
	tag := Tag(order(2))
	if tag != Tag(order(2)) || len(tag) != 34 || tag[0] != '"' || tag[33] != '"' {
		t.Errorf("tag %s, and then %s", tag, Tag(order(2)))
	}
	if tag == tagOf(Version+1) {
		t.Error("another version of the drawing, and the same tag")
	}
	for what, change := range map[string]func(*models.Invoice){
		"status":   func(inv *models.Invoice) { inv.Order.Status = models.OrderPending },
		"email":    func(inv *models.Invoice) { inv.Order.Email = "b@example.com" },
		"quantity": func(inv *models.Invoice) { inv.Order.Items[1].Quantity++ },
		"changed":  func(inv *models.Invoice) { inv.Order.UpdatedAt = inv.Order.UpdatedAt.Add(time.Second) },
		"name":     func(inv *models.Invoice) { inv.Products["prd_1"] = models.InvoiceProduct{SKU: "SKU-0001", Name: "new"} },
	} {
		inv := order(2)
		change(&inv)
		if Tag(inv) == tag {
			t.Errorf("another %s, and the same tag", what)
		}
	}
}

// impatient is a context that ends after it was looked at some times.
type impatient struct {
	context.Context
	looks, after int
}

func (c *impatient) Err() error {
	if c.looks++; c.looks > c.after {
		return context.Canceled
	}
	return nil
}

func TestADrawingEndsBetweenPagesWhenNobodyWantsIt(t *testing.T) {
	inv := order(200)
	_, doc := draw(t, inv)
	for after := range doc.pages + 1 {
		ctx := &impatient{Context: t.Context(), after: after}
		if pdf, err := Draw(ctx, inv); !errors.Is(err, context.Canceled) || pdf != nil {
			t.Fatalf("drawn to the end though ctx ended at its look %d: %v", after+1, err)
		}
		if ctx.looks != after+1 {
			t.Errorf("looked %d times; want %d", ctx.looks, after+1)
		}
	}
	if _, err := Draw(&impatient{Context: t.Context(), after: doc.pages + 1}, inv); err != nil {
		t.Errorf("ctx lasted: %v", err)
	}
}
