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
	usage   middleware.Recorder
	builtIn *ratelimit.Limiter // for routes that cost nothing and that any key may call
	fields  middleware.Fields
	origins []string // whose pages may read the answers; none: no CORS
	proxies []string // networks whose X-Forwarded-For is believed
}

// newRouter puts the routes behind the gate: request id, log, recovery, error
// rendering, authentication, limit, scope, handler; compression around it all.
func newRouter(a *api, g *gate) (http.Handler, error) {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.HandleMethodNotAllowed = true
	router.RedirectTrailingSlash = false
	router.RemoteIPHeaders = []string{"X-Forwarded-For"}
	if err := router.SetTrustedProxies(g.proxies); err != nil {
		return nil, err
	}
	router.Use(middleware.Begin(), middleware.Headers(), middleware.Log(g.log), middleware.Recover(g.log), middleware.RenderErrors())
	if len(g.origins) > 0 {
		router.Use(middleware.CORS(g.origins))
	}
	router.NoRoute(middleware.NotFound)
	router.NoMethod(middleware.MethodNotAllowed)

	for _, r := range a.openRoutes() {
		handle(router, r, middleware.IgnoreRange(), r.handler)
	}
	authenticate, builtIn := middleware.Authenticate(g.quotas, g.guard), middleware.BuiltInLimit(g.builtIn)
	for _, r := range a.routes() {
		chain := []gin.HandlerFunc{
			authenticate, middleware.Limit(g.limiter, g.fields, r.described(), g.usage), middleware.Require(r.scope),
		}
		if r.cost == 0 { // what keys and operators do with keys, plans and themselves
			chain = append(chain, middleware.NoteAddress())
		}
		if r.cost == 0 && r.scope == "" {
			chain = append(chain, builtIn)
		}
		handle(router, r, append(chain, middleware.Deadline(handlerTimeout), r.handler)...)
	}
	answerOptions(router)
	return middleware.Compress(router), nil
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

// answerOptions lets every path say by OPTIONS what it takes.
func answerOptions(router *gin.Engine) {
	methods := map[string][]string{}
	for _, r := range router.Routes() {
		methods[r.Path] = append(methods[r.Path], r.Method)
	}
	for path, taken := range methods {
		router.OPTIONS(path, middleware.Options(taken...))
	}
}
