package server

import (
	"log/slog"
	"net/http"
	"net/http/pprof"

	"github.com/gin-gonic/gin"

	"ratelimiter/handlers"
	"ratelimiter/middleware"
)

// NewOpsHandler returns the handler of the ops address: health checks, metrics
// and profiles, and what mount adds. A loopback address addr is served for loopback
// names only.
func NewOpsHandler(addr string, health *handlers.Health, metrics http.Handler, log *slog.Logger, mount ...func(gin.IRouter)) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.Use(middleware.Begin(middleware.NewProxies(nil, log)), middleware.Recover(log), middleware.RenderErrors())
	if middleware.IsLoopback(addr) {
		router.Use(middleware.LoopbackHost())
	}
	router.HandleMethodNotAllowed = true
	router.NoRoute(middleware.NotFound)
	router.NoMethod(middleware.MethodNotAllowed)
	router.Match([]string{http.MethodGet, http.MethodHead}, "/livez", health.Live)
	router.Match([]string{http.MethodGet, http.MethodHead}, "/readyz", health.Ready)
	router.GET("/metrics", gin.WrapH(metrics))
	router.GET("/debug/pprof/*name", func(c *gin.Context) {
		switch c.Param("name") {
		case "/profile":
			pprof.Profile(c.Writer, c.Request)
		case "/trace":
			pprof.Trace(c.Writer, c.Request)
		case "/symbol":
			pprof.Symbol(c.Writer, c.Request)
		case "/cmdline":
			pprof.Cmdline(c.Writer, c.Request)
		default:
			pprof.Index(c.Writer, c.Request)
		}
	})
	for _, add := range mount {
		add(router)
	}
	return router
}
