package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"ratelimiter/handlers"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

const onePerMinute = `[{"name":"a","algorithm":"fixed_window","limit":1,"period":"1m"}]`

func TestLimiterMode_shadow_and_enforce(t *testing.T) {
	countsAlone(t)
	apps := twoApps(t)
	apps[0].plan("tight", onePerMinute)
	key := apps[0].key(models.NewKey{Plan: "tight"})
	checker := apps[0].key(models.NewKey{Plan: "internal", Scopes: []models.Scope{models.ScopeLimitsCheck}})
	admin := apps[0].admin()
	for _, app := range apps {
		app.As(key).Get("/v1/products").Want(http.StatusOK)
		app.As(key).Get("/v1/products").Want(http.StatusTooManyRequests)
		app.As(checker).Post("/v1/limits/check", `{"subject":"s","plan":"tight"}`).Want(http.StatusOK)
	}
	set := func(mode string) func(string) {
		return func(string) {
			var shown handlers.LimiterMode
			admin.Do(http.MethodPut, "/v1/admin/limiter", `{"mode":"`+mode+`"}`).Want(http.StatusOK).JSON(&shown)
			if shown.Mode != mode || shown.ChangedAt == nil || time.Since(*shown.ChangedAt) > time.Minute {
				t.Errorf("got mode %+v; want %s, changed now", shown, mode)
			}
		}
	}
	gets := func(status int) func(*testApp, string) bool {
		return func(app *testApp, key string) bool { return app.As(key).Get("/v1/products").Status == status }
	}
	changeAll([]string{key}, apps[:], set("shadow"), gets(http.StatusOK)).within(t, "shadow mode", 1, boundNotified)
	for _, app := range apps {
		response := app.As(key).Get("/v1/products").Want(http.StatusOK)
		if policy := response.Header.Get("RateLimit-Policy") + response.Header.Get("RateLimit"); policy != "" {
			t.Errorf("shadow mode: got headers %s; want none", policy)
		}
		var limits handlers.KeyLimits
		app.As(key).Get("/v1/me/limits").Want(http.StatusOK).JSON(&limits)
		if len(limits.Data) != 1 || limits.Data[0].Mode != "shadow" || limits.Data[0].Remaining != 0 {
			t.Errorf("shadow mode: got limits %+v", limits.Data)
		}
		if got := decide(app.As(checker), "check", "s", "tight", 1); !got.Allowed || len(got.Limits) != 0 {
			t.Errorf("shadow mode: got check %+v", got)
		}
	}
	changeAll([]string{key}, apps[:], set("enforce"), gets(http.StatusTooManyRequests)).within(t, "enforce mode", 1, boundNotified)

	entries := apps[0].audited("?action=limiter.set")
	if len(entries) != 2 || !strings.Contains(string(entries[1].Before), "enforce") || !strings.Contains(string(entries[1].After), "shadow") {
		t.Errorf("got audit entries %+v", entries)
	}
}

func TestLimiterMode_loaded_at_start(t *testing.T) {
	address := testkit.DatabaseURL(t)
	first := newApp(t, onDatabase(address))
	first.plan("tight", onePerMinute)
	first.admin().Do(http.MethodPut, "/v1/admin/limiter", `{"mode":"shadow"}`).Want(http.StatusOK)
	second := newApp(t, onDatabase(address), watching())
	caller := second.As(first.key(models.NewKey{Plan: "tight"}))
	for range 3 {
		caller.Get("/v1/products").Want(http.StatusOK)
	}
}

func TestLimiterMode_unchanged(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	var shown handlers.LimiterMode
	admin.Get("/v1/admin/limiter").Want(http.StatusOK).JSON(&shown)
	if shown.Mode != "enforce" || shown.ChangedAt != nil {
		t.Errorf("got initial mode %+v; want enforce, never changed", shown)
	}
	admin.Do(http.MethodPut, "/v1/admin/limiter", `{"mode":"enforce"}`).Want(http.StatusOK)
	if n := app.count(`SELECT count(*) FROM audit_log WHERE target = 'mode'`); n != 0 {
		t.Errorf("got %d audit entries; want none", n)
	}
	for _, body := range []string{`{}`, `{"mode":"off"}`, `{"mode":null}`} {
		admin.Do(http.MethodPut, "/v1/admin/limiter", body).Want(http.StatusUnprocessableEntity)
	}
}

func TestKeysCommand_revocation_propagates(t *testing.T) {
	address := testkit.DatabaseURL(t)
	app := newApp(t, onDatabase(address), watching())
	app.admin()
	keys := warmKeys(1, "internal", app)
	line := commandLine{t: t, database: address}
	changeAll(keys, []*testApp{app}, func(key string) { line.run(0, "keys", "revoke", idOf(key)) }, isRevoked).
		within(t, "revocation by command", 1, boundNotified)
}
