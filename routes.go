package main

import (
	"net/http"

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

// api is what the routes lead to.
type api struct {
	products *handlers.Products
	orders   *handlers.Orders
	audit    *handlers.Audit
	health   *handlers.Health
}

// routes are those that need an API key.
func (a *api) routes() []route {
	const get, post = http.MethodGet, http.MethodPost
	return []route{
		// method, path, handler, scope, group, cost
		{get, "/v1/products", a.products.List, models.ScopeProductsRead, models.ScopeProductsRead, 1},
		{get, "/v1/products/:id", a.products.Get, models.ScopeProductsRead, models.ScopeProductsRead, 1},

		{post, "/v1/orders", a.orders.Create, models.ScopeOrdersWrite, models.ScopeOrdersWrite, 5},
		{get, "/v1/orders", a.orders.List, models.ScopeOrdersRead, models.ScopeOrdersRead, 1},
		{get, "/v1/orders/:id", a.orders.Get, models.ScopeOrdersRead, models.ScopeOrdersRead, 1},

		{get, "/v1/admin/audit", a.audit.List, models.ScopeAdminAudit, models.ScopeAdminAudit, 0},
	}
}

// openRoutes need no key and cost nothing.
func (a *api) openRoutes() []route {
	const get = http.MethodGet
	return []route{
		{method: get, path: "/livez", handler: a.health.Live},
		{method: get, path: "/readyz", handler: a.health.Ready},
		{method: get, path: "/docs", handler: docs.Page},
		{method: get, path: "/swagger/*any", handler: docs.SwaggerUI},
		{method: get, path: "/openapi.json", handler: docs.Spec},
	}
}
