package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ratelimiter/models"
)

// maxPage bounds every page in bytes: 256 KiB of rows, and the names of their fields.
const maxPage = 300 << 10

// hugeKey returns a key that is as large as the input may be, and its policies.
func hugeKey(t *testing.T) (body string, policies []any) {
	t.Helper()
	wide := func(n int) string { return strings.Repeat("𝄞", n) } // 4 bytes each
	metadata, overrides, networks := map[string]string{}, []any{}, []string{}
	for i := range 8 {
		metadata[strconv.Itoa(i)] = wide(500)
	}
	for i := range 16 {
		name := fmt.Sprintf("a-policy-with-the-longest-name-%d", i%10)[:31] + string(rune('a'+i))
		policies = append(policies, map[string]any{
			"name": name, "algorithm": "calendar", "limit": 1_000_000_000, "period": "month", "time_zone": "America/Argentina/Buenos_Aires",
		})
		overrides = append(overrides, map[string]any{"reason": wide(500), "policy": policies[i]})
	}
	for i := range 100 {
		networks = append(networks, fmt.Sprintf("2001:db8:aaaa:bbbb:cccc:dddd:eeee:%x/128", 0x1000+i))
	}
	encoded, err := json.Marshal(map[string]any{
		"name": wide(200), "plan": "internal", "owner": wide(100), "metadata": metadata, "overrides": overrides, "ip_allow": networks,
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded), policies
}

// The largest page of every list, filled with the largest rows, is bounded in bytes, and a list is complete in its pages.
func TestLists_largest_page(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	admin := app.admin()
	text := app.key(models.NewKey{Plan: "internal", Owner: "me"})
	caller, id := app.As(text), idOf(text)
	fillLists(t, app, id)
	now := time.Now().UTC().Truncate(time.Minute)
	minutes := fmt.Sprintf("?bucket=minute&from=%s&to=%s", now.Add(-2000*time.Minute).Format(time.RFC3339), now.Format(time.RFC3339))
	for _, list := range []struct {
		path string
		rows int // at least
	}{
		{"/v1/products", 112},
		{"/v1/orders", 100},
		{"/v1/me/refusals", 100},
		{"/v1/me/usage" + minutes, 2000},
		{"/v1/admin/keys", 102},
		{"/v1/admin/plans", 103},
		{"/v1/admin/audit?action=key.create", 100},
		{"/v1/admin/keys/" + id + "/refusals", 100},
	} {
		t.Run(list.path, func(t *testing.T) {
			client := caller
			if strings.Contains(list.path, "/admin/") {
				client = admin
			}
			path, rows, pages, largest, ofLargest := list.path, 0, 0, 0, 0
			join := "?"
			if strings.Contains(path, "?") {
				join = "&"
			}
			if !strings.Contains(path, "/usage") {
				path += join + "limit=100"
			}
			for at := path; at != ""; pages++ {
				response := client.Get(at).Want(http.StatusOK)
				var page struct {
					Data []json.RawMessage `json:"data"`
					Next string            `json:"next_cursor"`
				}
				if err := json.Unmarshal(response.Body, &page); err != nil {
					t.Fatal(err)
				}
				if rows += len(page.Data); len(response.Body) > largest {
					largest, ofLargest = len(response.Body), len(page.Data)
				}
				if at = ""; page.Next != "" {
					at = path + "&cursor=" + page.Next
				}
			}
			t.Logf("%d rows in %d pages; the largest: %d rows, %d bytes", rows, pages, ofLargest, largest)
			if largest > maxPage {
				t.Errorf("a page has %d bytes; at most %d", largest, maxPage)
			}
			if rows < list.rows {
				t.Errorf("%d rows in all pages; want %d", rows, list.rows)
			}
		})
	}
}

// fillLists stores 100 of the largest rows of each list for a key.
func fillLists(t *testing.T, app *testApp, id string) {
	t.Helper()
	body, policies := hugeKey(t)
	key := createKey(t, app.admin(), body)
	app.exec(`UPDATE audit_log SET before = after WHERE target = $1`, key.ID) // a change has both
	for _, table := range []struct{ name, columns, id string }{
		{"api_keys", "name, plan, owner, subject, scopes, overrides, ip_allow, metadata, mac, pepper_version", "id"},
		{"audit_log", "actor, action, before, after, ip, request_id", "target"},
	} {
		app.exec(fmt.Sprintf(`INSERT INTO %[1]s (%[3]s, %[2]s) SELECT 'copy' || i, %[2]s FROM %[1]s, generate_series(1, 99) i WHERE %[3]s = $1`,
			table.name, table.columns, table.id), key.ID)
	}
	app.exec(`INSERT INTO plans (name, description, policies) SELECT 'p' || i, repeat('𝄞', 500), $1 FROM generate_series(1, 100) i`, policies)
	app.exec(`INSERT INTO products (id, sku, name, description, price_amount, price_currency, stock)
		SELECT 'prd_' || i, i, repeat('𝄞', 200), repeat('𝄞', 2000), 1, 'EUR', 1 FROM generate_series(1, 100) i`)

	items := slices.Repeat([]string{`{"product_id":"prd_0y5apuf8zs","quantity":10000}`}, 200)
	var placed models.Order
	app.of("me").Post("/v1/orders", strings.Replace(order(items...), "a@", strings.Repeat("a", 64)+"@", 1)).Want(http.StatusCreated).JSON(&placed)
	app.exec(`INSERT INTO orders (id, owner, email, payment_token, total_amount, total_currency)
		SELECT 'copy' || i, owner, email, payment_token, total_amount, total_currency FROM orders, generate_series(1, 99) i`)
	app.exec(`INSERT INTO order_items (order_id, position, product_id, sku, name, quantity, unit_amount, currency)
		SELECT 'copy' || i, position, product_id, sku, order_items.name, quantity, unit_amount, currency FROM order_items, generate_series(1, 99) i`)

	limits := make([]models.Limit, 16)
	names := make([]string, 16)
	for i := range limits {
		never := 123456.789
		names[i] = fmt.Sprintf("a-policy-with-the-longest-name-%x", i)
		limits[i] = models.Limit{
			Policy: names[i], Algorithm: "sliding_window", Limit: 1e12, Remaining: 999_999_999_999, ResetAfter: 123456.789,
			RetryAfter: &never, Mode: "enforce", Charge: "successes",
		}
	}
	app.exec(`INSERT INTO refusals (key_id, at, id, request_id, route, violated, limits)
		SELECT $1, now(), i, repeat('r', 64), 'GET /v1/orders/{id}/invoice', $2, $3 FROM generate_series(1, 100) i`, id, names, limits)
	app.exec(`INSERT INTO usage_minutes (key_id, at, route_group, requests, refused, cost)
		SELECT $1, date_trunc('minute', now()) - i * interval '1 minute', 'orders:write', 1000000000, 500000000, 1000000000
		FROM generate_series(1, 2000) i`, id)
}

// Lists show the first ten items of an order and how many it has; the order itself shows all.
func TestOrders_list_shows_ten_items(t *testing.T) {
	caller := newApp(t).caller("internal")
	var want []int64
	var items []string
	for i := range 11 {
		want = append(want, int64(i+1))
		items = append(items, fmt.Sprintf(`{"product_id":"prd_0y5apuf8zs","quantity":%d}`, i+1))
	}
	quantities := func(o models.Order) (got []int64) {
		for _, item := range o.Items {
			got = append(got, item.Quantity)
		}
		return got
	}
	var placed, one models.Order
	caller.Post("/v1/orders", order(items...)).Want(http.StatusCreated).JSON(&placed)
	caller.Get("/v1/orders/" + placed.ID).Want(http.StatusOK).JSON(&one)
	listed := everyPage[models.Order](t, caller, "/v1/orders")[0]
	if !slices.Equal(quantities(listed), want[:10]) || listed.ItemCount != 11 {
		t.Errorf("in the list: %d items %v", listed.ItemCount, quantities(listed))
	}
	for _, o := range []models.Order{placed, one} {
		if !slices.Equal(quantities(o), want) || o.ItemCount != 11 {
			t.Errorf("by itself: %d items %v", o.ItemCount, quantities(o))
		}
	}
}

// A key of the largest size can be sent back as it is stored, and its metadata can't grow beyond that.
func TestKeys_largest(t *testing.T) {
	admin := newApp(t).admin()
	body, _ := hugeKey(t)
	key := createKey(t, admin, body)
	stored := admin.Get("/v1/admin/keys/" + key.ID).Want(http.StatusOK)
	t.Logf("%d bytes", len(stored.Body))
	admin.Do(http.MethodPatch, "/v1/admin/keys/"+key.ID, stored.Body).Want(http.StatusOK)
	more := map[string]any{"metadata": map[string]string{"more": strings.Repeat("x", 400)}}
	if got := faultsOf(admin.Do(http.MethodPatch, "/v1/admin/keys/"+key.ID, more)); got != "/metadata:max_length" {
		t.Errorf("more metadata: %s", got)
	}
}
