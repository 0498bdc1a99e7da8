package e2e

import (
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ratelimiter/handlers"
	"ratelimiter/internal/testkit"
	"ratelimiter/middleware"
	"ratelimiter/models"
)

// These tests cover bugs that were reported publicly for similar products.

func TestForwardedFor_with_port_or_brackets(t *testing.T) {
	app := newApp(t, withTrustedProxies("127.0.0.0/8"))
	admin := app.admin()
	key := createKey(t, admin, `{"name":"restricted","plan":"internal","ip_allow":["203.0.113.0/24","2001:db8::/32"]}`).Secret
	for forwarded, want := range map[string]int{
		"203.0.113.7":             http.StatusOK,
		"203.0.113.7:51234":       http.StatusOK,
		"[2001:db8::1]:443":       http.StatusOK,
		"198.51.100.1:51234":      http.StatusForbidden,
		"unknown":                 http.StatusForbidden,
		"203.0.113.7, nonsense":   http.StatusForbidden,
		"203.0.113.7, 127.0.0.9":  http.StatusOK,
		"127.0.0.9, 198.51.100.1": http.StatusForbidden,
	} {
		if got := app.As(key).Get("/v1/products", "X-Forwarded-For", forwarded); got.Status != want {
			t.Errorf("X-Forwarded-For: %s: got status %d; want %d", forwarded, got.Status, want)
		}
	}
}

// Requests from other addresses don't spend the quota of a stolen key.
func TestAllowList_before_the_limit(t *testing.T) {
	app := newApp(t, withTrustedProxies("127.0.0.0/8"))
	app.plan("three", `[{"name":"three","algorithm":"fixed_window","limit":3,"period":"1h"}]`)
	restricted := app.As(createKey(t, app.admin(), `{"name":"restricted","plan":"three","ip_allow":["203.0.113.0/24"]}`).Secret)
	for range 10 {
		got := restricted.Get("/v1/products", "X-Forwarded-For", "198.51.100.1").Want(http.StatusForbidden)
		if code := problemOf(got).Code; code != "address_not_allowed" {
			t.Errorf("got code %q; want address_not_allowed", code)
		}
	}
	for range 3 {
		restricted.Get("/v1/products", "X-Forwarded-For", "203.0.113.7").Want(http.StatusOK)
	}
	restricted.Get("/v1/products", "X-Forwarded-For", "203.0.113.7").Want(http.StatusTooManyRequests)
}

// problemOf decodes a problem.
func problemOf(r *testkit.Response) (problem middleware.QuotaProblem) {
	r.JSON(&problem)
	return problem
}

// An encoded slash is never a separator, and values are decoded once.
func TestPath_encoded_slash(t *testing.T) {
	app := newApp(t)
	caller := app.caller("internal")
	var order models.Order
	caller.Post("/v1/orders", order1).Want(http.StatusCreated).JSON(&order)
	caller.Get("/v1/orders/" + order.ID + "/invoice").Want(http.StatusOK)
	caller.Get("/v1/orders/" + order.ID + "%2Finvoice").Want(http.StatusNotFound)
	caller.Get("/v1/orders%2F" + order.ID).Want(http.StatusNotFound)
	caller.Get("/v1/orders/" + strings.Replace(order.ID, "_", "%5F", 1)).Want(http.StatusOK)
	caller.Get("/v1/orders/" + strings.Replace(order.ID, "_", "%255F", 1)).Want(http.StatusNotFound)
	app.exec(`INSERT INTO products (id, sku, name, description, price_amount, price_currency, stock) VALUES ('a+b c/d', 'S', 'n', 'd', 1, 'EUR', 1)`)
	caller.Get("/v1/products/a+b%20c%2Fd").Want(http.StatusOK)
	caller.Get("/v1/products/a%2Bb%20c%2fd").Want(http.StatusOK)
}

