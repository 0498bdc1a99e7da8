package middleware

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
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

// slowRequest is the time from which a request counts as slow, without the time
// that a leaky_bucket policy made it queue or that it asked to wait.
const slowRequest = time.Second

// Log writes one line per request when it has ended: "request failed" for a fault
// of the server, "slow request" for one that took longer than slowRequest,
// otherwise "request". Query strings and header fields are never logged because
// they can contain secrets. Lines of level info go to the logger's handler encoded
// if it is a LineWriter.
func Log(logger *slog.Logger) gin.HandlerFunc {
	lines, _ := logger.Handler().(LineWriter)
	return func(c *gin.Context) {
		c.Next()
		s := stateOf(c)
		now := time.Now()
		took := now.Sub(s.started)
		level, message := s.logged(c, took)
		if !logger.Enabled(c.Request.Context(), level) {
			return
		}
		var buffer [11]slog.Attr // all attributes fit, so that the slice doesn't grow
		attrs := append(buffer[:0],
			slog.String("method", loggable(c.Request.Method, maxLogged)),
			slog.String("path", loggable(c.Request.URL.Path, maxLogged)),
			slog.Int("status", s.Status()),
			slog.Float64("duration_ms", float64(took.Microseconds())/1000),
			slog.Int("bytes", max(s.Size(), 0)),
			slog.String("route", c.FullPath()),
			slog.String("ip", addressText(c)),
			slog.String("request_id", s.request.ID),
		)
		if s.request.Key != nil {
			attrs = append(attrs, slog.String("key_id", s.request.Key.ID))
		}
		if err := c.Errors.Last(); err != nil {
			if limited, ok := errors.AsType[*limitedError](err.Err); ok {
				attrs = append(attrs, slog.String("violated_policies", strings.Join(limited.violated, ",")))
			}
			attrs = append(attrs, slog.String("error", loggable(err.Error(), maxLoggedError)))
		}
		if lines != nil && level == slog.LevelInfo {
			var ok bool
			if s.scratch, ok = appendLine(s.scratch[:0], now, message, attrs); ok {
				lines.WriteLater(s.scratch)
				return
			}
		}
		logger.LogAttrs(c.Request.Context(), level, message, attrs...)
	}
}

// logged returns how an ended request is logged.
func (s *requestState) logged(c *gin.Context, took time.Duration) (slog.Level, string) {
	status := s.Status()
	switch err := c.Errors.Last(); {
	case s.probe:
		return slog.LevelDebug, "request"
	case err != nil && errors.Is(err.Err, models.ErrOverloaded): // rejected on purpose
		return slog.LevelWarn, "request"
	case status >= http.StatusInternalServerError:
		return slog.LevelError, "request failed"
	case s.quiet && status < http.StatusBadRequest: // slow ones are sent to slow clients
		return slog.LevelDebug, "request"
	case took-s.queued()-s.request.Waited >= slowRequest && !s.endless:
		return slog.LevelWarn, "slow request"
	default:
		return slog.LevelInfo, "request"
	}
}

// queued returns how long leaky_bucket policies made the request wait.
func (s *requestState) queued() time.Duration {
	if !s.limited {
		return 0
	}
	return s.reservation.Decision.Wait
}

// Quiet makes Log write the requests of a route at level debug: all of a health
// probe, which come often and fail on purpose, otherwise those that succeed.
func Quiet(probe bool) gin.HandlerFunc {
	return func(c *gin.Context) {
		s := stateOf(c)
		s.quiet, s.probe = true, probe
		c.Next()
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
