package middleware

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
)

// Options handles OPTIONS on a path that supports these methods: 204 with Allow
// (RFC 9110, section 9.3.7). It needs no key and costs nothing.
func Options(methods ...string) gin.HandlerFunc {
	allow := []string{allowHeader(append(methods, http.MethodOptions))}
	return func(c *gin.Context) {
		c.Writer.Header()["Allow"] = allow
		c.Status(http.StatusNoContent)
	}
}

// allowHeader returns the value of an Allow field.
func allowHeader(methods []string) string {
	methods = slices.Clone(methods)
	slices.Sort(methods)
	return strings.Join(slices.Compact(methods), ", ")
}

// IgnoreRange removes the Range field. net/http would answer an unsatisfiable
// range of a file in plain text.
func IgnoreRange() gin.HandlerFunc {
	return func(c *gin.Context) { c.Request.Header.Del("Range") }
}
