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

// statusFixture has the servers that produce the described statuses: a working one
// and some that fail in one way each.
type statusFixture struct {
	*testApp
	t         *testing.T
	admin     *testkit.Client // has every scope
	blocked   string          // address with too many failed authentications
	spent     string          // key without remaining units
	offline   *testkit.Client // database down; its key is valid, but not cached
	noColumns *testkit.Client // columns missing; has every scope
	broken    *testkit.Client // services missing: handlers panic
}

var parameterInBraces = regexp.MustCompile(`\{\w+\}`)

// spentLimit is at least the highest cost of an operation.
const spentLimit = 10

func newStatusFixture(t *testing.T) *statusFixture {
	t.Helper()
	app := newApp(t, withTrustedProxies("127.0.0.1/32"))
	f := &statusFixture{testApp: app, t: t, admin: app.admin(), blocked: "203.0.113.7"}
	app.admin() // the last admin key can't be changed
	for range 20 {
		app.Get("/v1/me", "X-API-Key", "wrong", "X-Forwarded-For", f.blocked).Want(http.StatusUnauthorized)
	}
	app.plan("spent", `[{"name":"spent","algorithm":"fixed_window","limit":10,"period":"1h"}]`)
	f.spent = app.key(models.NewKey{Plan: "spent", Scopes: models.AllScopes(), Admin: true})
	for range spentLimit {
		app.As(f.spent).Get("/v1/products").Want(http.StatusOK)
	}
	offline, proxy := appBehindProxy(t)
	f.offline = offline.As(offline.key(models.NewKey{}))
	proxy.Cut()
	noColumns := newApp(t)
	f.noColumns = noColumns.admin()
	f.noColumns.Get("/v1/me").Want(http.StatusOK) // caches its key and quota
	noColumns.renameColumns()
	f.broken = serveWithoutServices(t)
	return f
}

// renameColumns renames every column, so that all queries fail.
func (a *testApp) renameColumns() {
	a.exec(`DO $$ DECLARE c record; BEGIN
		FOR c IN SELECT relname, attname FROM pg_attribute JOIN pg_class t ON t.oid = attrelid
			WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND attnum > 0 AND attinhcount = 0 LOOP
			EXECUTE format('ALTER TABLE %I RENAME %I TO %I', c.relname, c.attname, 'lost_' || c.attname);
		END LOOP;
	END $$`)
}

// serveWithoutServices starts a server that resolves any key, but whose handlers
// panic because their services are nil.
func serveWithoutServices(t *testing.T) *testkit.Client {
	t.Helper()
	newLimiter := func() *ratelimit.Limiter { return ratelimit.New(memory.New()) }
	router := server.NewRouter(server.Handlers{
		Me: handlers.NewMe(nil, nil), Checks: handlers.NewChecks(nil), Keys: handlers.NewKeys(nil, nil, nil, nil),
	}, server.RouterConfig{
		Log:      slog.New(slog.DiscardHandler),
		Quotas:   &testkit.OneKey{Key: models.APIKey{Scopes: models.AllScopes()}},
		Failures: middleware.NewFailureLimiter(newLimiter()),
		Limiter:  newLimiter(), BuiltIn: newLimiter(), Anonymous: newLimiter(), Fields: middleware.FieldsDraft11,
	})
	return testkit.Serve(t, router).As("any")
}

// generic has the producers of a status for any operation.
var generic = map[int]producer{
	http.StatusNotModified: func(f *statusFixture, op operation) *testkit.Response {
		path := f.resourcePath(op.route.Path)
		first := f.admin.Do(op.method, path, nil).Want(http.StatusOK)
		return f.admin.Do(op.method, path, nil, "If-None-Match", first.Header.Get("ETag"))
	},
	http.StatusBadRequest: func(f *statusFixture, op operation) *testkit.Response {
		if op.takesBody() {
			return f.admin.Do(op.method, f.resourcePath(op.route.Path), `{`)
		}
		return f.admin.Do(op.method, f.resourcePath(op.route.Path)+"?a;b", nil)
	},
	http.StatusUnauthorized: func(f *statusFixture, op operation) *testkit.Response {
		return f.Do(op.method, op.unknownPath(), bodyOf(op.body))
	},
	http.StatusForbidden: func(f *statusFixture, op operation) *testkit.Response {
		key := models.NewKey{Plan: "internal", Scopes: allScopesBut(op.route.Scope)}
		if !op.scoped { // only the address can be forbidden
			key.IPAllow = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
		}
		return f.As(f.key(key)).Do(op.method, op.unknownPath(), bodyOf(op.body))
	},
	http.StatusNotFound: func(f *statusFixture, op operation) *testkit.Response {
		return f.admin.Do(op.method, op.unknownPath(), bodyOf(op.body))
	},
	http.StatusNotAcceptable: func(f *statusFixture, op operation) *testkit.Response {
		return f.admin.Do(op.method, f.resourcePath(op.route.Path), bodyOf(op.body), "Accept", "image/png")
	},
	http.StatusPreconditionFailed: func(f *statusFixture, op operation) *testkit.Response {
		caller := f.admin
		if !op.scoped {
			caller = f.caller("internal") // the operation changes the key of the caller
		}
		return caller.Do(op.method, f.resourcePath(op.route.Path), bodyOf(op.body), "If-Match", `"999999"`)
	},
	http.StatusRequestEntityTooLarge: func(f *statusFixture, op operation) *testkit.Response {
		return f.admin.Do(op.method, f.resourcePath(op.route.Path), `{"x":"`+strings.Repeat("x", 65<<10)+`"}`)
	},
	http.StatusUnsupportedMediaType: func(f *statusFixture, op operation) *testkit.Response {
		return f.admin.Do(op.method, f.resourcePath(op.route.Path), `{}`, "Content-Type", "text/plain")
	},
	http.StatusUnprocessableEntity: func(f *statusFixture, op operation) *testkit.Response {
		if op.takesBody() {
			return f.admin.Do(op.method, f.resourcePath(op.route.Path), `{"no_such_field":1}`)
		}
		return f.admin.Do(op.method, f.resourcePath(op.route.Path)+"?limit=0&from=yesterday", nil)
	},
	http.StatusTooManyRequests: func(f *statusFixture, op operation) *testkit.Response {
		if op.route.Cost > 0 {
			return f.As(f.spent).Do(op.method, op.unknownPath(), bodyOf(op.body))
		}
		return f.Do(op.method, op.unknownPath(), bodyOf(op.body), "X-API-Key", "wrong", "X-Forwarded-For", f.blocked)
	},
	http.StatusInternalServerError: func(f *statusFixture, op operation) *testkit.Response {
		return f.noColumns.Do(op.method, op.unknownPath(), bodyOf(op.body))
	},
	http.StatusServiceUnavailable: func(f *statusFixture, op operation) *testkit.Response {
		return f.offline.Do(op.method, op.unknownPath(), bodyOf(op.body))
	},
}

// succeed sends a valid request.
func succeed(f *statusFixture, op operation) *testkit.Response {
	if !op.secured {
		return f.Do(op.method, op.path, nil)
	}
	caller := f.admin
	if !op.scoped {
		caller = f.caller("internal") // the operation changes the key of the caller
	}
	return caller.Do(op.method, f.resourcePath(op.route.Path), bodyOf(op.body))
}