// A mistyped filter must not return everything.
func TestQuery_unknown_parameters(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	for path, want := range map[string]string{
		"/v1/admin/keys?owners=acme":        `did you mean \"owner\"?`,
		"/v1/admin/keys?Owner=acme":         "case-sensitive",
		"/v1/products?page=2":               "is not a known query parameter",
		"/v1/products/prd_0y5apuf8zs?x=1":   "is not a known query parameter",
		"/v1/me?verbose=1":                  "is not a known query parameter",
		"/v1/admin/audit?actor=cli&since=1": "is not a known query parameter",
	} {
		got := admin.Undescribed("an unknown parameter").Get(path).Want(http.StatusUnprocessableEntity)
		if !strings.Contains(string(got.Body), want) || !strings.Contains(string(got.Body), `"location":"query"`) {
			t.Errorf("%s: got %s; want %s", path, got.Body, want)
		}
	}
	app.Get("/docs?x=1").Want(http.StatusOK) // not under /v1
}

func TestProblems_have_codes(t *testing.T) {
	app := newApp(t)
	app.plan("seven", `[{"name":"minute","algorithm":"fixed_window","limit":7,"period":"1m"}]`)
	caller, admin := app.caller("seven"), app.admin()
	caller.Post("/v1/orders", order1).Want(http.StatusCreated)
	refused := problemOf(caller.Post("/v1/orders", order1).Want(http.StatusTooManyRequests))
	if refused.Code != "rate_limited" || refused.Cost != 5 || !strings.HasPrefix(refused.Detail, `Rate limit exceeded: policy "minute" has 2 of 7 units left; this request costs 5. Retry in `) {
		t.Errorf("429: got %+v", refused)
	}
	app.clock.Advance(1234567) // nanoseconds
	if got := string(caller.Post("/v1/orders", order1).Body); !strings.Contains(got, `"retry_after":59.999`) {
		t.Errorf("got %s; want retry_after in milliseconds", got)
	}
	for code, got := range map[string]*testkit.Response{
		"key_missing":            app.Get("/v1/products"),
		"key_invalid":            app.As("rl_live_wrong").Get("/v1/products"),
		"key_in_url":             app.Undescribed("a key in the URL").Get("/v1/products?k=rl_live_x"),
		"scope_missing":          caller.Get("/v1/admin/keys"),
		"not_found":              admin.Get("/v1/admin/keys/none"),
		"method_not_allowed":     app.Do(http.MethodDelete, "/docs", nil),
		"malformed_request":      admin.Post("/v1/admin/keys", `{`),
		"invalid_input":          admin.Post("/v1/admin/keys", `{}`),
		"unsupported_media_type": admin.Do(http.MethodPost, "/v1/admin/keys", `{}`, "Content-Type", "text/plain"),
		"not_acceptable":         admin.Get("/v1/products", "Accept", "image/png"),
		"version_mismatch":       admin.Do(put, "/v1/admin/plans/seven", minutePlan(1), "If-Match", `"99"`),
		"plan_in_use":            admin.Do(del, "/v1/admin/plans/seven", nil),
	} {
		if problem := problemOf(got); string(problem.Code) != code || got.Status < 400 {
			t.Errorf("status %d: got code %q; want %q", got.Status, problem.Code, code)
		}
	}
}

// The API description and the guide list the same codes.
func TestProblems_codes_documented(t *testing.T) {
	var spec struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct {
					Values []string `json:"x-extensible-enum"`
				}
			}
		}
	}
	decodeDescription(t, &spec)
	var codes []string
	for _, code := range spec.Components.Schemas["Problem"].Properties["code"].Values {
		codes = append(codes, "`"+code+"`")
	}
	guide, err := os.ReadFile("../docs/guide/errors-and-retries.md")
	if err != nil || len(codes) < 20 {
		t.Fatalf("got codes %s, error %v", codes, err)
	}
	var guided []string
	_, table, _ := strings.Cut(string(guide), "| status | `code` |")
	table, _, _ = strings.Cut(table, "\n\n")
	for _, row := range strings.Split(table, "\n")[2:] {
		guided = append(guided, strings.Split(strings.Split(row, " | ")[1], ", ")...)
	}
	slices.Sort(codes)
	slices.Sort(guided)
	guided = slices.Compact(guided) // a code may have two statuses
	if !slices.Equal(codes, guided) {
		t.Errorf("the API description has codes %s,\n the guide %s", codes, guided)
	}
}

