package server

import (
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/docs"
	"ratelimiter/handlers"
	"ratelimiter/middleware"
	"ratelimiter/models"
)

// Route is one line of the route table.
type Route struct {
	Method  string
	Path    string // as gin spells it
	Handler gin.HandlerFunc
	Scope   models.Scope  // a key needs it; empty: any key. It is also the route's policy group
	Cost    int64         // units per call
	Timeout time.Duration // of the handler; 0: defaultTimeout
	Stream  bool          // the client can ask for a response without an end of its own, see isStream: no timeout, no write deadline
	Ticket  bool          // a ticket in the query is taken in place of a key
	Public  bool          // needs no key and costs nothing
	Health  bool          // of a Public route: without a bound per address
	Heavy   bool          // reads much; a key can have few such requests at once
}

// eventTimeout bounds a wait for events and the reads before and after it.
const eventTimeout = handlers.MaxEventWait + 10*time.Second

// pathParameter is a parameter of a path, as gin spells it.
var pathParameter = regexp.MustCompile(`[:*](\w+)`)

// Name returns the route's name in usage and refusals: "GET /v1/products/{id}".
func (r *Route) Name() string {
	return r.Method + " " + pathParameter.ReplaceAllString(r.Path, "{$1}")
}

// builtInRates are those of the routes below a path, for each key. What
// /v1/limits may take is bounded by its owner's share of memory instead.
var builtInRates = map[string]middleware.BuiltInRate{
	"/v1/me/":      {Name: "built-in", PerSecond: 50},
	"/v1/admin/":   {Name: "built-in-admin", PerSecond: 1000},
	"/v1/tickets/": {Name: "built-in-tickets", PerSecond: 20},
}

// BuiltIn returns the route's built-in rate; 0 requests a second: it has none.
func (r *Route) BuiltIn() middleware.BuiltInRate {
	for path, rate := range builtInRates {
		if strings.HasPrefix(r.Path+"/", path) {
			return rate
		}
	}
	return middleware.BuiltInRate{}
}

// Handlers serve the routes.
type Handlers struct {
	Products    *handlers.Products
	Orders      *handlers.Orders
	Invoices    *handlers.Invoices
	Tickets     *handlers.Tickets
	Events      *handlers.Events
	Streams     *handlers.EventStreams
	Checks      *handlers.Checks
	Me          *handlers.Me
	Usage       *handlers.Usage
	Keys        *handlers.Keys
	Plans       *handlers.Plans
	Limiter     *handlers.Limiter
	Audit       *handlers.Audit
	DeadLetters *handlers.DeadLetters
	Queues      *handlers.Queues
	Health      *handlers.Health
}

