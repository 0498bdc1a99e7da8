package main

import (
	"log/slog"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/handlers"
	"ratelimiter/middleware"
)

// Bounds of a connection, so that nobody holds one for nothing. Long polls and
// streams set longer write deadlines themselves.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 16 << 10
)

func newServer(handler http.Handler, to *console) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(to.log.Handler(), slog.LevelWarn),
	}
}

// opsWriteTimeout leaves room for a profile, which takes 30 s by default.
const opsWriteTimeout = 2 * time.Minute

func newOpsServer(ready *readiness, to *console) *http.Server {
	server := newServer(opsHandler(ready, to), to)
	server.WriteTimeout = opsWriteTimeout
	return server
}

// opsHandler serves what operators' tools ask for: health and profiles.
func opsHandler(ready *readiness, to *console) http.Handler {
	health := handlers.NewHealth(ready)
	router := gin.New()
	router.Use(middleware.Begin(), middleware.Recover(to.log), middleware.RenderErrors())
	router.NoRoute(middleware.NotFound)
	router.GET("/livez", health.Live)
	router.GET("/readyz", health.Ready)
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
	return router
}
