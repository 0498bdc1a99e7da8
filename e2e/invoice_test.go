package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"ratelimiter/internal/invoice"
	"ratelimiter/internal/testkit"
	"ratelimiter/internal/workpool"
	"ratelimiter/middleware"
	"ratelimiter/models"
)

// place places an order of these products, two of each.
func place(caller *testkit.Client, products ...string) models.Order {
	var items []string
	for _, id := range products {
		items = append(items, fmt.Sprintf(`{"product_id":%q,"quantity":2}`, id))
	}
	var placed models.Order
	caller.Post("/v1/orders", order(items...)).Want(http.StatusCreated).JSON(&placed)
	return placed
}

const cups, filters = "prd_0y5apuf8zs", "prd_0p4fmzh9ta"

// drawn is the invoice that an order must have, by what the API tells of it.
func drawn(t *testing.T, caller *testkit.Client, id string) []byte {
	t.Helper()
	inv := models.Invoice{Products: map[string]models.InvoiceProduct{}}
	caller.Get("/v1/orders/" + id).Want(http.StatusOK).JSON(&inv.Order)
	for _, item := range inv.Order.Items {
		var product models.Product
		caller.Get("/v1/products/" + item.ProductID).Want(http.StatusOK).JSON(&product)
		inv.Products[product.ID] = models.InvoiceProduct{SKU: product.SKU, Name: product.Name}
	}
	pdf, err := invoice.Draw(t.Context(), inv)
	if err != nil {
		t.Fatal(err)
	}
	return pdf
}

func TestAnInvoiceNamesProductsAsTheyWereCalledWhenOrdered(t *testing.T) {
	app := newApp(t)
	caller := app.caller("internal")
	path := "/v1/orders/" + place(caller, cups, filters).ID + "/invoice"
	before := caller.Get(path).Want(http.StatusOK)
	app.exec(`UPDATE products SET name = 'renamed', sku = 'NEW-' || id`)
	after := caller.Get(path).Want(http.StatusOK)
	if !bytes.Equal(before.Body, after.Body) || before.Header.Get("ETag") != after.Header.Get("ETag") {
		t.Error("an invoice changes with its products' names")
	}
}

func TestEveryStateOfAnOrderHasItsInvoice(t *testing.T) {
	app := newApp(t)
	caller := app.caller("internal")
	placed := place(caller, cups, filters)
	path := "/v1/orders/" + placed.ID + "/invoice"
	seen := map[string]bool{}
	for _, status := range []string{"pending", "confirmed", "cancelled"} {
		app.exec(`UPDATE orders SET status = $1, reason = CASE WHEN $1 = 'cancelled' THEN 'out_of_stock' END WHERE id = $2`, status, placed.ID)
		answer := caller.Get(path).Want(http.StatusOK)
		if want := drawn(t, caller, placed.ID); !bytes.Equal(answer.Body, want) {
			t.Errorf("%s: %d bytes %.20q; want %d", status, len(answer.Body), answer.Body, len(want))
		}
		for name, want := range map[string]string{
			"Content-Type":        "application/pdf",
			"Content-Disposition": `attachment; filename="invoice-` + placed.ID + `.pdf"`,
			"Content-Length":      strconv.Itoa(len(answer.Body)),
			"Cache-Control":       "private, no-cache",
		} {
			if got := answer.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q; want %q", status, name, got, want)
			}
		}
		seen[answer.Header.Get("ETag")] = true
	}
	if len(seen) != 3 || seen[""] {
		t.Errorf("tags of three states: %v", seen)
	}
}

