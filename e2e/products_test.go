package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"ratelimiter/internal/testkit"
	"ratelimiter/middleware"
	"ratelimiter/models"
)

const (
	ifMatch  = "If-Match"
	newCups  = `{"sku":"CUP-CAP-2","name":"Cappuccino cups","description":"White.","price":{"amount":2499,"currency":"EUR"},"stock":5}`
	mergeTyp = "application/merge-patch+json"
)

// mergePatch sends a merge patch.
func mergePatch(caller *testkit.Client, path, body string, header ...string) *testkit.Response {
	return caller.Do(http.MethodPatch, path, body, append(header, "Content-Type", mergeTyp)...)
}

// productAt returns the product at a path, and its entity tag.
func productAt(caller *testkit.Client, path string) (product models.Product, tag string) {
	response := caller.Get(path).Want(http.StatusOK)
	response.JSON(&product)
	return product, response.Header.Get("ETag")
}

func TestProducts_write(t *testing.T) {
	app := newApp(t)
	shop := app.caller("internal", models.ScopeProductsRead, models.ScopeProductsWrite, models.ScopeOrdersRead, models.ScopeOrdersWrite)
	created := shop.Post("/v1/products", newCups).Want(http.StatusCreated)
	path, tag := created.Header.Get("Location"), created.Header.Get("ETag")
	got := shop.Get(path).Want(http.StatusOK)
	if string(got.Body) != string(created.Body) || got.Header.Get("ETag") != tag {
		t.Errorf("got %s, %s after creating %s, %s", got.Body, got.Header.Get("ETag"), created.Body, tag)
	}
	var product models.Product
	got.JSON(&product)
	if product.SKU != "CUP-CAP-2" || product.Stock != 5 || product.Price.Amount != 2499 || path != "/v1/products/"+product.ID {
		t.Errorf("got %+v at %s", product, path)
	}
	if all := everyPage[models.Product](t, shop, "/v1/products"); !slices.Contains(all, product) {
		t.Errorf("the list %+v doesn't have the new product", all)
	}

	patched := mergePatch(shop, path, `{"name":"Cups","description":null,"price":{"amount":1}}`).Want(http.StatusOK)
	patched.JSON(&product)
	if product.Name != "Cups" || product.Description != "" || product.Price != (models.Money{Amount: 1, Currency: "EUR"}) || product.Stock != 5 {
		t.Errorf("patched: got %+v", product)
	}
	if got := shop.Get(path).Want(http.StatusOK); string(got.Body) != string(patched.Body) || got.Header.Get("ETag") != patched.Header.Get("ETag") {
		t.Errorf("got %s after the patch to %s", got.Body, patched.Body)
	}
	shop.Get(path, "If-None-Match", tag).Want(http.StatusOK)
	whole := mergePatch(shop, path, string(patched.Body)).Want(http.StatusOK) // sent back as it is
	if string(whole.Body) != string(patched.Body) {
		t.Errorf("got %s; want %s", whole.Body, patched.Body)
	}

	item := fmt.Sprintf(`{"product_id":%q,"quantity":1}`, product.ID)
	var placed models.Order
	shop.Post("/v1/orders", order(item)).Want(http.StatusCreated).JSON(&placed)
	shop.Do(http.MethodDelete, path, nil).Want(http.StatusNoContent)
	shop.Get(path).Want(http.StatusNotFound)
	mergePatch(shop, path, `{"stock":1}`).Want(http.StatusNotFound)
	shop.Do(http.MethodDelete, path, nil).Want(http.StatusNotFound)
	if all := everyPage[models.Product](t, shop, "/v1/products"); len(all) != 12 {
		t.Errorf("%d products after the deletion; want 12", len(all))
	}
	if got := faultsOf(shop.Post("/v1/orders", order(item))); got != "/items/0/product_id:unknown" {
		t.Errorf("an order of a deleted product: got faults %s", got)
	}
	var kept models.Order
	shop.Get("/v1/orders/" + placed.ID).Want(http.StatusOK).JSON(&kept)
	if len(kept.Items) != 1 || kept.Items[0].ProductID != product.ID {
		t.Errorf("the earlier order has %+v; want the deleted product", kept.Items)
	}
	shop.Get("/v1/orders/"+placed.ID+"/invoice", "Accept", "*/*").Want(http.StatusOK)
	shop.Post("/v1/products", newCups).Want(http.StatusCreated) // the SKU is free

	var log listResponse[models.AuditEntry]
	app.admin().Get("/v1/admin/audit?target=" + product.ID).Want(http.StatusOK).JSON(&log)
	var actions []string
	for _, entry := range log.Data {
		actions = append(actions, fmt.Sprintf("%s before=%t after=%t by=%t", entry.Action, string(entry.Before) != "null", string(entry.After) != "null", entry.Actor != ""))
	}
	if want := []string{"product.delete before=true after=false by=true", "product.update before=true after=true by=true", "product.create before=false after=true by=true"}; !slices.Equal(actions, want) {
		t.Errorf("got audit %q; want %q", actions, want)
	}
}