// Routes returns the route table. With zero Handlers it only describes the
// routes.
func Routes(h Handlers) []Route {
	const get, post, put, patch, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete
	return append([]Route{
		{Method: get, Path: "/v1/products", Handler: h.Products.List, Scope: models.ScopeProductsRead, Cost: 1},
		{Method: get, Path: "/v1/products/:id", Handler: h.Products.Get, Scope: models.ScopeProductsRead, Cost: 1},
		{Method: post, Path: "/v1/products", Handler: h.Products.Create, Scope: models.ScopeProductsWrite, Cost: 1},
		{Method: patch, Path: "/v1/products/:id", Handler: h.Products.Patch, Scope: models.ScopeProductsWrite, Cost: 1},
		{Method: del, Path: "/v1/products/:id", Handler: h.Products.Delete, Scope: models.ScopeProductsWrite, Cost: 1},

		{Method: post, Path: "/v1/orders", Handler: h.Orders.Create, Scope: models.ScopeOrdersWrite, Cost: 5},
		{Method: get, Path: "/v1/orders", Handler: h.Orders.List, Scope: models.ScopeOrdersRead, Cost: 1},
		{Method: get, Path: "/v1/orders/:id", Handler: h.Orders.Get, Scope: models.ScopeOrdersRead, Cost: 1},
		{Method: post, Path: "/v1/orders/:id/cancel", Handler: h.Orders.Cancel, Scope: models.ScopeOrdersWrite, Cost: 1},
		{Method: get, Path: "/v1/orders/:id/invoice", Handler: h.Invoices.Get, Scope: models.ScopeOrdersRead, Cost: 10},
		{Method: get, Path: "/v1/orders/:id/events", Handler: h.Events.OfOrder, Scope: models.ScopeOrdersRead, Cost: 1, Timeout: eventTimeout, Stream: true},
		{Method: get, Path: "/v1/events", Handler: h.Events.OfOwner, Scope: models.ScopeOrdersRead, Cost: 1, Timeout: eventTimeout, Stream: true},
		{Method: get, Path: "/v1/orders/:id/events/ws", Handler: h.Streams.OfOrder, Scope: models.ScopeOrdersRead, Cost: 1, Stream: true, Ticket: true},
		{Method: get, Path: "/v1/events/ws", Handler: h.Streams.OfOwner, Scope: models.ScopeOrdersRead, Cost: 1, Stream: true, Ticket: true},
		{Method: post, Path: "/v1/tickets", Handler: h.Tickets.Create, Scope: models.ScopeOrdersRead},

		{Method: post, Path: "/v1/limits/check", Handler: h.Checks.Check, Scope: models.ScopeLimitsCheck},
		{Method: post, Path: "/v1/limits/reserve", Handler: h.Checks.Reserve, Scope: models.ScopeLimitsCheck},
		{Method: post, Path: "/v1/limits/commit", Handler: h.Checks.Commit, Scope: models.ScopeLimitsCheck},
		{Method: post, Path: "/v1/limits/release", Handler: h.Checks.Release, Scope: models.ScopeLimitsCheck},

		{Method: get, Path: "/v1/me", Handler: h.Me.Get},
		{Method: get, Path: "/v1/me/limits", Handler: h.Me.Limits},
		{Method: post, Path: "/v1/me/rotate", Handler: h.Me.Rotate},
		{Method: get, Path: "/v1/me/usage", Handler: h.Usage.Mine, Heavy: true},
		{Method: get, Path: "/v1/me/refusals", Handler: h.Usage.MyRefusals, Heavy: true},

		{Method: get, Path: "/v1/admin/keys", Handler: h.Keys.List, Scope: models.ScopeAdminKeys, Heavy: true},
		{Method: post, Path: "/v1/admin/keys", Handler: h.Keys.Create, Scope: models.ScopeAdminKeys},
		{Method: get, Path: "/v1/admin/keys/:id", Handler: h.Keys.Get, Scope: models.ScopeAdminKeys},
		{Method: patch, Path: "/v1/admin/keys/:id", Handler: h.Keys.Patch, Scope: models.ScopeAdminKeys},
		{Method: post, Path: "/v1/admin/keys/:id/rotate", Handler: h.Keys.Rotate, Scope: models.ScopeAdminKeys},
		{Method: post, Path: "/v1/admin/keys/:id/revoke", Handler: h.Keys.Revoke, Scope: models.ScopeAdminKeys},
		{Method: post, Path: "/v1/admin/keys/revoke", Handler: h.Keys.RevokeAll, Scope: models.ScopeAdminKeys},
		{Method: post, Path: "/v1/admin/keys/:id/suspend", Handler: h.Keys.Suspend, Scope: models.ScopeAdminKeys},
		{Method: post, Path: "/v1/admin/keys/:id/resume", Handler: h.Keys.Resume, Scope: models.ScopeAdminKeys},
		{Method: post, Path: "/v1/admin/keys/:id/reset", Handler: h.Keys.Reset, Scope: models.ScopeAdminKeys},
		{Method: get, Path: "/v1/admin/keys/:id/limits", Handler: h.Keys.Limits, Scope: models.ScopeAdminKeys},
		{Method: get, Path: "/v1/admin/keys/:id/usage", Handler: h.Usage.OfKey, Scope: models.ScopeAdminKeys, Heavy: true},
		{Method: get, Path: "/v1/admin/keys/:id/refusals", Handler: h.Usage.RefusalsOfKey, Scope: models.ScopeAdminKeys, Heavy: true},
		{Method: post, Path: "/v1/admin/keys/:id/simulate", Handler: h.Usage.Simulate, Scope: models.ScopeAdminKeys, Heavy: true},

		{Method: get, Path: "/v1/admin/plans", Handler: h.Plans.List, Scope: models.ScopeAdminPlans},
		{Method: get, Path: "/v1/admin/plans/:name", Handler: h.Plans.Get, Scope: models.ScopeAdminPlans},
		{Method: put, Path: "/v1/admin/plans/:name", Handler: h.Plans.Put, Scope: models.ScopeAdminPlans},
		{Method: del, Path: "/v1/admin/plans/:name", Handler: h.Plans.Delete, Scope: models.ScopeAdminPlans},

		{Method: get, Path: "/v1/admin/limiter", Handler: h.Limiter.Get, Scope: models.ScopeAdminPlans},
		{Method: put, Path: "/v1/admin/limiter", Handler: h.Limiter.Put, Scope: models.ScopeAdminPlans},

		{Method: get, Path: "/v1/admin/queues", Handler: h.Queues.List, Scope: models.ScopeAdminQueues, Heavy: true},
		{Method: post, Path: "/v1/admin/queues/:group/pause", Handler: h.Queues.Pause, Scope: models.ScopeAdminQueues},
		{Method: post, Path: "/v1/admin/queues/:group/resume", Handler: h.Queues.Resume, Scope: models.ScopeAdminQueues},
		{Method: get, Path: "/v1/admin/dead-letters", Handler: h.DeadLetters.List, Scope: models.ScopeAdminQueues, Heavy: true},
		{Method: post, Path: "/v1/admin/dead-letters/redrive", Handler: h.DeadLetters.RedriveAll, Scope: models.ScopeAdminQueues, Heavy: true},
		{Method: post, Path: "/v1/admin/dead-letters/:id/redrive", Handler: h.DeadLetters.Redrive, Scope: models.ScopeAdminQueues},
		{Method: del, Path: "/v1/admin/dead-letters/:id", Handler: h.DeadLetters.Discard, Scope: models.ScopeAdminQueues},

		{Method: get, Path: "/v1/admin/audit", Handler: h.Audit.List, Scope: models.ScopeAdminAudit, Heavy: true},
	}, publicRoutes(h)...)
}

