package e2e

import (
	"log/slog"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"ratelimiter/handlers"
	"ratelimiter/internal/server"
	"ratelimiter/internal/testkit"
	"ratelimiter/middleware"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// proof is the servers that statuses are produced with: one that works, and
// some that fail in one way each.
type proof struct {
	*testApp
	t         *testing.T
	admin     *testkit.Client // holds every scope
	failing   string          // an address with too many failed authentications
	spent     string          // a key whose quota is used up
	nowhere   *testkit.Client // of a server whose database is gone; its key is valid, and not in memory
	tableless *testApp        // whose tables are gone
	operator  *testkit.Client // of tableless, with every scope
	broken    *testkit.Client // of a server whose parts are missing: handlers panic
}

var parameterInBraces = regexp.MustCompile(`\{\w+\}`)

// spentLimit is as much as the dearest operation costs, at least.
const spentLimit = 10

func newProof(t *testing.T) *proof {
	t.Helper()
	app := newApp(t, withTrustedProxies("127.0.0.1/32"))
	p := &proof{testApp: app, t: t, admin: app.admin(), failing: "203.0.113.7"}
	app.admin() // one more: the last admin key would have to stay
	for range 20 {
		app.Get("/v1/me", "X-API-Key", "wrong", "X-Forwarded-For", p.failing).Want(http.StatusUnauthorized)
	}
	app.plan("spent", `[{"name":"spent","algorithm":"fixed_window","limit":10,"period":"1h"}]`)
	p.spent = app.key(models.NewKey{Plan: "spent", Scopes: models.AllScopes(), Admin: true})
	for range spentLimit {
		app.As(p.spent).Get("/v1/products").Want(http.StatusOK)
	}
	away, proxy := appBehindProxy(t)
	p.nowhere = away.As(away.key(models.NewKey{}))
	proxy.Cut()
	p.tableless = newApp(t)
	p.operator = p.tableless.admin()
	p.operator.Get("/v1/me").Want(http.StatusOK) // its key and quota are in memory now
	p.tableless.loseTables()
	p.broken = serveWithoutServices(t)
	return p
}

// loseTables renames every table, as a botched migration would.
func (a *testApp) loseTables() {
	a.exec(`DO $$ DECLARE name text; BEGIN
		FOR name IN SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') LOOP
			EXECUTE format('ALTER TABLE %I RENAME TO %I', name, 'lost_' || name);
		END LOOP;
	END $$`)
}

// serveWithoutServices is a server whose key is known but has no quota, and whose
// handlers have no services: every request panics.
func serveWithoutServices(t *testing.T) *testkit.Client {
	t.Helper()
	newLimiter := func() *ratelimit.Limiter { return ratelimit.New(memory.New()) }
	router := server.NewRouter(server.Handlers{
		Me: handlers.NewMe(nil, nil), Checks: handlers.NewChecks(nil), Keys: handlers.NewKeys(nil, nil, nil, nil),
	}, server.RouterConfig{
		Log:      slog.New(slog.DiscardHandler),
		Quotas:   &testkit.OneKey{Key: models.APIKey{Scopes: models.AllScopes()}},
		Failures: middleware.NewFailureLimiter(newLimiter()),
		Limiter:  newLimiter(), BuiltIn: newLimiter(), Fields: middleware.FieldsDraft11,
	})
	return testkit.Serve(t, router).As("any")
}

// generic produce a status for any operation that describes it.
var generic = map[int]producer{
	http.StatusNotModified: func(p *proof, op operation) *testkit.Response {
		path := p.things(op.route.Path)
		first := p.admin.Do(op.method, path, nil).Want(http.StatusOK)
		return p.admin.Do(op.method, path, nil, "If-None-Match", first.Header.Get("ETag"))
	},
	http.StatusBadRequest: func(p *proof, op operation) *testkit.Response {
		if op.takesBody() {
			return p.admin.Do(op.method, p.things(op.route.Path), `{`)
		}
		return p.admin.Do(op.method, p.things(op.route.Path)+"?a;b", nil)
	},
	http.StatusUnauthorized: func(p *proof, op operation) *testkit.Response {
		return p.Do(op.method, op.elsewhere(), bodyOf(op.body))
	},
	http.StatusForbidden: func(p *proof, op operation) *testkit.Response {
		key := models.NewKey{Plan: "internal", Scopes: allScopesBut(op.route.Scope)}
		if !op.scoped { // any key will do, but not from everywhere
			key.IPAllow = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
		}
		return p.As(p.key(key)).Do(op.method, op.elsewhere(), bodyOf(op.body))
	},
	http.StatusNotFound: func(p *proof, op operation) *testkit.Response {
		return p.admin.Do(op.method, op.elsewhere(), bodyOf(op.body))
	},
	http.StatusNotAcceptable: func(p *proof, op operation) *testkit.Response {
		return p.admin.Do(op.method, p.things(op.route.Path), bodyOf(op.body), "Accept", "image/png")
	},
	http.StatusPreconditionFailed: func(p *proof, op operation) *testkit.Response {
		caller := p.admin
		if !op.scoped {
			caller = p.caller("internal") // what it does, it does to its own key
		}
		return caller.Do(op.method, p.things(op.route.Path), bodyOf(op.body), "If-Match", `"999999"`)
	},
	http.StatusRequestEntityTooLarge: func(p *proof, op operation) *testkit.Response {
		return p.admin.Do(op.method, p.things(op.route.Path), `{"x":"`+strings.Repeat("x", 65<<10)+`"}`)
	},
	http.StatusUnsupportedMediaType: func(p *proof, op operation) *testkit.Response {
		return p.admin.Do(op.method, p.things(op.route.Path), `{}`, "Content-Type", "text/plain")
	},
	http.StatusUnprocessableEntity: func(p *proof, op operation) *testkit.Response {
		if op.takesBody() {
			return p.admin.Do(op.method, p.things(op.route.Path), `{"no_such_field":1}`)
		}
		return p.admin.Do(op.method, p.things(op.route.Path)+"?limit=0&from=yesterday", nil)
	},
	http.StatusTooManyRequests: func(p *proof, op operation) *testkit.Response {
		if op.route.Cost > 0 {
			return p.As(p.spent).Do(op.method, op.elsewhere(), bodyOf(op.body))
		}
		return p.Do(op.method, op.elsewhere(), bodyOf(op.body), "X-API-Key", "wrong", "X-Forwarded-For", p.failing)
	},
	http.StatusInternalServerError: func(p *proof, op operation) *testkit.Response {
		return p.operator.Do(op.method, op.elsewhere(), bodyOf(op.body))
	},
	http.StatusServiceUnavailable: func(p *proof, op operation) *testkit.Response {
		return p.nowhere.Do(op.method, op.elsewhere(), bodyOf(op.body))
	},
}

// succeed does what the operation is for.
func succeed(p *proof, op operation) *testkit.Response {
	if !op.secured {
		return p.Do(op.method, op.path, nil)
	}
	caller := p.admin
	if !op.scoped {
		caller = p.caller("internal") // what it does, it does to its own key
	}
	return caller.Do(op.method, p.things(op.route.Path), bodyOf(op.body))
}
