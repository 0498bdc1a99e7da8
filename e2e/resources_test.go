package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

type listResponse[T any] struct {
	Data       []T     `json:"data"`
	NextCursor *string `json:"next_cursor"`
}

// everyPage returns the items of all pages. next_cursor and Link must agree.
func everyPage[T any](t testing.TB, caller *testkit.Client, path string) []T {
	t.Helper()
	var all []T
	for range 100 {
		response := caller.Get(path).Want(http.StatusOK)
		var page listResponse[T]
		response.JSON(&page)
		all = append(all, page.Data...)
		link := response.Header.Get("Link")
		if page.NextCursor == nil {
			if link != "" {
				t.Errorf("got Link %s on the last page; want none", link)
			}
			return all
		}
		if !regexp.MustCompile(`^[A-Za-z0-9_.~-]+$`).MatchString(*page.NextCursor) {
			t.Errorf("got cursor %q; want URL-safe characters", *page.NextCursor)
		}
		target := regexp.MustCompile(`^<([^>]+)>; rel="next"$`).FindStringSubmatch(link)
		if target == nil || !strings.Contains(target[1], *page.NextCursor) {
			t.Fatalf("got Link %q; want cursor %q", link, *page.NextCursor)
		}
		path = target[1]
	}
	t.Fatal("the list has more than 100 pages")
	return nil
}

func TestProducts_list(t *testing.T) {
	caller := newApp(t).caller("internal")
	all := everyPage[models.Product](t, caller, "/v1/products")
	if len(all) != 12 {
		t.Fatalf("got %d products; want 12", len(all))
	}
	paged := everyPage[models.Product](t, caller, "/v1/products?limit=5")
	for i, p := range paged {
		if p.ID != all[i].ID {
			t.Fatalf("got %s as product %d of the pages; want the same order", p.ID, i)
		}
		if p.Stock != 1000 || p.Price.Currency != "EUR" || p.Price.Amount < 100 || p.Name == "" || p.Description == "" {
			t.Errorf("got product %+v", p)
		}
		var one models.Product
		caller.Get("/v1/products/" + p.ID).Want(http.StatusOK).JSON(&one)
		if one != p {
			t.Errorf("got %+v; want %+v as in the list", one, p)
		}
	}
	if len(paged) != 12 {
		t.Fatalf("got %d products in pages; want 12", len(paged))
	}
}

func TestLists_invalid_page(t *testing.T) {
	app := newApp(t)
	caller := app.caller("internal")
	cursor := func() string {
		var page listResponse[models.Product]
		caller.Get("/v1/products?limit=1").Want(http.StatusOK).JSON(&page)
		return *page.NextCursor
	}()
	for query, want := range map[string]string{
		"limit=0":                "query limit:min",
		"limit=101":              "query limit:max",
		"limit=":                 "query limit:type",
		"limit=1.5":              "query limit:type",
		"limit=x&cursor=x":       "query limit:type, query cursor:cursor",
		"cursor=" + cursor + "A": "query cursor:cursor",
		"cursor=A" + cursor[1:]:  "query cursor:cursor",
	} {
		if got := locatedFaults(caller.Get("/v1/products?" + query)); got != want {
			t.Errorf("%s: got faults %s; want %s", query, got, want)
		}
	}
	caller.Get("/v1/orders?cursor=" + cursor).Want(http.StatusUnprocessableEntity) // cursor of another list
	caller.Get("/v1/products?cursor=").Want(http.StatusOK)                         // first page
	caller.Get("/v1/products?limit=%zz").Want(http.StatusBadRequest)
}

// order returns the body of an order.
func order(items ...string) string {
	return fmt.Sprintf(`{"items":[%s],"email":"a@example.com","payment_token":"tok_secret"}`, strings.Join(items, ","))
}

