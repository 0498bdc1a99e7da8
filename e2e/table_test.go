package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"ratelimiter/internal/server"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// access has the statuses of one route for each kind of key: none, without the
// scope of the route, with the scope but of another owner than the resource,
// revoked, expired, and with the scope admin.
type access struct {
	route                                            string       // method and path
	scope                                            models.Scope // required scope; empty: none
	body                                             string
	none, wrongScope, other, revoked, expired, admin int
}

// accessTable has an entry for every route. Each request gets a new resource, of an
// owner that differs from all callers.
var accessTable = []access{
	{"GET /v1/products", models.ScopeProductsRead, "", 401, 403, 200, 401, 401, 200},
	{"GET /v1/products/:id", models.ScopeProductsRead, "", 401, 403, 200, 401, 401, 200},

	{"POST /v1/orders", models.ScopeOrdersWrite, order1, 401, 403, 201, 401, 401, 201},
	{"GET /v1/orders", models.ScopeOrdersRead, "", 401, 403, 200, 401, 401, 200},
	{"GET /v1/orders/:id", models.ScopeOrdersRead, "", 401, 403, 404, 401, 401, 404}, // also hidden from admin
	{"POST /v1/orders/:id/cancel", models.ScopeOrdersWrite, "", 401, 403, 404, 401, 401, 404},
	{"GET /v1/orders/:id/invoice", models.ScopeOrdersRead, "", 401, 403, 404, 401, 401, 404},

	// Counters and reservations belong to the owner of the key.
	{"POST /v1/limits/check", models.ScopeLimitsCheck, `{"subject":"s","plan":"free"}`, 401, 403, 200, 401, 401, 200},
	{"POST /v1/limits/reserve", models.ScopeLimitsCheck, `{"subject":"s","plan":"free"}`, 401, 403, 200, 401, 401, 200},
	{"POST /v1/limits/commit", models.ScopeLimitsCheck, `{"reservation":"rsv_anothers","cost":1}`, 401, 403, 404, 401, 401, 404},
	{"POST /v1/limits/release", models.ScopeLimitsCheck, `{"reservation":"rsv_anothers"}`, 401, 403, 404, 401, 401, 404},

	// These concern the presented key and need no scope.
	{"GET /v1/me", "", "", 401, 200, 200, 401, 401, 200},
	{"GET /v1/me/limits", "", "", 401, 200, 200, 401, 401, 200},
	{"POST /v1/me/rotate", "", "", 401, 201, 201, 401, 401, 201},
	{"GET /v1/me/usage", "", "", 401, 200, 200, 401, 401, 200},
	{"GET /v1/me/refusals", "", "", 401, 200, 200, 401, 401, 200},

	// Operators see the keys of all owners; to change one they need all its scopes.
	{"GET /v1/admin/keys", models.ScopeAdminKeys, "", 401, 403, 200, 401, 401, 200},
	{"POST /v1/admin/keys", models.ScopeAdminKeys, `{"name":"x"}`, 401, 403, 403, 401, 401, 201},
	{"GET /v1/admin/keys/:id", models.ScopeAdminKeys, "", 401, 403, 200, 401, 401, 200},
	{"PATCH /v1/admin/keys/:id", models.ScopeAdminKeys, `{"name":"x"}`, 401, 403, 403, 401, 401, 200},
	{"POST /v1/admin/keys/:id/rotate", models.ScopeAdminKeys, "", 401, 403, 403, 401, 401, 201},
	{"POST /v1/admin/keys/:id/revoke", models.ScopeAdminKeys, "", 401, 403, 403, 401, 401, 200},
	{"POST /v1/admin/keys/revoke", models.ScopeAdminKeys, `{"owner":"none"}`, 401, 403, 200, 401, 401, 200},
	{"POST /v1/admin/keys/:id/suspend", models.ScopeAdminKeys, "", 401, 403, 403, 401, 401, 200},
	{"POST /v1/admin/keys/:id/resume", models.ScopeAdminKeys, "", 401, 403, 403, 401, 401, 200},
	{"POST /v1/admin/keys/:id/reset", models.ScopeAdminKeys, "", 401, 403, 403, 401, 401, 204},
	{"GET /v1/admin/keys/:id/limits", models.ScopeAdminKeys, "", 401, 403, 200, 401, 401, 200},
	{"GET /v1/admin/keys/:id/usage", models.ScopeAdminKeys, "", 401, 403, 200, 401, 401, 200},
	{"GET /v1/admin/keys/:id/refusals", models.ScopeAdminKeys, "", 401, 403, 200, 401, 401, 200},
	{"POST /v1/admin/keys/:id/simulate", models.ScopeAdminKeys, `{"policies":[]}`, 401, 403, 200, 401, 401, 200},

	{"GET /v1/admin/plans", models.ScopeAdminPlans, "", 401, 403, 200, 401, 401, 200},
	{"GET /v1/admin/plans/:name", models.ScopeAdminPlans, "", 401, 403, 200, 401, 401, 200},
	{"PUT /v1/admin/plans/:name", models.ScopeAdminPlans, `{"policies":[]}`, 401, 403, 200, 401, 401, 200},
	{"DELETE /v1/admin/plans/:name", models.ScopeAdminPlans, "", 401, 403, 204, 401, 401, 204},

	{"GET /v1/admin/limiter", models.ScopeAdminPlans, "", 401, 403, 200, 401, 401, 200},
	{"PUT /v1/admin/limiter", models.ScopeAdminPlans, `{"mode":"enforce"}`, 401, 403, 200, 401, 401, 200},

	{"GET /v1/admin/audit", models.ScopeAdminAudit, "", 401, 403, 200, 401, 401, 200},

	{"GET /v1/admin/queues", models.ScopeAdminQueues, "", 401, 403, 200, 401, 401, 200},
	{"POST /v1/admin/queues/:group/pause", models.ScopeAdminQueues, "", 401, 403, 200, 401, 401, 200},
	{"POST /v1/admin/queues/:group/resume", models.ScopeAdminQueues, "", 401, 403, 200, 401, 401, 200},
	{"GET /v1/admin/dead-letters", models.ScopeAdminQueues, "", 401, 403, 200, 401, 401, 200},
	{"POST /v1/admin/dead-letters/redrive", models.ScopeAdminQueues, `{"dry_run":true}`, 401, 403, 202, 401, 401, 202},
	{"POST /v1/admin/dead-letters/:id/redrive", models.ScopeAdminQueues, "", 401, 403, 202, 401, 401, 202},
	{"DELETE /v1/admin/dead-letters/:id", models.ScopeAdminQueues, "", 401, 403, 204, 401, 401, 204},
}

