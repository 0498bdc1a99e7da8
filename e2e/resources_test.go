package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"ratelimiter/internal/testkit"
	"ratelimiter/middleware"
	"ratelimiter/models"
)

type listAnswer[T any] struct {
	Data       []T     `json:"data"`
	NextCursor *string `json:"next_cursor"`
}

// everyPage follows next_cursor and Link, which have to agree, to the end.
func everyPage[T any](t testing.TB, caller *testkit.Client, path string) []T {
	t.Helper()
	var all []T
	for range 100 {
		answer := caller.Get(path).Want(http.StatusOK)
		var page listAnswer[T]
		answer.JSON(&page)
		all = append(all, page.Data...)
		link := answer.Header.Get("Link")
		if page.NextCursor == nil {
			if link != "" {
				t.Errorf("the last page has the Link %s", link)
			}
			return all
		}
		if !regexp.MustCompile(`^[A-Za-z0-9_.~-]+$`).MatchString(*page.NextCursor) {
			t.Errorf("cursor %q", *page.NextCursor)
		}
		target := regexp.MustCompile(`^<([^>]+)>; rel="next"$`).FindStringSubmatch(link)
		if target == nil || !strings.Contains(target[1], *page.NextCursor) {
			t.Fatalf("Link %q, cursor %q", link, *page.NextCursor)
		}
		path = target[1]
	}
	t.Fatal("the list doesn't end")
	return nil
}

func TestTwelveProductsAreThereInAStableOrder(t *testing.T) {
	caller := newApp(t).caller("internal")
	all := everyPage[models.Product](t, caller, "/v1/products")
	if len(all) != 12 {
		t.Fatalf("%d products; want 12", len(all))
	}
	paged := everyPage[models.Product](t, caller, "/v1/products?limit=5&unknown=ignored")
	for i, p := range paged {
		if p.ID != all[i].ID {
			t.Fatalf("paged in another order: %s is product %d", p.ID, i)
		}
		if p.Stock != 1000 || p.Price.Currency != "EUR" || p.Price.Amount < 100 || p.Name == "" || p.Description == "" {
			t.Errorf("nobody would believe %+v", p)
		}
		var one models.Product
		caller.Get("/v1/products/" + p.ID).Want(http.StatusOK).JSON(&one)
		if one != p {
			t.Errorf("got %+v; the list has %+v", one, p)
		}
	}
	if len(paged) != 12 {
		t.Fatalf("%d products in pages; want 12", len(paged))
	}
}

func TestListsRefuseWhatIsNoPage(t *testing.T) {
	app := newApp(t)
	caller := app.caller("internal")
	cursor := func() string {
		var page listAnswer[models.Product]
		caller.Get("/v1/products?limit=1").Want(http.StatusOK).JSON(&page)
		return *page.NextCursor
	}()
	for query, faults := range map[string]string{
		"limit=0":                "limit:min",
		"limit=101":              "limit:max",
		"limit=":                 "limit:type",
		"limit=1.5":              "limit:type",
		"limit=x&cursor=x":       "limit:type cursor:cursor",
		"cursor=" + cursor + "A": "cursor:cursor",
		"cursor=A" + cursor[1:]:  "cursor:cursor",
	} {
		var problem middleware.Problem
		caller.Get("/v1/products?" + query).Want(http.StatusUnprocessableEntity).JSON(&problem)
		var got []string
		for _, f := range problem.Errors {
			got = append(got, f.Pointer+":"+f.Code)
			if f.Location != "query" {
				t.Errorf("%s: location %s", query, f.Location)
			}
		}
		if strings.Join(got, " ") != faults {
			t.Errorf("%s: faults %v; want %s", query, got, faults)
		}
	}
	caller.Get("/v1/orders?cursor=" + cursor).Want(http.StatusUnprocessableEntity) // another list's
	caller.Get("/v1/products?cursor=").Want(http.StatusOK)                         // the start
	caller.Get("/v1/products?limit=%zz").Want(http.StatusBadRequest)
}

func order(items ...string) string {
	return fmt.Sprintf(`{"items":[%s],"email":"a@example.com","payment_token":"tok_secret"}`, strings.Join(items, ","))
}

