package main

import (
	"log/slog"
	"net/http"

	"github.com/gin-gonic/gin"

	"ratelimiter/docs"
	"ratelimiter/handlers"
	"ratelimiter/middleware"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
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

// gate is what every request of the API passes.
type gate struct {
	log     *slog.Logger
	quotas  middleware.Quotas
	guard   *middleware.AddressGuard
	limiter *ratelimit.Limiter
	proxies []string // networks whose X-Forwarded-For is believed
}

// newRouter puts the routes behind the gate: request id, log, recovery, error
// rendering, authentication, limit, scope, handler.
func newRouter(a *api, g *gate) (*gin.Engine, error) {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.HandleMethodNotAllowed = true
	router.RedirectTrailingSlash = false
	if err := router.SetTrustedProxies(g.proxies); err != nil {
		return nil, err
	}
	router.Use(middleware.Begin(), middleware.Log(g.log), middleware.Recover(g.log), middleware.RenderErrors())
	router.NoRoute(middleware.NotFound)
	router.NoMethod(middleware.MethodNotAllowed)

	for _, r := range a.openRoutes() {
		router.Handle(r.method, r.path, r.handler)
	}
	authenticate := middleware.Authenticate(g.quotas, g.guard)
	for _, r := range a.routes() {
		limit := middleware.Limit(g.limiter, string(r.group), r.cost)
		router.Handle(r.method, r.path, authenticate, limit, middleware.Require(r.scope), r.handler)
	}
	return router, nil
}
