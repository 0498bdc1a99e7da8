package middleware

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"

	"github.com/gin-gonic/gin"
)

// Recover turns a panic into a 500, and logs it with its stack. A panic after
// the header was sent can only end the connection, and http.ErrAbortHandler
// asks for just that.
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
			e := exchangeOf(c)
			logger.LogAttrs(c.Request.Context(), slog.LevelError, "panic",
				slog.String("request_id", e.request.ID),
				slog.String("panic", withoutKeys(fmt.Sprint(p))),
				slog.String("stack", string(debug.Stack())))
			if e.Written() {
				panic(http.ErrAbortHandler)
			}
			Fail(c, fmt.Errorf("panic: %v", p))
			renderError(c)
		}()
		c.Next()
	}
}