func TestProducts_invalid(t *testing.T) {
	app := newApp(t)
	shop := app.caller("internal", models.ScopeProductsWrite)
	path := "/v1/products/" + app.product()
	for body, want := range map[string]string{
		`{}`: "/name:required /price:required /sku:required",
		`{"sku":"a b","name":" ","price":{"amount":-1,"currency":"eur"},"stock":-1}`:                 "/name:pattern /price/amount:min /price/currency:pattern /sku:pattern /stock:min",
		`{"sku":"a","name":"x","price":{"amount":1e13},"stock":1e10}`:                                "/price/amount:max /price/currency:required /stock:max",
		`{"sku":"a","name":"x","price":null,"description":"a\u0007"}`:                                "/description:control /price:null",
		`{"id":"x","sku":"a","name":"x","price":{"amount":1,"currency":"EUR"}}`:                      "/id:unknown",
		`{"sku":"a","name":"x","price":{"amount":1.5,"currency":"EUR","cents":1}}`:                   "/price/amount:type /price/cents:unknown",
		`{"sku":"` + strings.Repeat("a", 65) + `","name":"x","price":{"amount":0,"currency":"EUR"}}`: "/sku:max_length",
	} {
		if got := sortedFaults(shop.Post("/v1/products", body)); got != want {
			t.Errorf("POST %.60s: got faults %s; want %s", body, got, want)
		}
	}
	for body, want := range map[string]string{
		`{"sku":null,"name":null,"price":null,"stock":null}`:   "/name:null /price:null /sku:null /stock:null",
		`{"price":{"amount":null,"currency":"x"},"stock":"1"}`: "/price/amount:null /price/currency:pattern /stock:type",
		`{"id":"prd_0y5apuf8zs"}`:                              "/id:read_only",
		`{"version":1}`:                                        "/version:unknown",
	} {
		if got := sortedFaults(mergePatch(shop, path, body)); got != want {
			t.Errorf("PATCH %s: got faults %s; want %s", body, got, want)
		}
	}
	for _, response := range []*testkit.Response{
		shop.Post("/v1/products", strings.Replace(newCups, "CUP-CAP-2", "CUP-ESP-2", 1)), mergePatch(shop, path, `{"sku":"CUP-ESP-2"}`),
	} {
		var problem middleware.Problem
		if response.Want(http.StatusConflict).JSON(&problem); problem.Code != "sku_in_use" || !strings.Contains(problem.Detail, `"CUP-ESP-2"`) {
			t.Errorf("a duplicate SKU: got %+v", problem)
		}
	}
}

// sortedFaults is faultsOf in the order of the pointers.
func sortedFaults(response *testkit.Response) string {
	faults := strings.Fields(faultsOf(response))
	slices.Sort(faults)
	return strings.Join(faults, " ")
}

// A product's version is that of all fields but the stock, which orders change.
func TestProducts_if_match(t *testing.T) {
	app := newApp(t)
	shop := app.caller("internal", models.ScopeProductsRead, models.ScopeProductsWrite)
	path := "/v1/products/" + app.product()
	_, tag := productAt(shop, path)
	order := func() { app.exec(`UPDATE products SET stock = stock - 1`) }

	order()
	mergePatch(shop, path, `{"name":"A"}`, ifMatch, tag).Want(http.StatusOK) // another stock is the same version
	mergePatch(shop, path, `{"name":"B"}`, ifMatch, tag).Want(http.StatusPreconditionFailed)
	shop.Do(http.MethodDelete, path, nil, ifMatch, tag).Want(http.StatusPreconditionFailed)
	for _, other := range []string{`"2"`, `"x-1"`, `W/"2-x"`, `2-x`, `"9-` + tag[3:]} {
		mergePatch(shop, path, `{"name":"B"}`, ifMatch, other).Want(http.StatusPreconditionFailed)
	}
	product, tag := productAt(shop, path)
	if product.Name != "A" {
		t.Fatalf("got name %s; want A", product.Name)
	}
	mergePatch(shop, path, `{"name":"C"}`, ifMatch, `"foreign", `+tag).Want(http.StatusOK)
	mergePatch(shop, path, `{"name":"D"}`, ifMatch, `*`).Want(http.StatusOK)

	// To set a stock that orders have changed since would undo them.
	_, tag = productAt(shop, path)
	order()
	mergePatch(shop, path, `{"stock":100}`, ifMatch, tag).Want(http.StatusPreconditionFailed)
	mergePatch(shop, path, `{"name":"E"}`, ifMatch, tag).Want(http.StatusOK) // written, and read with the new stock
	product, tag = productAt(shop, path)
	set := mergePatch(shop, path, `{"stock":100}`, ifMatch, tag).Want(http.StatusOK)
	if after, now := productAt(shop, path); after.Stock != 100 || !after.UpdatedAt.Equal(product.UpdatedAt) || now != set.Header.Get("ETag") || now == tag {
		t.Errorf("got %+v with tag %s after setting the stock of %+v with tag %s", after, now, product, tag)
	}
	mergePatch(shop, path, `{"stock":1}`, ifMatch, `*`).Want(http.StatusOK)
	shop.Get(path, "If-None-Match", tag).Want(http.StatusOK)
	shop.Do(http.MethodDelete, path, nil, ifMatch, tag).Want(http.StatusNoContent) // the version is still the same
}

