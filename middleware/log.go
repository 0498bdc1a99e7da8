package middleware

import (
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// Log writes one line a request when it has ended: what was asked, by which
// key (its id only), what came of it and how long it took. Query strings and
// header fields are never logged, for they can hold secrets.
func Log(logger *slog.Logger) gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Next()
		e := exchangeOf(c)
		level := slog.LevelInfo
		switch err := c.Errors.Last(); {
		case err != nil && errors.Is(err.Err, models.ErrOverloaded): // shed on purpose
			level = slog.LevelWarn
		case e.Status() >= http.StatusInternalServerError:
			level = slog.LevelError
		}
		attrs := []slog.Attr{
			slog.String("request_id", e.request.ID),
			slog.String("method", withoutKeys(c.Request.Method)),
			slog.String("path", withoutKeys(c.Request.URL.Path)),
			slog.String("route", c.FullPath()),
			slog.Int("status", e.Status()),
			slog.Int("bytes", max(e.Size(), 0)),
			slog.Float64("duration_ms", float64(time.Since(e.started))/float64(time.Millisecond)),
			slog.String("ip", c.ClientIP()),
		}
		if e.request.Key != nil {
			attrs = append(attrs, slog.String("key_id", e.request.Key.ID))
		}
		if err := c.Errors.Last(); err != nil {
			attrs = append(attrs, slog.String("error", withoutKeys(err.Error())))
		}
		logger.LogAttrs(c.Request.Context(), level, "request", attrs...)
	}
}
