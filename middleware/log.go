package middleware

import (
	"errors"
	"log/slog"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// Bounds of text in the log, in bytes: clients choose methods, paths and parts of
// errors, and a line must not outgrow its request.
const (
	maxLogged      = 256
	maxLoggedError = 1024
)

// Log writes one line per request when it has ended. Query strings and header
// fields are never logged because they can contain secrets.
func Log(logger *slog.Logger) gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Next()
		s := stateOf(c)
		level := slog.LevelInfo
		switch err := c.Errors.Last(); {
		case err != nil && errors.Is(err.Err, models.ErrOverloaded): // rejected on purpose
			level = slog.LevelWarn
		case s.Status() >= http.StatusInternalServerError:
			level = slog.LevelError
		}
		var buffer [10]slog.Attr // all attributes fit, so that the slice doesn't grow
		attrs := append(buffer[:0],
			slog.String("request_id", s.request.ID),
			slog.String("method", loggable(c.Request.Method, maxLogged)),
			slog.String("path", loggable(c.Request.URL.Path, maxLogged)),
			slog.String("route", c.FullPath()),
			slog.Int("status", s.Status()),
			slog.Int("bytes", max(s.Size(), 0)),
			slog.Float64("duration_ms", float64(time.Since(s.started))/float64(time.Millisecond)),
			slog.String("ip", addressText(c)),
		)
		if s.request.Key != nil {
			attrs = append(attrs, slog.String("key_id", s.request.Key.ID))
		}
		if err := c.Errors.Last(); err != nil {
			attrs = append(attrs, slog.String("error", loggable(err.Error(), maxLoggedError)))
		}
		logger.LogAttrs(c.Request.Context(), level, "request", attrs...)
	}
}

// loggable returns a text for the log: at most about most bytes, the rest as an
// ellipsis, with API keys masked.
func loggable(s string, most int) string {
	if len(s) > most {
		for most > 0 && !utf8.RuneStart(s[most]) {
			most--
		}
		s = s[:most] + "…"
	}
	return maskKeys(s)
}