func TestAnInvoiceIsSentOnlyWhenItChanged(t *testing.T) {
	app := newApp(t)
	caller := app.caller("internal")
	path := "/v1/orders/" + place(caller, cups).ID + "/invoice"
	tag := caller.Get(path).Want(http.StatusOK).Header.Get("ETag")
	for given, status := range map[string]int{
		tag: 304, "W/" + tag: 304, `"other", ` + tag: 304, "*": 304,
		`"other"`: 200, strings.Trim(tag, `"`): 200, "": 200,
	} {
		answer := caller.Get(path, "If-None-Match", given).Want(status)
		if status == http.StatusNotModified && (len(answer.Body) != 0 || answer.Header.Get("ETag") != tag || answer.Header.Get("Cache-Control") != "private, no-cache") {
			t.Errorf("%s: %v %q", given, answer.Header, answer.Body)
		}
	}
	if head := caller.Do(http.MethodHead, path, nil).Want(http.StatusOK); head.Header.Get("ETag") != tag || len(head.Body) != 0 {
		t.Errorf("HEAD: %v", head.Header)
	}
	app.exec(`UPDATE orders SET status = 'confirmed'`)
	if paid := caller.Get(path, "If-None-Match", tag).Want(http.StatusOK); paid.Header.Get("ETag") == tag {
		t.Error("the order is paid, and the invoice has the same tag")
	}
}

func TestInvoicesBelongToTheirOwner(t *testing.T) {
	app := newApp(t)
	path := "/v1/orders/" + place(app.caller("internal"), cups).ID + "/invoice"
	for _, stranger := range []*testkit.Client{app.caller("internal"), app.admin()} {
		answer := stranger.Get(path).Want(http.StatusNotFound)
		if answer.Header.Get("ETag") != "" || answer.Header.Get("Content-Type") != middleware.ProblemMediaType {
			t.Errorf("a stranger gets %v", answer.Header)
		}
	}
	app.caller("internal").Get("/v1/orders/%00%ff/invoice").Want(http.StatusNotFound)
}

// occupied is a pool with one worker, who is busy until free is called, and
// nobody may wait for it.
func occupied(t *testing.T) (pool *workpool.Pool, free func()) {
	t.Helper()
	pool = workpool.NewSized(1, 0)
	begun, end, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		_ = pool.Do(context.Background(), func(context.Context) error { close(begun); <-end; return nil })
	}()
	<-begun
	return pool, func() { close(end); <-ended }
}

func TestAShedInvoiceCostsNothing(t *testing.T) {
	pool, free := occupied(t)
	app := newApp(t, withCPU(pool))
	app.plan("twenty", `[{"name":"all","algorithm":"fixed_window","limit":20,"period":"1h"}]`)
	caller := app.As(app.key(models.NewKey{Plan: "twenty", Owner: "me"}))
	path := "/v1/orders/" + place(app.As(app.key(models.NewKey{Plan: "internal", Owner: "me"})), cups).ID + "/invoice"
	for range 4 { // twice what the plan holds
		answer := caller.Get(path).Want(http.StatusServiceUnavailable)
		var problem middleware.Problem
		answer.JSON(&problem)
		if problem.Type != middleware.ProblemReducedCapacity || answer.Header.Get("Retry-After") == "" {
			t.Errorf("%v %+v", answer.Header, problem)
		}
		if answer.Header.Get("ETag") != "" || answer.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("a refusal that caches keep: %v", answer.Header)
		}
		if left := answer.Header.Get("RateLimit"); !strings.HasPrefix(left, `"all";r=20;`) {
			t.Errorf("RateLimit %s", left)
		}
	}
	tag := app.As(app.key(models.NewKey{Plan: "internal", Owner: "me"})).Get(path, "If-None-Match", "*").Want(http.StatusNotModified).Header.Get("ETag")
	if tag == "" {
		t.Error("what the caller has already needs no core, and a tag")
	}
	free()
	if left := caller.Get(path).Want(http.StatusOK).Header.Get("RateLimit"); !strings.HasPrefix(left, `"all";r=10;`) {
		t.Errorf("an invoice costs 10: RateLimit %s", left)
	}
	caller.Get(path).Want(http.StatusOK)
	caller.Get(path).Want(http.StatusTooManyRequests)
}
