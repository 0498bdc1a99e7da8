package middleware

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/rs/cors"
)

// AnyOrigin allows pages of every origin.
const AnyOrigin = "*"

// What pages of other origins may send and read.
var (
	corsMethods = []string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	}
	corsRequestHeaders = []string{
		"Authorization", "X-API-Key", "Content-Type", "Accept", "If-Match", "If-None-Match", "Idempotency-Key", "X-Request-Id", "traceparent", "tracestate",
	}
	corsResponseHeaders = []string{
		"RateLimit", "RateLimit-Policy", "Retry-After", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset",
		"X-Request-Id", "ETag", "Link", "Location", "Allow", "WWW-Authenticate", "Content-Disposition", "Idempotency-Replayed",
	}
)

// preflightMaxAge is in seconds: the longest that Chromium remembers a preflight.
const preflightMaxAge = 7200

// CORS allows pages of these origins (exact ones, or AnyOrigin alone) to read
// responses, errors included. It answers preflights, which carry no key and cost
// nothing. Requests of other origins are served without CORS headers, so that
// browsers hide the responses. Cookies are not used.
func CORS(origins []string) gin.HandlerFunc {
	policy := cors.New(cors.Options{
		AllowedOrigins: origins, AllowedMethods: corsMethods, AllowedHeaders: corsRequestHeaders, ExposedHeaders: corsResponseHeaders,
		MaxAge: preflightMaxAge, OptionsPassthrough: true, // the status is set below
	}).Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	methods, headers := strings.Join(corsMethods, ", "), strings.Join(corsRequestHeaders, ", ")
	return func(c *gin.Context) {
		if c.Request.Method != http.MethodOptions || c.GetHeader("Access-Control-Request-Method") == "" {
			policy.ServeHTTP(c.Writer, c.Request)
			return
		}
		policy.ServeHTTP(c.Writer, normalizePreflight(c.Request))
		if c.Writer.Header().Get("Access-Control-Allow-Origin") == "" {
			return
		}
		c.Header("Access-Control-Allow-Methods", methods) // all of them, not only the requested ones
		c.Header("Access-Control-Allow-Headers", headers)
		c.AbortWithStatus(http.StatusNoContent)
	}
}

// normalizePreflight returns a preflight with its requested fields in lower case
// and sorted, as browsers send them. The library accepts no other form.
func normalizePreflight(r *http.Request) *http.Request {
	const field = "Access-Control-Request-Headers"
	lines := r.Header[field]
	if len(lines) == 0 {
		return r
	}
	names := strings.FieldsFunc(strings.ToLower(strings.Join(lines, ",")), func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
	slices.Sort(names)
	asked := *r
	asked.Header = r.Header.Clone()
	asked.Header[field] = []string{strings.Join(slices.Compact(names), ",")}
	return &asked
}