// Variants of header fields that clients of other servers send are accepted.
func TestHeaders_tolerated(t *testing.T) {
	app := newApp(t, withOrigins("https://shop.example"))
	key := app.key(models.NewKey{Plan: "internal"})
	caller := app.As(key)
	caller.Do(http.MethodPost, "/v1/orders", order1, "Content-Type", "application/json; charset=utf8").Want(http.StatusCreated)
	caller.Do(http.MethodPost, "/v1/orders", order1, "Content-Encoding", "Identity").Want(http.StatusCreated)
	app.Get("/v1/products", "Authorization", "", "X-API-Key", key).Want(http.StatusOK)
	app.Get("/v1/products", "Authorization", "Bearer "+key, "X-API-Key", "").Want(http.StatusOK)
	preflight := app.Do(http.MethodOptions, "/v1/products", nil, "Origin", "https://shop.example",
		"Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "authorization,traceparent,tracestate").Want(http.StatusNoContent)
	if preflight.Header.Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("preflight: got header %v", preflight.Header)
	}
}

// A key is never locked out by others that fail from the same address.
func TestFailures_do_not_lock_out_a_valid_key(t *testing.T) {
	app := newApp(t)
	valid := app.caller("internal") // not cached yet
	for range 25 {
		app.As(app.unknownKey()).Get("/v1/products")
	}
	if got := app.As(app.unknownKey()).Get("/v1/products"); got.Status != http.StatusTooManyRequests || problemOf(got).Code != "too_many_failures" {
		t.Errorf("unknown key after 25 failures: got %d %s", got.Status, got.Body)
	}
	app.clock.Advance(time.Second)
	valid.Get("/v1/products").Want(http.StatusOK)
}

// Members that can't be changed may be sent back, so that a client can read a
// key or a plan, edit it and write it.
func TestReadOnlyMembers(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	key, other := createKey(t, admin, everyField), createKey(t, admin, everyField)
	path := "/v1/admin/keys/" + key.ID
	stored := string(admin.Get(path).Want(http.StatusOK).Body)
	var patched handlers.Key
	admin.Do(http.MethodPatch, path, stored).Want(http.StatusOK).JSON(&patched)
	if patched.Version != key.Version {
		t.Errorf("got version %d; want the key unchanged", patched.Version)
	}
	admin.Do(http.MethodPatch, path, `{"name":"x","status":"revoked","last_used_at":null,"version":7,"quota":[]}`).Want(http.StatusOK).JSON(&patched)
	if patched.Version != key.Version+1 || patched.Status != models.KeyActive || patched.LastUsedAt != nil {
		t.Errorf("got %+v; want only the name changed", patched)
	}
	foreign := string(admin.Get("/v1/admin/keys/" + other.ID).Want(http.StatusOK).Body)
	if got := faultsOf(admin.Do(http.MethodPatch, path, foreign)); got != "/id:read_only /subject:read_only /created_at:read_only" {
		t.Errorf("got faults %s", got)
	}

	const plan = "/v1/admin/plans/free"
	stored = string(admin.Get(plan).Want(http.StatusOK).Body)
	if got := string(admin.Do(http.MethodPut, plan, stored).Want(http.StatusOK).Body); got != stored {
		t.Errorf("got %s; want %s", got, stored)
	}
	if got := faultsOf(admin.Do(http.MethodPut, "/v1/admin/plans/other", stored)); got != "/name:read_only" {
		t.Errorf("got faults %s", got)
	}
	if got := faultsOf(admin.Do(http.MethodPut, plan, `{"policies":[],"created_at":"2026-01-15T09:30:00Z"}`)); got != "/created_at:read_only" {
		t.Errorf("got faults %s", got)
	}
}

