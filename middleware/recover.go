package middleware

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// Recover turns a panic into a 500 and logs it with its stack. A panic after the
// header was sent can only end the connection, as http.ErrAbortHandler requests.
func Recover(logger *slog.Logger) gin.HandlerFunc {
	return func(c *gin.Context) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
			logger.LogAttrs(c.Request.Context(), slog.LevelError, "panic",
				slog.String("request_id", models.RequestFrom(c).ID),
				slog.String("panic", loggable(fmt.Sprint(p), maxLoggedError)),
				slog.String("stack", string(debug.Stack())))
			if c.Writer.Written() {
				panic(http.ErrAbortHandler)
			}
			Fail(c, fmt.Errorf("panic: %v", p))
			renderError(c)
		}()
		c.Next()
	}
}
