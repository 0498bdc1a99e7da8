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

func TestTheSwitchTurnsEveryPolicyToShadowOnBothInstancesAndBack(t *testing.T) {
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
				t.Errorf("the answer is %+v", shown)
			}
		}
	}
	answers := func(status int) func(*testApp, string) bool {
		return func(app *testApp, key string) bool { return app.As(key).Get("/v1/products").Status == status }
	}
	changeAll([]string{key}, apps[:], set("shadow"), answers(http.StatusOK)).within(t, "calm", 1, boundHeard)
	for _, app := range apps {
		answer := app.As(key).Get("/v1/products").Want(http.StatusOK)
		if policy := answer.Header.Get("RateLimit-Policy") + answer.Header.Get("RateLimit"); policy != "" {
			t.Errorf("in calm the headers tell of %s", policy)
		}
		var limits handlers.KeyLimits
		app.As(key).Get("/v1/me/limits").Want(http.StatusOK).JSON(&limits)
		if len(limits.Data) != 1 || limits.Data[0].Mode != "shadow" || limits.Data[0].Remaining != 0 {
			t.Errorf("in calm the limits are %+v", limits.Data)
		}
		var decision struct {
			Allowed          bool             `json:"allowed"`
			Limits           []handlers.Limit `json:"limits"`
			ViolatedPolicies []string         `json:"violated_policies"`
			RetryAfter       *float64         `json:"retry_after"`
			Wait             float64          `json:"wait"`
		}
		app.As(checker).Post("/v1/limits/check", `{"subject":"s","plan":"tight"}`).Want(http.StatusOK).JSON(&decision)
		if !decision.Allowed || len(decision.Limits) != 0 {
			t.Errorf("in calm a check gets %+v", decision)
		}
	}
	changeAll([]string{key}, apps[:], set("enforce"), answers(http.StatusTooManyRequests)).within(t, "the end of calm", 1, boundHeard)

	var audit struct {
		Data       []models.AuditEntry `json:"data"`
		NextCursor *string             `json:"next_cursor"`
	}
	admin.Get("/v1/admin/audit?action=limiter.set").Want(http.StatusOK).JSON(&audit)
	if len(audit.Data) != 2 || !strings.Contains(string(audit.Data[1].Before), "enforce") || !strings.Contains(string(audit.Data[1].After), "shadow") {
		t.Errorf("the audit has %+v", audit.Data)
	}
}

func TestAnInstanceThatStartsInCalmIsCalm(t *testing.T) {
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

func TestTheModeThatIsSetAlreadyIsNoChange(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	var shown handlers.LimiterMode
	admin.Get("/v1/admin/limiter").Want(http.StatusOK).JSON(&shown)
	if shown.Mode != "enforce" || shown.ChangedAt != nil {
		t.Errorf("at first the mode is %+v", shown)
	}
	admin.Do(http.MethodPut, "/v1/admin/limiter", `{"mode":"enforce"}`).Want(http.StatusOK)
	var audited int
	if err := app.db.QueryRow(t.Context(), `SELECT count(*) FROM audit_log WHERE target = 'mode'`).Scan(&audited); err != nil || audited != 0 {
		t.Errorf("%d rows in the audit, %v", audited, err)
	}
	for _, body := range []string{`{}`, `{"mode":"off"}`, `{"mode":null}`} {
		admin.Do(http.MethodPut, "/v1/admin/limiter", body).Want(http.StatusUnprocessableEntity)
	}
}

func TestWhatTheCommandLineRevokesIsRevokedAtOnce(t *testing.T) {
	address := testkit.DatabaseURL(t)
	app := newApp(t, onDatabase(address), watching())
	app.admin()
	keys := warmKeys(1, "internal", app)
	line := commandLine{t, address}
	changeAll(keys, []*testApp{app}, func(key string) { line.run(0, "keys", "revoke", idOf(key)) }, isRevoked).
		within(t, "a revocation on the command line", 1, boundHeard)
}
