package middleware

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
)

// Options answers OPTIONS on a path that takes these methods, which it takes
// besides: 204 with Allow (RFC 9110, section 9.3.7). It needs no key and costs
// nothing.
func Options(methods ...string) gin.HandlerFunc {
	allow := []string{allowed(append(methods, http.MethodOptions))}
	return func(c *gin.Context) {
		c.Writer.Header()["Allow"] = allow
		c.Status(http.StatusNoContent)
	}
}

// allowed is the value of an Allow field.
func allowed(methods []string) string {
	methods = slices.Clone(methods)
	slices.Sort(methods)
	return strings.Join(slices.Compact(methods), ", ")
}

// IgnoreRange gives the whole to who asks for a part: files that net/http serves
// would else answer a range that there isn't in plain text.
func IgnoreRange() gin.HandlerFunc {
	return func(c *gin.Context) { c.Request.Header.Del("Range") }
}