// Validation applies only to changed values: the stored representation is always
// accepted.
func TestPatch_with_the_stored_representation(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	soon := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	key := createKey(t, admin, `{"name":"k","expires_at":"`+soon+`","overrides":[{"policy":{"name":"a","algorithm":"fixed_window","limit":1,"period":"1m"},"expires_at":"`+soon+`","reason":"r"}]}`)
	app.exec(`UPDATE api_keys SET expires_at = now() - interval '1 hour',
		overrides = jsonb_set(overrides, '{0,expires_at}', '"2026-01-15T09:30:00Z"') WHERE id = $1`, key.ID)
	var stored handlers.KeyWithQuota
	admin.Get("/v1/admin/keys/" + key.ID).Want(http.StatusOK).JSON(&stored)
	patch := map[string]any{
		"name": "renamed", "plan": stored.Plan, "scopes": stored.Scopes, "owner": stored.Owner, "expires_at": stored.ExpiresAt,
		"ip_allow": stored.IPAllow, "metadata": stored.Metadata, "overrides": stored.Overrides,
	}
	admin.Do(http.MethodPatch, "/v1/admin/keys/"+key.ID, patch).Want(http.StatusOK)
	stored.Overrides[0].Reason = "another reason"
	admin.Do(http.MethodPatch, "/v1/admin/keys/"+key.ID, map[string]any{"overrides": stored.Overrides}).Want(http.StatusOK)

	past := time.Now().Add(-2 * time.Hour).UTC().Format(time.RFC3339)
	got := admin.Do(http.MethodPatch, "/v1/admin/keys/"+key.ID, `{"expires_at":"`+past+`","overrides":[{"policy":{"name":"a","algorithm":"fixed_window","limit":2,"period":"1m"},"expires_at":"`+past+`"}]}`)
	if faults := faultsOf(got); faults != "/expires_at:past /overrides/0/expires_at:past" {
		t.Errorf("got faults %s; want those of the new times", faults)
	}
	if n := strings.Count(string(got.Body), "revoke it"); n != 1 {
		t.Errorf("got %s; want only the key's expiry to mention revoking", got.Body)
	}
}

func TestKeys_last_admin_key_stays_usable(t *testing.T) {
	app := newApp(t)
	text := app.key(models.NewKey{Admin: true})
	admin, path := app.As(text), "/v1/admin/keys/"+idOf(text)
	patch := func(networks string) *testkit.Response {
		return admin.Do(http.MethodPatch, path, `{"ip_allow":[`+networks+`]}`)
	}
	if got := patch(`"203.0.113.0/24"`).Want(http.StatusConflict); problemOf(got).Code != "last_admin_key" {
		t.Errorf("got %s; want last_admin_key", got.Body)
	}
	patch(`"127.0.0.0/8"`).Want(http.StatusOK) // the caller's own address
	patch(`"203.0.113.0/24"`).Want(http.StatusConflict)
	unusable := app.key(models.NewKey{Admin: true, IPAllow: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}})
	patch(`"203.0.113.0/24"`).Want(http.StatusConflict) // the other admin key isn't usable from this address
	app.exec(`UPDATE api_keys SET ip_allow = '{127.0.0.1/32}' WHERE id = $1`, idOf(unusable))
	patch(`"203.0.113.0/24"`).Want(http.StatusOK)
}