// publicRoutes returns the routes that need no key.
func publicRoutes(h Handlers) []Route {
	const get = http.MethodGet
	return []Route{
		{Method: get, Path: "/livez", Handler: h.Health.Live, Public: true, Health: true},
		{Method: get, Path: "/readyz", Handler: h.Health.Ready, Public: true, Health: true},
		{Method: get, Path: "/", Handler: docs.Home, Public: true},
		{Method: get, Path: "/favicon.ico", Handler: docs.Favicon, Public: true},
		{Method: get, Path: "/guide", Handler: docs.Home, Public: true},
		{Method: get, Path: "/guide/*any", Handler: docs.Guide, Public: true},
		{Method: get, Path: "/docs", Handler: docs.Page, Public: true},
		{Method: get, Path: "/swagger/*any", Handler: docs.SwaggerUI, Public: true},
		{Method: get, Path: "/redoc", Handler: docs.Reference, Public: true},
		{Method: get, Path: "/redoc/*any", Handler: docs.ReDoc, Public: true},
		{Method: get, Path: "/demo/orders", Handler: docs.DemoOrders, Public: true},
		{Method: get, Path: "/demo/orders/*any", Handler: docs.Demo, Public: true},
		{Method: get, Path: "/openapi.json", Handler: docs.Spec, Public: true},
	}
}
