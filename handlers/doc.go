// Package handlers decodes requests, calls one service each, and encodes the
// answers: one file a resource. It declares the small interfaces that it
// calls. What is around every handler is in middleware; what goes wrong is
// reported with fail and answered there.
package handlers

import (
	"github.com/gin-gonic/gin"
)

// fail reports that the request failed; middleware.RenderErrors answers.
func fail(c *gin.Context, err error) {
	_ = c.Error(err) // c.Error returns its argument wrapped, for chaining
	c.Abort()
}