// Usage, refusals and simulations of a rotated key include its predecessors.
func TestUsage_covers_the_subject(t *testing.T) {
	app := newApp(t)
	app.plan("two", `[{"name":"two","algorithm":"fixed_window","limit":2,"period":"1h"}]`)
	first := app.key(models.NewKey{Plan: "two"})
	app.As(first).Get("/v1/products").Want(http.StatusOK)
	admin := app.admin()
	var second handlers.KeyWithSecret
	admin.Post("/v1/admin/keys/"+idOf(first)+"/rotate", nil).Want(http.StatusCreated).JSON(&second)
	app.As(second.Secret).Get("/v1/products").Want(http.StatusOK)
	app.As(first).Get("/v1/products").Want(http.StatusTooManyRequests)
	if err := app.app.FlushUsage(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{idOf(first), second.ID} {
		var history handlers.UsageHistory
		admin.Get("/v1/admin/keys/" + id + "/usage").Want(http.StatusOK).JSON(&history)
		var requests, refused int64
		for _, bucket := range history.Data {
			requests, refused = requests+bucket.Requests, refused+bucket.Refused
		}
		if requests != 3 || refused != 1 {
			t.Errorf("usage of %s: got %d requests, %d refused; want 3 and 1", id, requests, refused)
		}
		var refusals handlers.List[handlers.Refusal]
		admin.Get("/v1/admin/keys/" + id + "/refusals").Want(http.StatusOK).JSON(&refusals)
		if len(refusals.Data) != 1 {
			t.Errorf("refusals of %s: got %d; want 1", id, len(refusals.Data))
		}
		var simulation handlers.Simulation
		admin.Post("/v1/admin/keys/"+id+"/simulate", `{"policies":[]}`).Want(http.StatusOK).JSON(&simulation)
		if simulation.Requests != 3 {
			t.Errorf("simulation of %s: got %d requests; want 3", id, simulation.Requests)
		}
	}
}

// A wrong pepper is detected at start.
func TestServe_with_a_wrong_pepper(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := serveProcess(t, "DATA_DIR="+dir, "KEY_PEPPER=v1:the first secret for tests")
	server.end(syscall.SIGTERM)
	code, _, stderr := runProgram(t, []string{"DATA_DIR=" + dir, "KEY_PEPPER=v1:the second secret for tests", "HTTP_ADDR=127.0.0.1:0", "OPS_ADDR=127.0.0.1:0"}, "serve")
	if code != 1 || !strings.Contains(stderr, "KEY_PEPPER: v1 is not the pepper") {
		t.Errorf("got exit code %d: %s", code, stderr)
	}
}

func TestProblems_mask_encoded_keys(t *testing.T) {
	app := newApp(t)
	key := app.key(models.NewKey{Plan: "free"})
	encoded := strings.Replace(key, "rl_", "rl%5F", 1)
	for _, path := range []string{"/v1/products/" + encoded, "/v1/nowhere/" + encoded} {
		if got := string(app.Undescribed("a key in the URL").Get(path).Body); strings.Contains(got, key[len(key)-28:]) {
			t.Errorf("%s: the response has the key: %s", path, got)
		}
	}
}

// A stored policy that can't be read is a fault of the store: 503, and one line in
// the log that names the plan or key.
func TestStoredPolicies_unreadable(t *testing.T) {
	for name, damage := range map[string]string{
		"unknown algorithm": `UPDATE plans SET policies = '[{"name":"a","algorithm":"quantum","limit":5,"period":"1m"}]' WHERE name = 'damaged'`,
		"not a list":        `UPDATE plans SET policies = '[{"name":7}]' WHERE name = 'damaged'`,
		"override": `UPDATE api_keys SET overrides = '[{"policy":{"name":"a","algorithm":"fixed_window","limit":0,"period":"1m"},"reason":"","expires_at":null}]'
			WHERE plan = 'damaged'`,
	} {
		t.Run(name, func(t *testing.T) {
			app := newApp(t)
			app.plan("damaged", `[{"name":"a","algorithm":"fixed_window","limit":5,"period":"1m"}]`)
			key := app.key(models.NewKey{Plan: "damaged"})
			app.exec(damage)
			if got := problemOf(app.As(key).Get("/v1/me").Want(http.StatusServiceUnavailable)); got.Code != "unavailable" || strings.Contains(got.Detail, "damaged") {
				t.Errorf("got code %s, detail %s; want the cause in the log only", got.Code, got.Detail)
			}
			if log := app.log.String(); !strings.Contains(log, idOf(key)) && !strings.Contains(log, "damaged") {
				t.Errorf("the log doesn't name the key or plan: %s", log)
			}
			if name == "override" {
				return
			}
			check := app.admin(models.ScopeLimitsCheck).Post("/v1/limits/check", `{"subject":"s","plan":"damaged"}`)
			check.Want(http.StatusServiceUnavailable)
		})
	}
}
