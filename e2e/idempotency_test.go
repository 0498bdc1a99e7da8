package e2e

import (
	"net/http"
	"strings"
	"testing"

	"ratelimiter/internal/testkit"
	"ratelimiter/middleware"
	"ratelimiter/models"
)

const idempotencyKey = "Idempotency-Key"

// ordersOf returns the number of orders of an owner.
func (a *testApp) ordersOf(owner string) int {
	a.t.Helper()
	return a.count(`SELECT count(*) FROM orders WHERE owner = $1`, owner)
}

// count returns the result of a query for one number.
func (a *testApp) count(sql string, args ...any) int {
	a.t.Helper()
	var n int
	if err := a.db.QueryRow(a.t.Context(), sql, args...).Scan(&n); err != nil {
		a.t.Fatal(err)
	}
	return n
}

// of returns a client with a new key of owner on the plan internal.
func (a *testApp) of(owner string) *testkit.Client {
	a.t.Helper()
	return a.As(a.key(models.NewKey{Plan: "internal", Owner: owner}))
}

func TestIdempotency_replay(t *testing.T) {
	app := newApp(t)
	caller := app.of("o")
	first := caller.Post("/v1/orders", order1, idempotencyKey, "k-1").Want(http.StatusCreated)
	if first.Header.Get("Idempotency-Replayed") != "" {
		t.Error("the first response is marked as a replay")
	}
	var placed models.Order
	first.JSON(&placed)
	app.exec(`UPDATE orders SET status = 'cancelled', reason = 'out_of_stock', updated_at = now() + interval '1 hour'`)
	app.exec(`UPDATE products SET price_amount = 1`)
	sameOrder := `{ "payment_token" : "t",  "email":"a@ex\u0061mple.com", "items":[{"quantity":1, "product_id":"prd_0y5apuf8zs"}] }`
	for _, body := range []string{order1, sameOrder} {
		again := caller.Post("/v1/orders", body, idempotencyKey, "k-1").Want(http.StatusCreated)
		if string(again.Body) != string(first.Body) || again.Header.Get("Location") != first.Header.Get("Location") {
			t.Errorf("got replay %s %s; want %s", again.Header.Get("Location"), again.Body, first.Body)
		}
		if again.Header.Get("Idempotency-Replayed") != "true" {
			t.Error("the replay isn't marked as one")
		}
	}
	caller.Get("/v1/orders/" + placed.ID).Want(http.StatusOK)
	if n := app.ordersOf("o"); n != 1 {
		t.Errorf("got %d orders; want 1", n)
	}
	caller.Post("/v1/orders", order1, idempotencyKey, "k-2").Want(http.StatusCreated)
	caller.Post("/v1/orders", order1).Want(http.StatusCreated)
	if n := app.ordersOf("o"); n != 3 {
		t.Errorf("got %d orders; want 3: one per key and one without", n)
	}
	var row string
	if err := app.db.QueryRow(t.Context(), `SELECT string_agg(idempotency_keys::text, ' ') FROM idempotency_keys`).Scan(&row); err != nil ||
		strings.Contains(row, "example.com") || !strings.Contains(row, placed.ID) {
		t.Errorf("got rows %s, error %v; want the order ID and no email", row, err)
	}
}

func TestIdempotency_reused_key(t *testing.T) {
	app := newApp(t)
	caller := app.of("o")
	caller.Post("/v1/orders", order1, idempotencyKey, "k").Want(http.StatusCreated)
	for name, other := range map[string]string{
		"quantity": strings.Replace(order1, `"quantity":1`, `"quantity":2`, 1),
		"product":  strings.Replace(order1, "prd_0y5apuf8zs", "prd_0p4fmzh9ta", 1),
		"email":    strings.Replace(order1, "a@", "b@", 1),
		"token":    strings.Replace(order1, `"t"`, `"u"`, 1),
	} {
		response := caller.Post("/v1/orders", other, idempotencyKey, "k").Want(http.StatusUnprocessableEntity)
		if got := locatedFaults(response); got != "header Idempotency-Key:idempotency_key_reused" {
			t.Errorf("other %s: got faults %s", name, got)
		}
	}
	again := caller.Post("/v1/orders", order1, idempotencyKey, "k").Want(http.StatusCreated)
	if again.Header.Get("Idempotency-Replayed") != "true" || app.ordersOf("o") != 1 {
		t.Errorf("got header %v; want the replay of the first order", again.Header)
	}
}

