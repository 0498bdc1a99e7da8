package server

import (
	"log/slog"
	"net/http"
	_ "net/http/pprof" //nolint:gosec // only this handler, on the ops address, serves http.DefaultServeMux

	"github.com/gin-gonic/gin"

	"ratelimiter/handlers"
	"ratelimiter/middleware"
)

// NewOpsHandler returns the handler of the ops address: health checks and
// profiles.
func NewOpsHandler(health *handlers.Health, log *slog.Logger) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.Use(middleware.Begin(middleware.NewProxies(nil, log)), middleware.Recover(log), middleware.RenderErrors())
	router.NoRoute(middleware.NotFound)
	router.GET("/livez", health.Live)
	router.GET("/readyz", health.Ready)
	router.GET("/debug/pprof/*name", gin.WrapH(http.DefaultServeMux))
	return router
}