func TestOrders_create(t *testing.T) {
	app := newApp(t)
	caller := app.caller("internal")
	response := caller.Post("/v1/orders", order(
		`{"product_id":"prd_0y5apuf8zs","quantity":2}`, `{"product_id":"prd_0p4fmzh9ta","quantity":3}`)).Want(http.StatusCreated)
	var placed models.Order
	response.JSON(&placed)
	if got := response.Header.Get("Location"); got != "/v1/orders/"+placed.ID {
		t.Errorf("got Location %s", got)
	}
	if placed.Status != models.OrderPending || placed.Reason != nil || placed.Total != (models.Money{Amount: 2*1999 + 3*690, Currency: "EUR"}) {
		t.Errorf("got order %+v", placed)
	}
	if len(placed.Items) != 2 || placed.Items[1] != (models.OrderItem{ProductID: "prd_0p4fmzh9ta", Quantity: 3, UnitPrice: models.Money{Amount: 690, Currency: "EUR"}}) {
		t.Errorf("got items %+v", placed.Items)
	}
	if strings.Contains(string(response.Body), "tok_secret") {
		t.Error("the response contains the payment token")
	}
	if !regexp.MustCompile(`"created_at":"[^"]+Z"`).Match(response.Body) {
		t.Errorf("got %s; want times in UTC", response.Body)
	}
	app.exec(`UPDATE products SET price_amount = 1`)
	again := caller.Get("/v1/orders/" + placed.ID).Want(http.StatusOK)
	if string(again.Body) != string(response.Body) {
		t.Errorf("got %s; want %s", again.Body, response.Body)
	}
}

func TestOrders_create_unpriceable(t *testing.T) {
	app := newApp(t)
	caller := app.caller("internal")
	app.exec(`UPDATE products SET price_currency = 'USD' WHERE id = 'prd_0p4fmzh9ta'`)
	app.exec(`UPDATE products SET price_amount = 9223372036854775807 WHERE id = 'prd_02hq7mxa4k'`)
	for body, want := range map[string]string{
		order(`{"product_id":"prd_x","quantity":1}`, `{"product_id":"prd_0y5apuf8zs","quantity":1}`, `{"product_id":"prd_y","quantity":1}`): "/items/0/product_id:unknown /items/2/product_id:unknown",
		order(`{"product_id":"prd_0y5apuf8zs","quantity":1}`, `{"product_id":"prd_0p4fmzh9ta","quantity":1}`):                               "/items/1/product_id:currency",
		order(`{"product_id":"prd_02hq7mxa4k","quantity":1}`, `{"product_id":"prd_0y5apuf8zs","quantity":1}`):                               "/items/1/quantity:max",
	} {
		if got := faultsOf(caller.Post("/v1/orders", body)); got != want {
			t.Errorf("got faults %s; want %s", got, want)
		}
	}
	if orders := everyPage[models.Order](t, caller, "/v1/orders"); len(orders) != 0 {
		t.Errorf("got %d orders; want none", len(orders))
	}
}

func TestOrders_belong_to_owner(t *testing.T) {
	app := newApp(t)
	mine, mineToo, other := app.of("me"), app.of("me"), app.of("other")
	var placed models.Order
	mine.Post("/v1/orders", order(`{"product_id":"prd_0y5apuf8zs","quantity":1}`)).Want(http.StatusCreated).JSON(&placed)
	mineToo.Get("/v1/orders/" + placed.ID).Want(http.StatusOK)
	other.Get("/v1/orders/" + placed.ID).Want(http.StatusNotFound)
	if orders := everyPage[models.Order](t, other, "/v1/orders"); len(orders) != 0 {
		t.Errorf("other owner: got orders %v; want none", orders)
	}
}

func TestOrders_list(t *testing.T) {
	app := newApp(t)
	caller := app.caller("internal")
	var placed []string
	for range 12 {
		var o models.Order
		caller.Post("/v1/orders", order(`{"product_id":"prd_0y5apuf8zs","quantity":1}`)).Want(http.StatusCreated).JSON(&o)
		placed = append([]string{o.ID}, placed...)
	}
	app.exec(`UPDATE orders SET created_at = date_trunc('minute', created_at) WHERE id = ANY ($1)`, placed[3:8]) // several orders of the same time
	var listed []string
	for _, o := range everyPage[models.Order](t, caller, "/v1/orders?limit=2") {
		if len(o.Items) != 1 {
			t.Errorf("order %s: got items %v; want one", o.ID, o.Items)
		}
		listed = append(listed, o.ID)
	}
	if len(listed) != 12 {
		t.Fatalf("got %d orders; want 12", len(listed))
	}
	seen := map[string]bool{}
	for _, id := range listed {
		seen[id] = true
	}
	if len(seen) != 12 || listed[0] != placed[0] || listed[1] != placed[1] {
		t.Errorf("got list %v; want %v, newest first", listed, placed)
	}
}

func TestOrders_list_empty(t *testing.T) {
	response := newApp(t).caller("internal").Get("/v1/orders").Want(http.StatusOK)
	var body map[string]json.RawMessage
	response.JSON(&body)
	if string(body["data"]) != "[]" || string(body["next_cursor"]) != "null" {
		t.Errorf("got body %s", response.Body)
	}
}
