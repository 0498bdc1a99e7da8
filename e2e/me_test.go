package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"ratelimiter/handlers"
	"ratelimiter/middleware"
	"ratelimiter/models"
)

func TestMe(t *testing.T) {
	app := newApp(t)
	key := createKey(t, app.admin(), `{"name":"mine","metadata":{"crm":"hush"},
		"overrides":[{"policy":{"name":"burst","algorithm":"token_bucket","limit":7,"period":"1s"},"reason":"hush"}]}`)
	caller := app.As(key.Secret)
	response := caller.Get("/v1/me").Want(http.StatusOK)
	var me handlers.OwnKeyWithQuota
	response.JSON(&me)
	if me.ID != key.ID || me.Name != "mine" || me.Plan != "free" || me.Owner != key.Owner || len(me.Quota) != 3 ||
		me.Quota[0].Limit != 7 || me.Quota[0].Origin != models.OriginOverride || me.Quota[1].Origin != models.OriginPlan {
		t.Errorf("got key %+v", me)
	}
	if strings.Contains(string(response.Body), "hush") {
		t.Errorf("the response contains data of operators: %s", response.Body)
	}
	rotated := caller.Post("/v1/me/rotate", `{"grace":"1h"}`).Want(http.StatusCreated)
	var successor handlers.OwnKeyWithSecret
	rotated.JSON(&successor)
	if successor.Subject != key.Subject || strings.Contains(string(rotated.Body), "hush") || rotated.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("rotate: got %s", rotated.Body)
	}
	app.As(successor.Secret).Get("/v1/me").Want(http.StatusOK).JSON(&me)
	if me.ID != successor.ID || me.Quota[0].Limit != 7 {
		t.Errorf("got successor %+v", me)
	}
	if entries := app.audited("?action=key.rotate"); len(entries) != 1 || entries[0].Actor != key.ID || entries[0].Target != key.ID {
		t.Errorf("got audit entries %+v", entries)
	}
}

func TestMe_has_a_separate_limit(t *testing.T) {
	app := newApp(t)
	app.plan("one", `[{"name":"one","algorithm":"fixed_window","limit":1,"period":"1h"}]`)
	caller, other := app.caller("one"), app.caller("one")
	for range 25 {
		if got := caller.Get("/v1/me").Want(http.StatusOK).Header.Get("RateLimit"); got != `"one";r=1;t=3600` {
			t.Fatalf("got RateLimit %s; want r=1", got)
		}
		caller.Get("/v1/me/limits").Want(http.StatusOK)
	}
	refused := caller.Get("/v1/me/limits").Want(http.StatusTooManyRequests)
	var problem middleware.QuotaProblem
	refused.JSON(&problem)
	if strings.Join(problem.ViolatedPolicies, ",") != "built-in" || refused.Header.Get("Retry-After") != "1" || refused.Header.Get("RateLimit") != `"one";r=1;t=3600` {
		t.Errorf("got problem %+v, header %v", problem, refused.Header)
	}
	other.Get("/v1/me").Want(http.StatusOK)
	app.clock.Advance(20 * time.Millisecond)
	caller.Get("/v1/me").Want(http.StatusOK)
	caller.Get("/v1/me").Want(http.StatusTooManyRequests)
	caller.Get("/v1/products").Want(http.StatusOK)
	caller.Get("/v1/products").Want(http.StatusTooManyRequests)
	admin := app.admin()
	for range 60 { // administration has a rate of its own
		admin.Get("/v1/admin/plans/free").Want(http.StatusOK)
	}
}
