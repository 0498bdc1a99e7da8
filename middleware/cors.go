package middleware

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/rs/cors"
)

// AnyOrigin lets the pages of every origin read the answers.
const AnyOrigin = "*"

// What a page of another origin may send and read. A browser asks before it
// sends a key, and shows a script no other fields of an answer than these.
var (
	corsMethods = []string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	}
	corsRequestHeaders = []string{
		"Authorization", "X-API-Key", "Content-Type", "Accept", "If-Match", "If-None-Match", "Idempotency-Key", "X-Request-Id",
	}
	corsResponseHeaders = []string{
		"RateLimit", "RateLimit-Policy", "Retry-After", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset",
		"X-Request-Id", "ETag", "Link", "Location", "Allow", "WWW-Authenticate", "Content-Disposition", "Idempotency-Replayed",
	}
)

// preflightMaxAge is in seconds: the longest that Chromium remembers a preflight.
const preflightMaxAge = 7200

// CORS lets browsers show answers to the pages of these origins: exact ones, or
// AnyOrigin alone. Errors are shown too, for a page has to know why. Preflights
// are answered here: they carry no key and cost nothing. Origins that aren't
// listed are served as if there were no CORS, and their browsers keep the answer
// to themselves. Cookies are none of it: a key is sent by the page's own script.
func CORS(origins []string) gin.HandlerFunc {
	policy := cors.New(cors.Options{
		AllowedOrigins: origins, AllowedMethods: corsMethods, AllowedHeaders: corsRequestHeaders, ExposedHeaders: corsResponseHeaders,
		MaxAge: preflightMaxAge, OptionsPassthrough: true, // the status is ours to set
	}).Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	methods, headers := strings.Join(corsMethods, ", "), strings.Join(corsRequestHeaders, ", ")
	return func(c *gin.Context) {
		if c.Request.Method != http.MethodOptions || c.GetHeader("Access-Control-Request-Method") == "" {
			policy.ServeHTTP(c.Writer, c.Request)
			return
		}
		policy.ServeHTTP(c.Writer, asBrowsersAsk(c.Request))
		if c.Writer.Header().Get("Access-Control-Allow-Origin") == "" {
			return
		}
		c.Header("Access-Control-Allow-Methods", methods) // all of them, not only those that were asked for
		c.Header("Access-Control-Allow-Headers", headers)
		c.AbortWithStatus(http.StatusNoContent)
	}
}

// asBrowsersAsk returns a preflight with the names of the fields that it asks
// for in lower case and in order, as browsers send them: the library takes them
// in no other form, and whoever asks by hand is to get the same answer.
func asBrowsersAsk(r *http.Request) *http.Request {
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