// Compressed responses have tags of their own.
func TestProducts_if_match_compressed(t *testing.T) {
	app := newApp(t)
	shop := app.caller("internal", models.ScopeProductsRead, models.ScopeProductsWrite)
	path := "/v1/products/" + app.product()
	mergePatch(shop, path, `{"description":"`+strings.Repeat("long ", 400)+`"}`).Want(http.StatusOK)
	tag := shop.Get(path, acceptEncoding, "gzip").Want(http.StatusOK).Header.Get("ETag")
	if !strings.HasSuffix(tag, `-gzip"`) {
		t.Fatalf("got tag %s; want that of compressed content", tag)
	}
	shop.Get(path, acceptEncoding, "gzip", "If-None-Match", tag).Want(http.StatusNotModified)
	mergePatch(shop, path, `{"name":"A","stock":3}`, ifMatch, tag).Want(http.StatusOK)
	mergePatch(shop, path, `{"name":"B"}`, ifMatch, tag).Want(http.StatusPreconditionFailed)
}

// TestPropagation_products checks that a write is in force on the instance that made
// it when it responds, and on the other one within the bound of quotas.
func TestPropagation_products(t *testing.T) {
	const changes = 40
	apps := twoApps(t)
	scopes := []models.Scope{models.ScopeProductsRead, models.ScopeProductsWrite}
	key := apps[0].key(models.NewKey{Plan: "internal", Scopes: scopes})
	callers := map[*testApp]*testkit.Client{apps[0]: apps[0].As(key), apps[1]: apps[1].As(key)}
	var paths []string
	for range changes {
		path := "/v1/products/" + apps[0].product()
		for _, caller := range callers {
			caller.Get(path).Want(http.StatusOK)
		}
		paths = append(paths, path)
	}
	here := callers[apps[0]]
	name := func(app *testApp, path string) string { p, _ := productAt(callers[app], path); return p.Name }
	renamed := changeAll(paths, apps[1:], func(path string) {
		mergePatch(here, path, `{"name":"renamed"}`).Want(http.StatusOK)
		if got := name(apps[0], path); got != "renamed" {
			t.Errorf("got %s on the instance of the change; want the new name", got)
		}
	}, func(app *testApp, path string) bool { return name(app, path) == "renamed" })
	renamed.within(t, "new names", changes, boundNotified)

	deleted := changeAll(paths, apps[1:], func(path string) {
		here.Do(http.MethodDelete, path, nil).Want(http.StatusNoContent)
		here.Get(path).Want(http.StatusNotFound)
	}, func(app *testApp, path string) bool { return callers[app].Get(path).Status == http.StatusNotFound })
	deleted.within(t, "deletions", changes, boundNotified)

	// "No such product" is cached for longer than the bound.
	callers[apps[1]].Get("/v1/products/prd_late").Want(http.StatusNotFound)
	changeAll([]string{"/v1/products/prd_late"}, apps[1:], func(string) {
		apps[0].exec(`INSERT INTO products (id, sku, name, price_amount, price_currency, stock) VALUES ('prd_late', 'LATE', 'Late', 1, 'EUR', 1)`)
		apps[0].exec(`SELECT pg_notify('ratelimiter_changes', '')`)
	}, func(app *testApp, path string) bool { return callers[app].Get(path).Status == http.StatusOK }).within(t, "new product", 1, boundNotified)
	here.Do(http.MethodDelete, "/v1/products/prd_late", nil).Want(http.StatusNoContent)

	apps[1].await("the list is that of the migrations", func() bool {
		return len(everyPage[models.Product](t, callers[apps[1]], "/v1/products")) == 12
	})
}
