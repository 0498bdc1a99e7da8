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

// place places an order of two units of each product.
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

// expectedInvoice draws the invoice of an order from the responses of the API.
func expectedInvoice(t *testing.T, caller *testkit.Client, id string) []byte {
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

func TestInvoice_keeps_product_names(t *testing.T) {
	app := newApp(t)
	caller := app.caller("internal")
	path := "/v1/orders/" + place(caller, cups, filters).ID + "/invoice"
	before := caller.Get(path).Want(http.StatusOK)
	app.exec(`UPDATE products SET name = 'renamed', sku = 'NEW-' || id`)
	after := caller.Get(path).Want(http.StatusOK)
	if !bytes.Equal(before.Body, after.Body) || before.Header.Get("ETag") != after.Header.Get("ETag") {
		t.Error("renaming a product changed the invoice")
	}
}

func TestInvoice_status(t *testing.T) {
	app := newApp(t)
	caller := app.caller("internal")
	placed := place(caller, cups, filters)
	path := "/v1/orders/" + placed.ID + "/invoice"
	seen := map[string]bool{}
	for _, status := range []string{"pending", "confirmed", "cancelled"} {
		app.exec(`UPDATE orders SET status = $1, reason = CASE WHEN $1 = 'cancelled' THEN 'out_of_stock' END WHERE id = $2`, status, placed.ID)
		response := caller.Get(path).Want(http.StatusOK)
		if want := expectedInvoice(t, caller, placed.ID); !bytes.Equal(response.Body, want) {
			t.Errorf("%s: got %d bytes %.20q…; want %d", status, len(response.Body), response.Body, len(want))
		}
		for name, want := range map[string]string{
			"Content-Type":        "application/pdf",
			"Content-Disposition": `attachment; filename="invoice-` + placed.ID + `.pdf"`,
			"Content-Length":      strconv.Itoa(len(response.Body)),
			"Cache-Control":       "private, no-cache",
		} {
			if got := response.Header.Get(name); got != want {
				t.Errorf("%s: got %s %q; want %q", status, name, got, want)
			}
		}
		seen[response.Header.Get("ETag")] = true
	}
	if len(seen) != 3 || seen[""] {
		t.Errorf("got tags %v; want one per status", seen)
	}
}

func TestInvoice_not_modified(t *testing.T) {
	app := newApp(t)
	caller := app.caller("internal")
	path := "/v1/orders/" + place(caller, cups).ID + "/invoice"
	tag := caller.Get(path).Want(http.StatusOK).Header.Get("ETag")
	for given, status := range map[string]int{
		tag: 304, "W/" + tag: 304, `"other", ` + tag: 304, "*": 304,
		`"other"`: 200, strings.Trim(tag, `"`): 200, "": 200,
	} {
		response := caller.Get(path, "If-None-Match", given).Want(status)
		if status == http.StatusNotModified && (len(response.Body) != 0 || response.Header.Get("ETag") != tag || response.Header.Get("Cache-Control") != "private, no-cache") {
			t.Errorf("If-None-Match %s: got header %v, body %q", given, response.Header, response.Body)
		}
	}
	if head := caller.Do(http.MethodHead, path, nil).Want(http.StatusOK); head.Header.Get("ETag") != tag || len(head.Body) != 0 {
		t.Errorf("HEAD: got header %v", head.Header)
	}
	app.exec(`UPDATE orders SET status = 'confirmed'`)
	if paid := caller.Get(path, "If-None-Match", tag).Want(http.StatusOK); paid.Header.Get("ETag") == tag {
		t.Error("the tag is the same after payment")
	}
}

func TestInvoice_other_owner(t *testing.T) {
	app := newApp(t)
	path := "/v1/orders/" + place(app.caller("internal"), cups).ID + "/invoice"
	for _, other := range []*testkit.Client{app.caller("internal"), app.admin()} {
		response := other.Get(path).Want(http.StatusNotFound)
		if response.Header.Get("ETag") != "" || response.Header.Get("Content-Type") != middleware.ProblemMediaType {
			t.Errorf("got header %v; want a problem without ETag", response.Header)
		}
	}
	app.caller("internal").Get("/v1/orders/%00%ff/invoice").Want(http.StatusNotFound)
}

// occupiedPool returns a pool without a queue, whose only worker is busy until
// free is called.
func occupiedPool(t *testing.T) (pool *workpool.Pool, free func()) {
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

func TestInvoice_overloaded(t *testing.T) {
	pool, free := occupiedPool(t)
	app := newApp(t, withCPU(pool))
	app.plan("twenty", `[{"name":"all","algorithm":"fixed_window","limit":20,"period":"1h"}]`)
	caller := app.As(app.key(models.NewKey{Plan: "twenty", Owner: "me"}))
	path := "/v1/orders/" + place(app.of("me"), cups).ID + "/invoice"
	for range 4 { // twice the capacity of the plan
		response := caller.Get(path).Want(http.StatusServiceUnavailable)
		var problem middleware.Problem
		response.JSON(&problem)
		if problem.Type != middleware.ProblemReducedCapacity || response.Header.Get("Retry-After") == "" {
			t.Errorf("got header %v, problem %+v", response.Header, problem)
		}
		if response.Header.Get("ETag") != "" || response.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("got header %v; want no-store", response.Header)
		}
		if left := response.Header.Get("RateLimit"); !strings.HasPrefix(left, `"all";r=20;`) {
			t.Errorf("got RateLimit %s; want r=20", left)
		}
	}
	tag := app.of("me").Get(path, "If-None-Match", "*").Want(http.StatusNotModified).Header.Get("ETag")
	if tag == "" {
		t.Error("want a 304 with an ETag without the pool")
	}
	free()
	if left := caller.Get(path).Want(http.StatusOK).Header.Get("RateLimit"); !strings.HasPrefix(left, `"all";r=10;`) {
		t.Errorf("got RateLimit %s; want r=10", left)
	}
	caller.Get(path).Want(http.StatusOK)
	caller.Get(path).Want(http.StatusTooManyRequests)
}
