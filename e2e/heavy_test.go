package e2e

import (
	"net/http"
	"slices"
	"testing"

	"ratelimiter/middleware"
	"ratelimiter/models"
)

// TestHeavy blocks searches of keys by a lock: a key can have three at once, and
// requests of callers have connections of their own.
func TestHeavy(t *testing.T) {
	app := newApp(t)
	key := app.key(models.NewKey{Admin: true})
	others := []string{app.key(models.NewKey{Admin: true}), app.key(models.NewKey{Admin: true}), app.key(models.NewKey{Admin: true})}
	admin, caller := app.As(key), app.caller("internal")
	admin.Get("/v1/admin/keys?q=x").Want(http.StatusOK)
	caller.Get("/v1/products").Want(http.StatusOK)
	for _, other := range others {
		app.As(other).Get("/v1/admin/limiter").Want(http.StatusOK) // caches the key
	}

	_, unlock := app.lock("api_keys")
	defer unlock()
	var hangUps []func()
	for range 3 {
		hangUps = append(hangUps, app.startRequest(key, http.MethodGet, "/v1/admin/keys?q=x", ""))
	}
	app.await("three searches are blocked", func() bool {
		return app.count(`SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'api_keys'::regclass AND mode = 'AccessShareLock'`) == 3
	})
	for _, path := range []string{"/v1/admin/keys", "/v1/admin/audit", "/v1/me/usage", "/v1/me/refusals"} {
		var problem middleware.QuotaProblem
		refused := admin.Get(path).Want(http.StatusTooManyRequests)
		refused.JSON(&problem)
		if !slices.Equal(problem.ViolatedPolicies, []string{"heavy"}) || refused.Header.Get("Retry-After") != "1" {
			t.Errorf("%s: got problem %+v, Retry-After %q", path, problem, refused.Header.Get("Retry-After"))
		}
	}
	// More searches of other keys wait for the share of administrative requests:
	// they would take all eight connections.
	for _, other := range others {
		for range 3 {
			app.startRequest(other, http.MethodGet, "/v1/admin/keys?q=x", "")
		}
	}
	for range 50 {
		caller.Get("/v1/products").Want(http.StatusOK)
	}
	for _, hangUp := range hangUps {
		hangUp()
	}
	unlock()
	app.await("the places are free", func() bool { return admin.Get("/v1/admin/keys?q=x").Status == http.StatusOK })
}
