package main

import (
	"log/slog"

	"github.com/gin-gonic/gin"

	"ratelimiter/middleware"
	"ratelimiter/ratelimit"
)

// gate is what every request of the API passes.
type gate struct {
	log     *slog.Logger
	quotas  middleware.Quotas
	guard   *middleware.AddressGuard
	limiter *ratelimit.Limiter
	builtIn *ratelimit.Limiter // for routes that cost nothing and that any key may call
	proxies []string           // networks whose X-Forwarded-For is believed
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
	authenticate, builtIn := middleware.Authenticate(g.quotas, g.guard), middleware.BuiltInLimit(g.builtIn)
	for _, r := range a.routes() {
		chain := []gin.HandlerFunc{authenticate, middleware.Limit(g.limiter, string(r.group), r.cost), middleware.Require(r.scope)}
		if r.cost == 0 { // what keys and operators do with keys, plans and themselves
			chain = append(chain, middleware.NoteAddress())
		}
		if r.cost == 0 && r.scope == "" {
			chain = append(chain, builtIn)
		}
		router.Handle(r.method, r.path, append(chain, r.handler)...)
	}
	return router, nil
}