// locatedFaults returns the faults of a 422 as "location pointer:code, …".
func locatedFaults(response *testkit.Response) string {
	var problem middleware.Problem
	response.Want(http.StatusUnprocessableEntity).JSON(&problem)
	var faults []string
	for _, f := range problem.Errors {
		faults = append(faults, f.Location+" "+f.Pointer+":"+string(f.Code))
	}
	return strings.Join(faults, ", ")
}

func TestIdempotency_key_syntax(t *testing.T) {
	app := newApp(t)
	caller := app.of("o")
	for key, code := range map[string]string{
		"":                       "min_length",
		strings.Repeat("k", 256): "max_length",
		"two words":              "pattern",
		"tab\there":              "pattern",
		"schlüssel":              "pattern",
	} {
		response := caller.Post("/v1/orders", order1, idempotencyKey, key)
		if got, want := locatedFaults(response), "header Idempotency-Key:"+code; got != want {
			t.Errorf("key %q: got faults %s; want %s", key, got, want)
		}
	}
	repeated := caller.Post("/v1/orders", "{}", idempotencyKey, "k", idempotencyKey, "k")
	if got := locatedFaults(repeated); !strings.HasPrefix(got, "header Idempotency-Key:duplicate, body /") {
		t.Errorf("got faults %s; want those of the header and the body", got)
	}
	if n := app.ordersOf("o"); n != 0 {
		t.Errorf("got %d orders; want none", n)
	}
	caller.Post("/v1/orders", order1, idempotencyKey, "!~"+strings.Repeat("k", 253)).Want(http.StatusCreated)
}

func TestIdempotency_replays_refusals(t *testing.T) {
	app := newApp(t)
	caller := app.of("o")
	unknown := strings.Replace(order1, "prd_0y5apuf8zs", "prd_new", 1)
	first := caller.Post("/v1/orders", unknown, idempotencyKey, "k", "X-Request-Id", "the-first").Want(http.StatusUnprocessableEntity)
	app.exec(`INSERT INTO products (id, sku, name, description, price_amount, price_currency, stock) VALUES ('prd_new', 's', 'n', 'd', 1, 'EUR', 1)`)
	again := caller.Post("/v1/orders", unknown, idempotencyKey, "k", "X-Request-Id", "the-second").Want(http.StatusUnprocessableEntity)
	if string(again.Body) != string(first.Body) || !strings.Contains(string(first.Body), `"the-first"`) {
		t.Errorf("got replay %s; want %s", again.Body, first.Body)
	}
	if first.Header.Get("Idempotency-Replayed") != "" || again.Header.Get("Idempotency-Replayed") != "true" || again.Header.Get("X-Request-Id") != "the-second" {
		t.Errorf("got headers %v and %v", first.Header, again.Header)
	}
	caller.Post("/v1/orders", order1, idempotencyKey, "k").Want(http.StatusUnprocessableEntity) // a different order
	caller.Post("/v1/orders", unknown, idempotencyKey, "k-2").Want(http.StatusCreated)
}

func TestIdempotency_key_unused_after_error(t *testing.T) {
	app := newApp(t)
	app.plan("one", `[{"name":"one","algorithm":"fixed_window","limit":5,"period":"1h"}]`)
	key := models.NewKey{Plan: "one", Owner: "o"}
	caller := app.As(app.key(key))
	try := func(caller *testkit.Client, want int, body string, header ...string) {
		t.Helper()
		caller.Post("/v1/orders", body, append(header, idempotencyKey, "k")...).Want(want)
		if n := app.count(`SELECT count(*) FROM idempotency_keys`); n != 0 {
			t.Fatalf("after %d: got %d keys; want none", want, n)
		}
	}
	try(app.Client, http.StatusUnauthorized, order1)
	try(app.As(app.key(models.NewKey{Plan: "internal", Owner: "o", Scopes: []models.Scope{models.ScopeOrdersRead}})), http.StatusForbidden, order1)
	try(caller, http.StatusUnprocessableEntity, "{}")
	try(caller, http.StatusTooManyRequests, order1)
	app.clock.Advance(2 * 3600e9)
	app.exec(`ALTER TABLE order_items RENAME quantity TO hidden`)
	try(caller, http.StatusInternalServerError, order1)
	app.exec(`ALTER TABLE order_items RENAME hidden TO quantity`)
	again := caller.Post("/v1/orders", order1, idempotencyKey, "k").Want(http.StatusCreated)
	if again.Header.Get("Idempotency-Replayed") != "" || app.ordersOf("o") != 1 {
		t.Errorf("got header %v, %d orders; want 1, not a replay", again.Header, app.ordersOf("o"))
	}
}

