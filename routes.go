package main

import (
	"net/http"
	"regexp"
	"slices"

	"github.com/gin-gonic/gin"

	"ratelimiter/docs"
	"ratelimiter/handlers"
	"ratelimiter/models"
)

// route is one line of the table: who may call it (scope), which policies
// apply (group: those without one, and those of it) and what a call costs.
// A route's group is its scope.
type route struct {
	method  string
	path    string
	handler gin.HandlerFunc
	scope   models.Scope
	group   models.Scope
	cost    int64
}

// parameter is a path's parameter, as gin spells it.
var parameter = regexp.MustCompile(`:(\w+)`)

// described is the route as usage and refusals name it.
func (r *route) described() *models.Route {
	return &models.Route{Name: r.method + " " + parameter.ReplaceAllString(r.path, "{$1}"), Group: r.group, Cost: r.cost}
}

// api is what the routes lead to.
type api struct {
	products *handlers.Products
	orders   *handlers.Orders
	invoices *handlers.Invoices
	checks   *handlers.Checks
	me       *handlers.Me
	usage    *handlers.Usage
	keys     *handlers.Keys
	plans    *handlers.Plans
	limiter  *handlers.Limiter
	audit    *handlers.Audit
	health   *handlers.Health
}

// routes are those that need an API key.
func (a *api) routes() []route {
	const get, post, put, patch, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete
	return []route{
		// method, path, handler, scope, group, cost
		{get, "/v1/products", a.products.List, models.ScopeProductsRead, models.ScopeProductsRead, 1},
		{get, "/v1/products/:id", a.products.Get, models.ScopeProductsRead, models.ScopeProductsRead, 1},

		{post, "/v1/orders", a.orders.Create, models.ScopeOrdersWrite, models.ScopeOrdersWrite, 5},
		{get, "/v1/orders", a.orders.List, models.ScopeOrdersRead, models.ScopeOrdersRead, 1},
		{get, "/v1/orders/:id", a.orders.Get, models.ScopeOrdersRead, models.ScopeOrdersRead, 1},
		{get, "/v1/orders/:id/invoice", a.invoices.Get, models.ScopeOrdersRead, models.ScopeOrdersRead, 10},

		{post, "/v1/limits/check", a.checks.Check, models.ScopeLimitsCheck, models.ScopeLimitsCheck, 0},
		{post, "/v1/limits/reserve", a.checks.Reserve, models.ScopeLimitsCheck, models.ScopeLimitsCheck, 0},
		{post, "/v1/limits/commit", a.checks.Commit, models.ScopeLimitsCheck, models.ScopeLimitsCheck, 0},
		{post, "/v1/limits/release", a.checks.Release, models.ScopeLimitsCheck, models.ScopeLimitsCheck, 0},

		{get, "/v1/me", a.me.Get, "", "", 0},
		{get, "/v1/me/limits", a.me.Limits, "", "", 0},
		{post, "/v1/me/rotate", a.me.Rotate, "", "", 0},
		{get, "/v1/me/usage", a.usage.Mine, "", "", 0},
		{get, "/v1/me/refusals", a.usage.MyRefusals, "", "", 0},

		{get, "/v1/admin/keys", a.keys.List, models.ScopeAdminKeys, models.ScopeAdminKeys, 0},
		{post, "/v1/admin/keys", a.keys.Create, models.ScopeAdminKeys, models.ScopeAdminKeys, 0},
		{get, "/v1/admin/keys/:id", a.keys.Get, models.ScopeAdminKeys, models.ScopeAdminKeys, 0},
		{patch, "/v1/admin/keys/:id", a.keys.Patch, models.ScopeAdminKeys, models.ScopeAdminKeys, 0},
		{post, "/v1/admin/keys/:id/rotate", a.keys.Rotate, models.ScopeAdminKeys, models.ScopeAdminKeys, 0},
		{post, "/v1/admin/keys/:id/revoke", a.keys.Revoke, models.ScopeAdminKeys, models.ScopeAdminKeys, 0},
		{post, "/v1/admin/keys/:id/reset", a.keys.Reset, models.ScopeAdminKeys, models.ScopeAdminKeys, 0},
		{get, "/v1/admin/keys/:id/limits", a.keys.Limits, models.ScopeAdminKeys, models.ScopeAdminKeys, 0},
		{get, "/v1/admin/keys/:id/usage", a.usage.OfKey, models.ScopeAdminKeys, models.ScopeAdminKeys, 0},
		{get, "/v1/admin/keys/:id/refusals", a.usage.RefusalsOfKey, models.ScopeAdminKeys, models.ScopeAdminKeys, 0},
		{post, "/v1/admin/keys/:id/simulate", a.usage.Simulate, models.ScopeAdminKeys, models.ScopeAdminKeys, 0},

		{get, "/v1/admin/plans", a.plans.List, models.ScopeAdminPlans, models.ScopeAdminPlans, 0},
		{get, "/v1/admin/plans/:name", a.plans.Get, models.ScopeAdminPlans, models.ScopeAdminPlans, 0},
		{put, "/v1/admin/plans/:name", a.plans.Put, models.ScopeAdminPlans, models.ScopeAdminPlans, 0},
		{del, "/v1/admin/plans/:name", a.plans.Delete, models.ScopeAdminPlans, models.ScopeAdminPlans, 0},

		{get, "/v1/admin/limiter", a.limiter.Get, models.ScopeAdminPlans, models.ScopeAdminPlans, 0},
		{put, "/v1/admin/limiter", a.limiter.Put, models.ScopeAdminPlans, models.ScopeAdminPlans, 0},

		{get, "/v1/admin/audit", a.audit.List, models.ScopeAdminAudit, models.ScopeAdminAudit, 0},
	}
}

// routeGroups names the groups that a policy can be bound to.
func routeGroups() []string {
	var groups []string
	for _, r := range (&api{}).routes() {
		if r.group != "" && !slices.Contains(groups, string(r.group)) {
			groups = append(groups, string(r.group))
		}
	}
	return groups
}

// openRoutes need no key and cost nothing.
func (a *api) openRoutes() []route {
	const get = http.MethodGet
	return []route{
		{method: get, path: "/livez", handler: a.health.Live},
		{method: get, path: "/readyz", handler: a.health.Ready},
		{method: get, path: "/", handler: docs.Home},
		{method: get, path: "/docs", handler: docs.Page},
		{method: get, path: "/swagger/*any", handler: docs.SwaggerUI},
		{method: get, path: "/redoc", handler: docs.Reference},
		{method: get, path: "/redoc/*any", handler: docs.ReDoc},
		{method: get, path: "/openapi.json", handler: docs.Spec},
	}
}
