package server

import (
	"cmp"
	"log/slog"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/middleware"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// RouterConfig is what the middleware needs.
type RouterConfig struct {
	Log            *slog.Logger
	Quotas         middleware.Quotas
	Tickets        middleware.Tickets
	Failures       *middleware.FailureLimiter
	Limiter        *ratelimit.Limiter // of keys' quotas
	BuiltIn        *ratelimit.Limiter // of routes with a built-in rate
	Anonymous      *ratelimit.Limiter // of requests that need no key, by address
	Usage          middleware.Recorder
	Meter          middleware.Meter // nil: none
	Fields         middleware.Fields
	Origins        []string       // whose pages may read responses; none: no CORS
	TrustedProxies []netip.Prefix // networks whose X-Forwarded-For is trusted
}

// defaultTimeout bounds what a handler waits for. It is below the server's write
// timeout, so that the client still gets the response.
const defaultTimeout = 10 * time.Second

// NewRouter returns the API: the routes of h with the middleware around them.
func NewRouter(h Handlers, cfg RouterConfig) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.HandleMethodNotAllowed = true
	router.RedirectTrailingSlash = false
	// %2F is never a separator; binding decodes path values, once.
	router.UseEscapedPath, router.UnescapePathValues = true, false
	proxies := middleware.NewProxies(cfg.TrustedProxies, cfg.Log)
	router.Use(middleware.Begin(proxies), middleware.Headers())
	if cfg.Meter != nil {
		router.Use(middleware.Measure(cfg.Meter))
	}
	router.Use(middleware.Log(cfg.Log), middleware.Recover(cfg.Log), middleware.RenderErrors())
	if len(cfg.Origins) > 0 {
		router.Use(middleware.CORS(cfg.Origins))
	}
	anonymous := middleware.AnonymousLimit(cfg.Anonymous)
	router.NoRoute(anonymous, middleware.NotFound)

	authenticate := middleware.Authenticate(cfg.Quotas, cfg.Failures)
	byTicket := middleware.AuthenticateTicket(cfg.Tickets, cfg.Failures, authenticate)
	methods := map[string][]string{}
	for _, r := range Routes(h) {
		authenticated := authenticate
		if r.Ticket {
			authenticated = byTicket
		}
		chain := cfg.chain(r, anonymous, authenticated)
		router.Handle(r.Method, r.Path, chain...)
		methods[r.Path] = append(methods[r.Path], r.Method)
		if r.Method == http.MethodGet { // net/http leaves the body out (RFC 9110, section 9.3.2)
			router.Handle(http.MethodHead, r.Path, chain...)
			methods[r.Path] = append(methods[r.Path], http.MethodHead)
		}
	}
	notAllowed := middleware.MethodNotAllowed(methods)
	router.NoMethod(anonymous, notAllowed)
	for own, supported := range methods {
		router.OPTIONS(own, anonymous, middleware.Options(supported...))
		for _, method := range shadowed(own, methods) {
			router.Handle(method, own, anonymous, notAllowed)
		}
	}
	return middleware.Compress(router, isStream)
}

// shadowed returns the methods that a literal path, such as /v1/admin/keys/revoke,
// doesn't support, but a pattern that matches it, such as /v1/admin/keys/:id, does.
// Unless they are registered for the path, gin calls the pattern's handler.
func shadowed(literal string, methods map[string][]string) []string {
	var found []string
	for pattern, theirs := range methods {
		match, _ := path.Match(pathParameter.ReplaceAllString(pattern, "*"), literal)
		for _, method := range theirs {
			if match && !slices.Contains(methods[literal], method) && !slices.Contains(found, method) {
				found = append(found, method)
			}
		}
	}
	return found
}

// chain returns a route's handlers, outermost first.
func (cfg *RouterConfig) chain(r Route, anonymous, authenticate gin.HandlerFunc) []gin.HandlerFunc {
	switch {
	case r.Health:
		return []gin.HandlerFunc{middleware.Quiet(true), r.Handler}
	case r.Public: // pages and what they load
		return []gin.HandlerFunc{middleware.Quiet(false), anonymous, middleware.IgnoreRange(), r.Handler}
	}
	described := &models.Route{Name: r.Name(), Group: r.Scope, Cost: r.Cost}
	chain := []gin.HandlerFunc{
		authenticate, middleware.AllowAddress(), middleware.Limit(cfg.Limiter, cfg.Fields, described, cfg.Usage),
	}
	if rate := r.BuiltIn(); rate.PerSecond > 0 {
		chain = append(chain, middleware.BuiltInLimit(cfg.BuiltIn, rate))
	}
	chain = append(chain, middleware.Require(r.Scope))
	if r.Cost == 0 || r.Stream { // administration, of which changes are audited; and streams, during which allow-lists change
		chain = append(chain, middleware.RecordAddress())
	}
	if r.Scope == "" || strings.HasPrefix(string(r.Scope), "admin:") {
		chain = append(chain, middleware.Administrative())
	}
	if r.Heavy {
		chain = append(chain, middleware.HeavyLimit(cfg.BuiltIn))
	}
	timeout := cmp.Or(r.Timeout, defaultTimeout)
	if r.Stream {
		return append(chain, middleware.Stream(timeout, isStream), r.Handler)
	}
	return append(chain, middleware.Deadline(timeout), r.Handler)
}
