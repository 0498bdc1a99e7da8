package main

import (
	"log/slog"
	"net/http"
	"time"

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
	fields  middleware.Fields
	proxies []string // networks whose X-Forwarded-For is believed
}

// newRouter puts the routes behind the gate: request id, log, recovery, error
// rendering, authentication, limit, scope, handler.
func newRouter(a *api, g *gate) (*gin.Engine, error) {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.HandleMethodNotAllowed = true
	router.RedirectTrailingSlash = false
	router.RemoteIPHeaders = []string{"X-Forwarded-For"}
	if err := router.SetTrustedProxies(g.proxies); err != nil {
		return nil, err
	}
	router.Use(middleware.Begin(), middleware.Headers(), middleware.Log(g.log), middleware.Recover(g.log), middleware.RenderErrors())
	router.NoRoute(middleware.NotFound)
	router.NoMethod(middleware.MethodNotAllowed)

	for _, r := range a.openRoutes() {
		handle(router, r, r.handler)
	}
	authenticate, builtIn := middleware.Authenticate(g.quotas, g.guard), middleware.BuiltInLimit(g.builtIn)
	for _, r := range a.routes() {
		chain := []gin.HandlerFunc{
			authenticate, middleware.Limit(g.limiter, g.fields, string(r.group), r.cost), middleware.Require(r.scope),
		}
		if r.cost == 0 { // what keys and operators do with keys, plans and themselves
			chain = append(chain, middleware.NoteAddress())
		}
		if r.cost == 0 && r.scope == "" {
			chain = append(chain, builtIn)
		}
		handle(router, r, append(chain, middleware.Deadline(handlerTimeout), r.handler)...)
	}
	return router, nil
}

// handlerTimeout bounds what a handler waits for. It is below the server's write
// timeout, so that the caller still gets the answer that says so.
const handlerTimeout = 10 * time.Second

// handle adds a route; what answers GET also answers HEAD (RFC 9110, section
// 9.1), where net/http leaves the body out.
func handle(router *gin.Engine, r route, chain ...gin.HandlerFunc) {
	router.Handle(r.method, r.path, chain...)
	if r.method == http.MethodGet {
		router.Handle(http.MethodHead, r.path, chain...)
	}
}