// resourcePath creates the resource that a route needs, with a new owner, and
// returns its path.
func (a *testApp) resourcePath(path string) string {
	a.t.Helper()
	owner := fmt.Sprintf("owner%d", time.Now().UnixNano())
	switch {
	case strings.HasPrefix(path, "/v1/products"):
		return strings.Replace(path, ":id", "prd_0y5apuf8zs", 1)
	case strings.HasPrefix(path, "/v1/orders/:id"):
		var order models.Order
		a.of(owner).Post("/v1/orders", order1).Want(http.StatusCreated).JSON(&order)
		return strings.Replace(path, ":id", order.ID, 1)
	case strings.HasPrefix(path, "/v1/admin/keys/:id"):
		return strings.Replace(path, ":id", idOf(a.key(models.NewKey{Plan: "internal", Owner: owner})), 1)
	case strings.HasPrefix(path, "/v1/admin/plans/:name"):
		a.exec(`INSERT INTO plans (name, policies) VALUES ('table', '[]') ON CONFLICT DO NOTHING`)
		return strings.Replace(path, ":name", "table", 1)
	case strings.HasPrefix(path, "/v1/admin/queues/:group"):
		a.exec(`INSERT INTO queue_pauses ("group") VALUES ('table') ON CONFLICT DO NOTHING`)
		return strings.Replace(path, ":group", "table", 1)
	case strings.HasPrefix(path, "/v1/admin/dead-letters/:id"):
		a.deadLetters(1, "order.placed", "declined")
		return strings.Replace(path, ":id", a.newestDeadLetter(), 1)
	default:
		return path
	}
}

// order1 is the body of an order of one product.
const order1 = `{"items":[{"product_id":"prd_0y5apuf8zs","quantity":1}],"email":"a@example.com","payment_token":"t"}`

func TestRoutes_access(t *testing.T) {
	lines := map[string]access{}
	for _, line := range accessTable {
		lines[line.route] = line
	}
	app := newApp(t)
	app.admin() // the last admin key can't be changed
	for _, r := range keyRoutes() {
		name := r.Method + " " + r.Path
		line, ok := lines[name]
		if !ok {
			t.Errorf("%s is missing in accessTable", name)
			continue
		}
		delete(lines, name)
		if r.Scope != line.scope {
			t.Errorf("%s: got scope %q; want %q", name, r.Scope, line.scope)
		}
		t.Run(name, func(t *testing.T) { app.checkAccess(t, r, line) })
	}
	for name := range lines {
		t.Errorf("%s is in accessTable, but isn't a route", name)
	}
}

// keyRoutes returns the routes that need a key.
func keyRoutes() []server.Route {
	return slices.DeleteFunc(server.Routes(server.Handlers{}), func(r server.Route) bool { return r.Public })
}

func (a *testApp) checkAccess(t *testing.T, r server.Route, line access) {
	past := time.Now().Add(-time.Minute)
	scopes := []models.Scope{r.Scope}
	if r.Scope == "" {
		scopes = models.DefaultScopes()
	}
	key := func(spec models.NewKey) *testkit.Client {
		spec.Plan = "internal"
		return a.As(a.key(spec))
	}
	revoked := a.key(models.NewKey{Name: "revoked", Scopes: scopes})
	a.exec(`UPDATE api_keys SET revoked_at = now() WHERE name = 'revoked'`)
	for _, kind := range []struct {
		name   string
		caller *testkit.Client
		want   int
	}{
		{"no key", a.Client, line.none},
		{"a key without the scope", key(models.NewKey{Scopes: allScopesBut(r.Scope)}), line.wrongScope},
		{"a key of another owner", key(models.NewKey{Scopes: scopes}), line.other},
		{"a revoked key", a.As(revoked), line.revoked},
		{"an expired key", key(models.NewKey{Scopes: scopes, ExpiresAt: &past}), line.expired},
		{"an admin key", key(models.NewKey{Admin: true}), line.admin},
	} {
		response := kind.caller.Do(r.Method, a.resourcePath(r.Path), bodyOf(line.body))
		if response.Status != kind.want {
			t.Errorf("%s: got %d; want %d: %s", kind.name, response.Status, kind.want, response.Body)
		}
		a.clock.Advance(time.Minute) // resets the failure limiter
	}
}

// allScopesBut returns all scopes except scope and admin, which includes it.
func allScopesBut(scope models.Scope) []models.Scope {
	var rest []models.Scope
	for _, s := range models.AllScopes() {
		if s != scope && s != models.ScopeAdmin {
			rest = append(rest, s)
		}
	}
	return rest
}
