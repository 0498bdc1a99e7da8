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

func TestDraw_items(t *testing.T) {
	inv := order(200)
	pdf, doc := draw(t, inv)
	if doc.pages < 5 || doc.pages > 12 {
		t.Errorf("got %d pages for 200 items; want 5 to 12", doc.pages)
	}
	if len(pdf) > 100<<10 {
		t.Errorf("got %d bytes; want at most 100 KiB: fonts must be subset", len(pdf))
	}
	all := "\n" + doc.text() + "\n"
	for i, item := range inv.Order.Items {
		line := fmt.Sprintf("\n%d|Product number %d|SKU-%04d|%d|%s|%s\n", i+1, i, i, item.Quantity,
			money(item.UnitPrice.Amount, "EUR"), money(item.UnitPrice.Amount*item.Quantity, "EUR"))
		if n := strings.Count(all, line); n != 1 {
			t.Errorf("item %d is drawn %d times; want 1: %q", i+1, n, line)
		}
	}
	for page := 1; page <= doc.pages; page++ {
		lines := doc.lines(page)
		if !slices.Contains(lines, "#|Item|SKU|Quantity|Unit price|Total") {
			t.Errorf("page %d has no table head: %q", page, lines)
		}
		if last := lines[len(lines)-1]; last != fmt.Sprintf("RateLimiter Shop|page %d of %d", page, doc.pages) {
			t.Errorf("page %d ends with %q", page, last)
		}
	}
	if total := "\nTotal|" + money(inv.Order.Total.Amount, "EUR") + " EUR\n"; strings.Count(all, total) != 1 {
		t.Errorf("%q is drawn %d times; want 1", total, strings.Count(all, total))
	}
}

func TestDraw_heading(t *testing.T) {
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
		t.Errorf("the address is incomplete:\n%s", all)
	}
}

func TestDraw_status(t *testing.T) {
	reason := "payment_declined"
	for status, want := range map[models.OrderStatus][]string{
		models.OrderPending:   {"UNPAID", "Status|Unpaid", "This invoice is not paid yet."},
		models.OrderConfirmed: {"PAID", "Status|Paid", "Paid in full"},
		models.OrderCancelled: {"CANCELLED", "Status|Cancelled: payment declined", "nothing is due"},
		"refunded":            {"UNPAID"}, // an unknown status
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

func TestDraw_deterministic(t *testing.T) {
	inv := named(order(40), names...)
	want, _ := draw(t, inv)
	var group sync.WaitGroup
	for range 4 { // concurrently: drawings share the parsed fonts
		group.Go(func() {
			got, err := Draw(t.Context(), inv)
			if err != nil || string(got) != string(want) {
				t.Errorf("drawings of the same invoice differ (error %v)", err)
			}
		})
	}
	group.Wait()
}

func TestDraw_timestamps(t *testing.T) {
	pdf, _ := draw(t, order(1))
	for _, want := range []string{"/CreationDate (D:20260310123045", "/ModDate (D:20260310123145"} {
		if !bytes.Contains(pdf, []byte(want)) {
			t.Errorf("%s is missing in %s", want, pdf[bytes.LastIndex(pdf, []byte("/Info")):])
		}
	}
	if n := bytes.Count(pdf, []byte("(D:")); n != 2 {
		t.Errorf("got %d timestamps; want 2", n)
	}
}

func TestDraw_large_amounts(t *testing.T) {
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
		if end := left + set.width(text, w.size, regular); left < c.x-c.width-0.1 || end > c.x+0.1 {
			t.Errorf("%s spans %.1f to %.1f; its column spans %.1f to %.1f", text, left, end, c.x-c.width, c.x)
		}
	}
}

// drawingHash is the hash of the streams of order(40) with all names in the
// current Version.
const drawingHash = "724e530a6bdba834"

func TestVersion(t *testing.T) {
	_, doc := draw(t, named(order(40), names...))
	hash := sha256.New()
	for _, stream := range doc.streams { // inflated: independent of the compressor
		hash.Write(stream)
	}
	if got := hex.EncodeToString(hash.Sum(nil)[:8]); got != drawingHash {
		t.Errorf("the drawing has changed: raise Version and set drawingHash to %q", got)
	}
}

func TestTag(t *testing.T) {
	want := Tag(order(2))
	if again := Tag(order(2)); want != again || len(want) != 34 || want[0] != '"' || want[33] != '"' {
		t.Errorf("got tags %s and %s; want the same strong tag", want, again)
	}
	if tag(Version+1, order(2)) == want {
		t.Error("the tag doesn't depend on Version")
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
		if Tag(inv) == want {
			t.Errorf("the tag doesn't depend on: %s", what)
		}
	}
}

// countdownContext is canceled after a number of calls of Err.
type countdownContext struct {
	context.Context
	calls, limit int
}

func (c *countdownContext) Err() error {
	if c.calls++; c.calls > c.limit {
		return context.Canceled
	}
	return nil
}

func TestDraw_canceled(t *testing.T) {
	inv := order(200)
	_, doc := draw(t, inv)
	for limit := range doc.pages + 1 {
		ctx := &countdownContext{Context: t.Context(), limit: limit}
		if pdf, err := Draw(ctx, inv); !errors.Is(err, context.Canceled) || pdf != nil {
			t.Fatalf("canceled at check %d: got error %v; want %v", limit+1, err, context.Canceled)
		}
		if ctx.calls != limit+1 {
			t.Errorf("ctx was checked %d times; want %d", ctx.calls, limit+1)
		}
	}
	if _, err := Draw(&countdownContext{Context: t.Context(), limit: doc.pages + 1}, inv); err != nil {
		t.Errorf("not canceled: got error %v", err)
	}
}