func TestIdempotency_keys_belong_to_owner(t *testing.T) {
	app := newApp(t)
	mine, other := app.of("me"), app.of("other")
	first := mine.Post("/v1/orders", order1, idempotencyKey, "k").Want(http.StatusCreated)
	theirs := other.Post("/v1/orders", order1, idempotencyKey, "k").Want(http.StatusCreated)
	if theirs.Header.Get("Idempotency-Replayed") != "" || string(theirs.Body) == string(first.Body) {
		t.Errorf("other owner: got %s; want a new order", theirs.Body)
	}
	colleague := app.of("me").Post("/v1/orders", order1, idempotencyKey, "k").Want(http.StatusCreated) // another API key of the owner
	if string(colleague.Body) != string(first.Body) || app.ordersOf("me") != 1 || app.ordersOf("other") != 1 {
		t.Errorf("other API key: got %s; want the replay", colleague.Body)
	}
}

func TestIdempotency_key_expires(t *testing.T) {
	app := newApp(t)
	caller := app.of("o")
	first := caller.Post("/v1/orders", order1, idempotencyKey, "k").Want(http.StatusCreated)
	age := func(by string) { app.exec(`UPDATE idempotency_keys SET created_at = now() - $1::text::interval`, by) }
	age("23 hours 59 minutes")
	if again := caller.Post("/v1/orders", order1, idempotencyKey, "k").Want(http.StatusCreated); string(again.Body) != string(first.Body) {
		t.Error("the key expired before 24 hours")
	}
	age("24 hours")
	other := strings.Replace(order1, `"quantity":1`, `"quantity":3`, 1)
	second := caller.Post("/v1/orders", other, idempotencyKey, "k").Want(http.StatusCreated)
	if second.Header.Get("Idempotency-Replayed") != "" || app.ordersOf("o") != 2 {
		t.Errorf("got header %v, %d orders; want 2, not a replay", second.Header, app.ordersOf("o"))
	}
	again := caller.Post("/v1/orders", other, idempotencyKey, "k").Want(http.StatusCreated)
	if string(again.Body) != string(second.Body) {
		t.Errorf("got replay %s; want %s", again.Body, second.Body)
	}
}

// A replay is charged by policies of requests and refunded by policies of
// successes. Without remaining units, the request gets a 429 first.
func TestIdempotency_charge_of_replay(t *testing.T) {
	app := newApp(t)
	app.plan("two", `[{"name":"all","algorithm":"fixed_window","limit":15,"period":"1h"},
		{"name":"done","algorithm":"fixed_window","limit":100,"period":"1h","charge":"successes"}]`)
	caller := app.As(app.key(models.NewKey{Plan: "two"}))
	for i, want := range []string{`"all";r=10;t=3600, "done";r=95;t=3600`, `"all";r=5;t=3600, "done";r=95;t=3600`, `"all";r=0;t=3600, "done";r=95;t=3600`} {
		response := caller.Post("/v1/orders", order1, idempotencyKey, "k").Want(http.StatusCreated)
		if got := response.Header.Get("RateLimit"); got != want {
			t.Errorf("request %d: got RateLimit %s; want %s", i, got, want)
		}
	}
	caller.Post("/v1/orders", order1, idempotencyKey, "k").Want(http.StatusTooManyRequests)
	if err := app.app.FlushUsage(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := app.count(`SELECT sum(succeeded) * 100 + sum(rejected) * 10 + sum(refused) FROM usage_recent`); n != 121 {
		t.Errorf("got usage %d; want 121: 1 success, 2 rejected, 1 refused", n)
	}
}