func TestAnOrderIsStoredAsPendingAtTodaysPrices(t *testing.T) {
	app := newApp(t)
	caller := app.caller("internal")
	answer := caller.Post("/v1/orders", order(
		`{"product_id":"prd_0y5apuf8zs","quantity":2}`, `{"product_id":"prd_0p4fmzh9ta","quantity":3}`)).Want(http.StatusCreated)
	var placed models.Order
	answer.JSON(&placed)
	if got := answer.Header.Get("Location"); got != "/v1/orders/"+placed.ID {
		t.Errorf("Location %s", got)
	}
	if placed.Status != models.OrderPending || placed.Reason != nil || placed.Total != (models.Money{Amount: 2*1999 + 3*690, Currency: "EUR"}) {
		t.Errorf("placed %+v", placed)
	}
	if len(placed.Items) != 2 || placed.Items[1] != (models.OrderItem{ProductID: "prd_0p4fmzh9ta", Quantity: 3, UnitPrice: models.Money{Amount: 690, Currency: "EUR"}}) {
		t.Errorf("items %+v", placed.Items)
	}
	if strings.Contains(string(answer.Body), "tok_secret") {
		t.Error("the answer holds the payment token")
	}
	if !regexp.MustCompile(`"created_at":"[^"]+Z"`).Match(answer.Body) {
		t.Errorf("times have to be in UTC: %s", answer.Body)
	}
	app.exec(`UPDATE products SET price_amount = 1`)
	again := caller.Get("/v1/orders/" + placed.ID).Want(http.StatusOK)
	if string(again.Body) != string(answer.Body) {
		t.Errorf("read %s; placed %s", again.Body, answer.Body)
	}
}

func TestAnOrderThatCannotBePricedIsNotStored(t *testing.T) {
	app := newApp(t)
	caller := app.caller("internal")
	app.exec(`UPDATE products SET price_currency = 'USD' WHERE id = 'prd_0p4fmzh9ta'`)
	app.exec(`UPDATE products SET price_amount = 9223372036854775807 WHERE id = 'prd_02hq7mxa4k'`)
	for body, want := range map[string]string{
		order(`{"product_id":"prd_x","quantity":1}`, `{"product_id":"prd_0y5apuf8zs","quantity":1}`, `{"product_id":"prd_y","quantity":1}`): "/items/0/product_id:unknown /items/2/product_id:unknown",
		order(`{"product_id":"prd_0y5apuf8zs","quantity":1}`, `{"product_id":"prd_0p4fmzh9ta","quantity":1}`):                               "/items/1/product_id:currency",
		order(`{"product_id":"prd_02hq7mxa4k","quantity":1}`, `{"product_id":"prd_0y5apuf8zs","quantity":1}`):                               "/items/1/quantity:max",
	} {
		var problem middleware.Problem
		caller.Post("/v1/orders", body).Want(http.StatusUnprocessableEntity).JSON(&problem)
		var got []string
		for _, f := range problem.Errors {
			got = append(got, f.Pointer+":"+f.Code)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("faults %v; want %s", got, want)
		}
	}
	if orders := everyPage[models.Order](t, caller, "/v1/orders"); len(orders) != 0 {
		t.Errorf("%d orders were stored", len(orders))
	}
}

func TestOrdersBelongToTheirOwner(t *testing.T) {
	app := newApp(t)
	mine := app.As(app.key(models.NewKey{Plan: "internal", Owner: "me"}))
	mineToo := app.As(app.key(models.NewKey{Plan: "internal", Owner: "me"}))
	other := app.As(app.key(models.NewKey{Plan: "internal", Owner: "other"}))
	var placed models.Order
	mine.Post("/v1/orders", order(`{"product_id":"prd_0y5apuf8zs","quantity":1}`)).Want(http.StatusCreated).JSON(&placed)
	mineToo.Get("/v1/orders/" + placed.ID).Want(http.StatusOK)
	other.Get("/v1/orders/" + placed.ID).Want(http.StatusNotFound)
	if orders := everyPage[models.Order](t, other, "/v1/orders"); len(orders) != 0 {
		t.Errorf("another owner sees %v", orders)
	}
}

func TestOrdersAreListedNewestFirstWithoutGapsOrRepeats(t *testing.T) {
	app := newApp(t)
	caller := app.caller("internal")
	var placed []string
	for range 12 {
		var o models.Order
		caller.Post("/v1/orders", order(`{"product_id":"prd_0y5apuf8zs","quantity":1}`)).Want(http.StatusCreated).JSON(&o)
		placed = append([]string{o.ID}, placed...)
	}
	app.exec(`UPDATE orders SET created_at = date_trunc('minute', created_at) WHERE id = ANY ($1)`, placed[3:8]) // several at one instant
	var listed []string
	for _, o := range everyPage[models.Order](t, caller, "/v1/orders?limit=2") {
		if len(o.Items) != 1 {
			t.Errorf("order %s has the items %v", o.ID, o.Items)
		}
		listed = append(listed, o.ID)
	}
	if len(listed) != 12 {
		t.Fatalf("listed %d orders; want 12", len(listed))
	}
	seen := map[string]bool{}
	for _, id := range listed {
		seen[id] = true
	}
	if len(seen) != 12 || listed[0] != placed[0] || listed[1] != placed[1] {
		t.Errorf("listed %v; placed %v", listed, placed)
	}
}

func TestAnEmptyListIsAList(t *testing.T) {
	answer := newApp(t).caller("internal").Get("/v1/orders").Want(http.StatusOK)
	var body map[string]json.RawMessage
	answer.JSON(&body)
	if string(body["data"]) != "[]" || string(body["next_cursor"]) != "null" {
		t.Errorf("body %s", answer.Body)
	}
}
