package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ratelimiter/handlers"
	"ratelimiter/internal/apikeys"
	"ratelimiter/internal/testkit"
	"ratelimiter/middleware"
	"ratelimiter/models"
)

const patch = http.MethodPatch

// made creates a key by API and returns it.
func made(t *testing.T, admin *testkit.Client, body string) handlers.KeyWithSecret {
	t.Helper()
	var key handlers.KeyWithSecret
	admin.Post("/v1/admin/keys", body).Want(http.StatusCreated).JSON(&key)
	return key
}

// detail returns the detail of a problem of this status.
func detail(answer *testkit.Response, status int) string {
	var problem middleware.Problem
	answer.Want(status).JSON(&problem)
	return problem.Detail
}

func TestAKeyThatIsCreatedWithANameAloneHasTheDefaults(t *testing.T) {
	app := newApp(t)
	answer := app.admin().Post("/v1/admin/keys", `{"name":"shop"}`).Want(http.StatusCreated)
	var key handlers.KeyWithSecret
	answer.JSON(&key)
	if key.Name != "shop" || key.Plan != "free" || fmt.Sprint(key.Scopes) != "[products:read orders:read orders:write]" ||
		!strings.HasPrefix(key.Owner, "own_") || key.Subject != key.ID || key.Status != "active" || key.Version != 1 ||
		!strings.HasPrefix(key.Secret, "rl_live_"+key.ID+"_") {
		t.Errorf("key %+v", key)
	}
	for _, part := range []string{`"ip_allow":[]`, `"metadata":{}`, `"overrides":[]`, `"expires_at":null`, `"last_used_at":null`} {
		if !strings.Contains(string(answer.Body), part) {
			t.Errorf("%s doesn't have %s", answer.Body, part)
		}
	}
	if answer.Header.Get("Location") != "/v1/admin/keys/"+key.ID || answer.Header.Get("ETag") != `"1"` || answer.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("header %v", answer.Header)
	}
	app.As(key.Secret).Get("/v1/products").Want(http.StatusOK)
}

const everyField = `{"name":"all","plan":"pro","scopes":["admin:keys","products:read"],"owner":"own_x","expires_at":"2999-01-02T03:04:05+01:00",
	"ip_allow":["127.0.0.1","2001:db8::/32"],"metadata":{"team":"a"},
	"overrides":[{"policy":{"name":"burst","algorithm":"token_bucket","limit":7,"period":"1s"},"expires_at":"2999-01-01T00:00:00Z","reason":"launch"},
	             {"policy":{"name":"own","algorithm":"fixed_window","limit":5,"period":"1m"}}]}`

func TestEveryFieldOfAKeyCanBeSetAndIsShown(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	key := made(t, admin, everyField)
	if !strings.HasPrefix(key.Secret, "rl_admin_") {
		t.Errorf("a key with an admin scope reads %.9s…", key.Secret)
	}
	answer := admin.Get("/v1/admin/keys/" + key.ID).Want(http.StatusOK)
	var got handlers.KeyWithQuota
	answer.JSON(&got)
	if got.Plan != "pro" || got.Owner != "own_x" || !got.ExpiresAt.Equal(time.Date(2999, 1, 2, 2, 4, 5, 0, time.UTC)) ||
		fmt.Sprint(got.IPAllow) != "[127.0.0.1/32 2001:db8::/32]" || got.Metadata["team"] != "a" || got.Overrides[0].Reason != "launch" {
		t.Errorf("got %+v", got)
	}
	var quota []string
	for _, p := range got.Quota {
		quota = append(quota, fmt.Sprint(p.Name, " ", p.Limit, " ", p.Origin))
	}
	if want := "burst 7 override, minute 3000 plan, monthly 100000 plan, own 5 override"; strings.Join(quota, ", ") != want {
		t.Errorf("quota %v; want %s", quota, want)
	}
	if strings.Contains(string(answer.Body), key.Secret) || strings.Contains(string(answer.Body), "mac") {
		t.Errorf("the answer holds a secret: %s", answer.Body)
	}
	if got := app.As(key.Secret).Get("/v1/products").Want(http.StatusOK).Header.Get("RateLimit-Policy"); !strings.HasPrefix(got, `"burst";q=7;w=1, `) {
		t.Errorf("RateLimit-Policy %s", got)
	}
}

func TestEveryFaultOfAKeyIsTold(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	override := `{"policy":{"name":"a","algorithm":"fixed_window","limit":5,"period":"1m"}}`
	for body, want := range map[string]string{
		`{}`: "/name:required",
		`{"name":null,"plan":null,"scopes":null,"owner":null,"expires_at":null,"ip_allow":null,"metadata":null,"overrides":null}`: "/name:null /plan:null /scopes:null /owner:null /ip_allow:null /metadata:null /overrides:null",
		`{"name":" ","plan":"","scopes":[],"owner":""}`:                                    "/name:pattern /plan:pattern /scopes:min_items /owner:min_length",
		`{"name":"x","plan":"none"}`:                                                       "/plan:unknown",
		`{"name":"x","scopes":["admin","no","admin"],"expires_at":"2020-01-01T00:00:00Z"}`: "/scopes/1:enum /scopes/2:duplicate /expires_at:past",
		`{"name":"x","expires_at":"tomorrow","ip_allow":["10.0.0.1/8","x","::ffff:1.2.3.4",7],"metadata":{"a":1,"b":"ok","c":null}}`:                                     "/expires_at:time /ip_allow/0:cidr /ip_allow/1:cidr /ip_allow/2:cidr /ip_allow/3:type /metadata/a:type /metadata/c:null",
		`{"name":"x","overrides":[{},{"policy":{"name":"A"}},` + override + `,` + override + `,{"policy":7,"expires_at":"2020-01-01T00:00:00Z"}]}`:                       "/overrides/0/policy:required /overrides/1/policy/limit:required /overrides/1/policy/name:pattern /overrides/1/policy/algorithm:required /overrides/1/policy/period:required /overrides/4/policy:type /overrides/3/policy/name:duplicate /overrides/4/expires_at:past",
		`{"name":"x","id":"me","subject":"other","version":7}`:                                                                                                           "/id:unknown /subject:unknown /version:unknown",
		`{"name":"a\u0000b","owner":"` + strings.Repeat("o", 101) + `","metadata":{"":"x","` + strings.Repeat("n", 65) + `":"","v":"` + strings.Repeat("v", 501) + `"}}`: "/name:nul /owner:max_length /metadata/:min_name /metadata/" + strings.Repeat("n", 65) + ":max_name /metadata/v:max_length",
	} {
		if got := faultsOf(admin.Post("/v1/admin/keys", body)); got != want {
			t.Errorf("%s:\n faults %s\n   want %s", body, got, want)
		}
	}
	var many []string
	for i := range 14 {
		many = append(many, strings.Replace(override, `"a"`, fmt.Sprintf(`"a%d"`, i), 1))
	}
	if got := faultsOf(admin.Post("/v1/admin/keys", `{"name":"x","overrides":[`+strings.Join(many, ",")+`]}`)); got != "/overrides:max_items" {
		t.Errorf("17 policies: %s", got)
	}
}

func TestKeysAreListedBySearchAndFilters(t *testing.T) {
	app := newApp(t)
	admin := app.admin(models.ScopeAdminKeys)
	past, future := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	app.key(models.NewKey{Name: "Alpha one", Owner: "a", Plan: "pro"})
	app.key(models.NewKey{Name: "beta_100%", Owner: "a", ExpiresAt: &past})
	app.key(models.NewKey{Name: "gamma", Owner: "b", ExpiresAt: &future})
	app.key(models.NewKey{Name: "delta", Owner: "ALPHA ltd"})
	app.exec(`UPDATE api_keys SET revoked_at = now() WHERE name = 'delta'`)
	names := func(query string) string {
		var names []string
		for _, key := range everyPage[handlers.Key](t, admin, "/v1/admin/keys"+query) {
			names = append(names, key.Name)
		}
		return strings.Join(names, ",")
	}
	var id string
	if err := app.db.QueryRow(t.Context(), `SELECT id FROM api_keys WHERE name = 'gamma'`).Scan(&id); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]string{
		"?owner=a&limit=1":          "beta_100%,Alpha one",
		"?plan=pro":                 "Alpha one",
		"?status=revoked":           "delta",
		"?status=expired":           "beta_100%",
		"?status=active&owner=b":    "gamma",
		"?q=aLpHa":                  "delta,Alpha one",
		"?q=0%25":                   "beta_100%",
		"?q=a_1":                    "beta_100%",
		"?q=" + id:                  "gamma",
		"?q=alpha&status=active":    "Alpha one",
		"?owner=none":               "",
		"?owner=a&plan=pro&q=alpha": "Alpha one",
	} {
		if got := names(query); got != want {
			t.Errorf("%s: %s; want %s", query, got, want)
		}
	}
	if got := faultsOf(admin.Get("/v1/admin/keys?status=dead&q=%00&plan=%ff&limit=x")); got != "limit:type plan:utf8 status:enum q:nul" {
		t.Errorf("faults %s", got)
	}
	admin.Get("/v1/admin/keys/none").Want(http.StatusNotFound)
	admin.Get("/v1/admin/keys/%00").Want(http.StatusNotFound)
	admin.Get("/v1/admin/keys/%00/limits").Want(http.StatusNotFound)
}

func TestAMergePatchChangesWhatItNames(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	key := made(t, admin, everyField)
	path := "/v1/admin/keys/" + key.ID
	steps := []struct {
		body    string
		version int64
		want    string
	}{
		{`{}`, 1, `all pro [admin:keys products:read] own_x 2999 2 map[team:a] 2`},
		{`{"name":"all","metadata":{"none":null}}`, 1, `all pro [admin:keys products:read] own_x 2999 2 map[team:a] 2`},
		{`{"name":"new","metadata":{"env":"prod"}}`, 2, `new pro [admin:keys products:read] own_x 2999 2 map[env:prod team:a] 2`},
		{`{"metadata":{"team":null,"env":"test"},"plan":"free"}`, 3, `new free [admin:keys products:read] own_x 2999 2 map[env:test] 2`},
		{`{"expires_at":null,"ip_allow":null}`, 4, `new free [admin:keys products:read] own_x never 0 map[env:test] 2`},
		{`{"overrides":[{"policy":{"name":"own","algorithm":"fixed_window","limit":6,"period":"1m"}}],"scopes":["orders:read"],"owner":"own_y"}`, 5, `new free [orders:read] own_y never 0 map[env:test] 1`},
		{`{"overrides":[{"policy":{"period":"1m","limit":6,"name":"own","algorithm":"fixed_window"},"reason":"","expires_at":null}]}`, 5, `new free [orders:read] own_y never 0 map[env:test] 1`},
		{`{"overrides":null,"metadata":null}`, 6, `new free [orders:read] own_y never 0 map[] 0`},
	}
	for _, step := range steps {
		answer := admin.Do(patch, path, step.body, "Content-Type", "application/merge-patch+json").Want(http.StatusOK)
		var k handlers.Key
		answer.JSON(&k)
		expiry := "never"
		if k.ExpiresAt != nil {
			expiry = strconv.Itoa(k.ExpiresAt.Year())
		}
		got := fmt.Sprint(k.Name, " ", k.Plan, " ", k.Scopes, " ", k.Owner, " ", expiry, " ", len(k.IPAllow), " ", k.Metadata, " ", len(k.Overrides))
		if got != step.want || k.Version != step.version || answer.Header.Get("ETag") != fmt.Sprintf(`"%d"`, step.version) {
			t.Errorf("%s:\n gave %s, version %d\n want %s, version %d", step.body, got, k.Version, step.want, step.version)
		}
	}
	if got := faultsOf(admin.Do(patch, path, `{"name":null,"plan":"nowhere","scopes":null,"owner":"","key":"x"}`)); got != "/name:null /scopes:null /owner:min_length /key:unknown" {
		t.Errorf("faults %s", got)
	}
	if got := faultsOf(admin.Do(patch, path, `{"plan":"nowhere"}`)); got != "/plan:unknown" {
		t.Errorf("faults %s", got)
	}
	admin.Do(patch, path, `{"name":"x"}`, "If-Match", `"5"`).Want(http.StatusPreconditionFailed)
	admin.Do(patch, path, `{"name":"x"}`, "If-Match", `"6"`).Want(http.StatusOK)
	admin.Do(patch, "/v1/admin/keys/none", `{"name":"x"}`).Want(http.StatusNotFound)
	admin.Post("/v1/admin/keys", `{"name":"x"}`, "Content-Type", "application/merge-patch+json").Want(http.StatusUnsupportedMediaType)
}

func TestAChangedKeyIsInForceWhenTheAnswerLeaves(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	for range 20 {
		key := made(t, admin, `{"name":"x","plan":"internal"}`)
		caller, path := app.As(key.Secret), "/v1/admin/keys/"+key.ID
		caller.Get("/v1/products").Want(http.StatusOK)
		admin.Do(patch, path, `{"scopes":["orders:read"]}`).Want(http.StatusOK)
		caller.Get("/v1/products").Want(http.StatusForbidden)
		admin.Do(patch, path, `{"scopes":["products:read"],"overrides":[{"policy":{"name":"own","algorithm":"fixed_window","limit":1,"period":"1h"}}]}`).Want(http.StatusOK)
		caller.Get("/v1/products").Want(http.StatusOK)
		caller.Get("/v1/products").Want(http.StatusTooManyRequests)
		admin.Post(path+"/revoke", nil).Want(http.StatusOK)
		caller.Get("/v1/products").Want(http.StatusUnauthorized)
	}
	log := app.log.String()
	if strings.Contains(log, "panic") {
		t.Error(log)
	}
}

func TestAnExpiredKeyWorksAgainAsSoonAsItsExpiryIsMoved(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	past := time.Now().Add(-time.Minute)
	caller := app.As(app.key(models.NewKey{Name: "late", Plan: "internal", ExpiresAt: &past}))
	caller.Get("/v1/products").Want(http.StatusUnauthorized) // and this is remembered
	late := everyPage[handlers.Key](t, admin, "/v1/admin/keys?q=late")[0]
	admin.Do(patch, "/v1/admin/keys/"+late.ID, `{"expires_at":null}`).Want(http.StatusOK)
	caller.Get("/v1/products").Want(http.StatusOK)
}

func TestRotationNeverDoublesAQuota(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	app.plan("ten", `[{"name":"ten","algorithm":"fixed_window","limit":10,"period":"1h"}]`)
	old := made(t, admin, `{"name":"x","plan":"ten","owner":"own_x","metadata":{"a":"b"},"expires_at":"2999-01-01T00:00:00Z"}`)
	for range 6 {
		app.As(old.Secret).Get("/v1/products").Want(http.StatusOK)
	}
	answer := admin.Post("/v1/admin/keys/"+old.ID+"/rotate", `{"grace":"1h"}`).Want(http.StatusCreated)
	var successor handlers.KeyWithSecret
	answer.JSON(&successor)
	if successor.ID == old.ID || successor.Subject != old.Subject || successor.Owner != "own_x" || successor.Plan != "ten" ||
		successor.Metadata["a"] != "b" || !successor.ExpiresAt.Equal(*old.ExpiresAt) || answer.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("old %+v\nnew %+v", old, successor)
	}
	// Both work, and share what is left: 4 of 10.
	app.As(successor.Secret).Get("/v1/products").Want(http.StatusOK)
	app.As(old.Secret).Get("/v1/products").Want(http.StatusOK)
	app.As(successor.Secret).Get("/v1/products").Want(http.StatusOK)
	app.As(old.Secret).Get("/v1/products").Want(http.StatusOK)
	app.As(old.Secret).Get("/v1/products").Want(http.StatusTooManyRequests)
	app.As(successor.Secret).Get("/v1/products").Want(http.StatusTooManyRequests)
	var third handlers.KeyWithSecret
	admin.Post("/v1/admin/keys/"+successor.ID+"/rotate", nil).Want(http.StatusCreated).JSON(&third)
	app.As(third.Secret).Get("/v1/products").Want(http.StatusTooManyRequests)
}

func TestAnOldKeyEndsWithItsGraceAndNeverAfterItsOwnExpiry(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	get := func(id string) (key handlers.KeyWithQuota) {
		admin.Get("/v1/admin/keys/" + id).Want(http.StatusOK).JSON(&key)
		return key
	}
	day := made(t, admin, `{"name":"day"}`)
	admin.Post("/v1/admin/keys/"+day.ID+"/rotate", nil).Want(http.StatusCreated)
	if left := time.Until(*get(day.ID).ExpiresAt); left < 23*time.Hour || left > 25*time.Hour {
		t.Errorf("the default grace ends in %s; want 24h", left)
	}
	soon := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	hour := made(t, admin, fmt.Sprintf(`{"name":"hour","expires_at":%q}`, soon.Format(time.RFC3339)))
	admin.Post("/v1/admin/keys/"+hour.ID+"/rotate", `{"grace":"7d"}`).Want(http.StatusCreated)
	if got := get(hour.ID).ExpiresAt; !got.Equal(soon) {
		t.Errorf("the old key ends at %s; it expires at %s", got, soon)
	}
	now := made(t, admin, `{"name":"now"}`)
	app.As(now.Secret).Get("/v1/products").Want(http.StatusOK)
	admin.Post("/v1/admin/keys/"+now.ID+"/rotate", `{"grace":"0s"}`).Want(http.StatusCreated)
	app.As(now.Secret).Get("/v1/products").Want(http.StatusUnauthorized)

	// Whoever holds an old key can't mint new ones from it.
	if got := detail(admin.Post("/v1/admin/keys/"+day.ID+"/rotate", nil), http.StatusConflict); !strings.Contains(got, "successor") {
		t.Errorf("detail %q", got)
	}
	app.As(day.Secret).Post("/v1/me/rotate", nil).Want(http.StatusConflict)
	revoked := made(t, admin, `{"name":"revoked"}`)
	admin.Post("/v1/admin/keys/"+revoked.ID+"/revoke", nil).Want(http.StatusOK)
	admin.Post("/v1/admin/keys/"+revoked.ID+"/rotate", nil).Want(http.StatusConflict)
	for body, want := range map[string]string{
		`{"grace":"8d"}`: "/grace:range", `{"grace":"169h"}`: "/grace:range", `{"grace":"-1s"}`: "/grace:pattern", `{"grace":"1.5h"}`: "/grace:pattern",
		`{"grace":null}`: "/grace:null", `{"grace":24}`: "/grace:type", `{"Grace":"1h"}`: "/Grace:unknown", `{"grace":"999999999d"}`: "/grace:range",
	} {
		if got := faultsOf(admin.Post("/v1/admin/keys/"+day.ID+"/rotate", body)); got != want {
			t.Errorf("%s: faults %s; want %s", body, got, want)
		}
	}
}

func TestCountersAreResetByNameOrAllAtOnce(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	app.plan("two", `[{"name":"a","algorithm":"fixed_window","limit":10,"period":"1h"},{"name":"b","algorithm":"fixed_window","limit":20,"period":"1h","mode":"shadow"}]`)
	key := made(t, admin, `{"name":"x","plan":"two"}`)
	caller, path := app.As(key.Secret), "/v1/admin/keys/"+key.ID
	left := func() string {
		var limits handlers.KeyLimits
		admin.Get(path + "/limits").Want(http.StatusOK).JSON(&limits)
		var own handlers.KeyLimits
		caller.Get("/v1/me/limits").Want(http.StatusOK).JSON(&own)
		if !reflect.DeepEqual(own, limits) {
			t.Errorf("the caller is told %v, the operator %v", own, limits)
		}
		var left []string
		for _, l := range limits.Data {
			left = append(left, fmt.Sprintf("%s %s %d/%d %g %g %s %s", l.Policy, l.Algorithm, l.Remaining, l.Limit, l.ResetAfter, *l.RetryAfter, l.Mode, l.Charge))
		}
		return strings.Join(left, ", ")
	}
	spend := func() {
		for range 3 {
			caller.Get("/v1/products").Want(http.StatusOK)
		}
	}
	const full = "a fixed_window 10/10 3600 0 enforce requests, b fixed_window 20/20 3600 0 shadow requests"
	spend()
	if got := left(); got != "a fixed_window 7/10 3600 0 enforce requests, b fixed_window 17/20 3600 0 shadow requests" {
		t.Errorf("after 3 requests: %s", got)
	}
	admin.Post(path+"/reset", `{"policies":["b"]}`).Want(http.StatusNoContent)
	if got := left(); got != "a fixed_window 7/10 3600 0 enforce requests, b fixed_window 20/20 3600 0 shadow requests" {
		t.Errorf("after the reset of b: %s", got)
	}
	spend()
	admin.Post(path+"/reset", nil).Want(http.StatusNoContent)
	if got := left(); got != full {
		t.Errorf("after the reset of all: %s", got)
	}
	if got := faultsOf(admin.Post(path+"/reset", `{"policies":["a","c"]}`)); got != "/policies/1:unknown" {
		t.Errorf("faults %s", got)
	}
	if got := faultsOf(admin.Post(path+"/reset", `{"policies":[]}`)); got != "/policies:min_items" {
		t.Errorf("faults %s", got)
	}
	admin.Post("/v1/admin/keys/none/reset", nil).Want(http.StatusNotFound)

	spend()
	app.exec(`ALTER TABLE audit_log RENAME TO hidden`)
	admin.Post(path+"/reset", nil).Want(http.StatusInternalServerError)
	if got := left(); got == full {
		t.Error("counters were reset without an audit")
	}
}

func TestEveryChangeOfAKeyIsAuditedOrNotMade(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	key := made(t, admin, `{"name":"x"}`)
	path := "/v1/admin/keys/" + key.ID
	calls := []struct {
		action, path, body, method string
		status                     int
	}{
		{"key.change", path, `{"name":"y"}`, patch, 200},
		{"key.reset", path + "/reset", `{"policies":["burst"]}`, http.MethodPost, 204},
		{"key.rotate", path + "/rotate", `{}`, http.MethodPost, 201},
		{"key.revoke", path + "/revoke", ``, http.MethodPost, 200},
	}
	app.exec(`ALTER TABLE audit_log ADD CONSTRAINT broken CHECK (actor = 'test') NOT VALID`)
	for _, call := range calls {
		admin.Do(call.method, call.path, bodyOf(call.body)).Want(http.StatusInternalServerError)
	}
	admin.Post("/v1/admin/keys", `{"name":"never made"}`).Want(http.StatusInternalServerError)
	if keys := everyPage[handlers.Key](t, admin, "/v1/admin/keys?owner="+key.Owner); len(keys) != 1 || keys[0].Version != 1 || keys[0].ExpiresAt != nil {
		t.Fatalf("something has changed without an audit: %+v", keys)
	}
	if keys := everyPage[handlers.Key](t, admin, "/v1/admin/keys?q=never+made"); len(keys) != 0 {
		t.Fatalf("a key was created without an audit: %+v", keys)
	}
	app.exec(`ALTER TABLE audit_log DROP CONSTRAINT broken`)
	for _, call := range calls {
		admin.Do(call.method, call.path, bodyOf(call.body), "X-Request-Id", "for-"+call.action).Want(call.status)
	}
	admin.Post(path+"/revoke", nil).Want(http.StatusOK) // changes nothing
	entries := app.audited("?target=" + key.ID)
	if len(entries) != len(calls)+1 {
		t.Fatalf("%d entries; want %d", len(entries), len(calls)+1)
	}
	var me handlers.OwnKeyWithQuota
	admin.Get("/v1/me").Want(http.StatusOK).JSON(&me)
	for i, call := range calls {
		e := entries[len(calls)-1-i]
		if e.Action != call.action || e.Actor != me.ID || *e.RequestID != "for-"+call.action || *e.IP != "127.0.0.1" {
			t.Errorf("%s: %+v", call.action, e)
		}
		if strings.Contains(string(e.Before)+string(e.After), "rl_live") {
			t.Errorf("the audit holds a secret: %+v", e)
		}
	}
	var before, after handlers.Key
	change := entries[len(calls)-1]
	if json.Unmarshal(change.Before, &before) != nil || json.Unmarshal(change.After, &after) != nil || before.Name != "x" || after.Name != "y" {
		t.Errorf("changed from %s to %s", change.Before, change.After)
	}
	if created := entries[len(calls)]; created.Action != "key.create" || string(created.Before) != "null" && created.Before != nil {
		t.Errorf("created %+v", created)
	}
}

// bodyOf is nil for an empty body: then none is sent.
func bodyOf(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func TestNobodyGrantsOrTouchesWhatItLacks(t *testing.T) {
	app := newApp(t)
	root := app.admin()
	operator := made(t, root, `{"name":"operator","scopes":["admin:keys","products:read","orders:read"],"owner":"house","plan":"internal"}`)
	as := app.As(operator.Secret)
	strong := made(t, root, `{"name":"strong","scopes":["products:write","products:read"]}`)
	weak := made(t, as, `{"name":"weak","scopes":["products:read"]}`)
	strongPath, weakPath := "/v1/admin/keys/"+strong.ID, "/v1/admin/keys/"+weak.ID

	for name, call := range map[string]func() *testkit.Response{
		"create with the defaults": func() *testkit.Response { return as.Post("/v1/admin/keys", `{"name":"x"}`) },
		"grant":                    func() *testkit.Response { return as.Do(patch, weakPath, `{"scopes":["products:read","orders:write"]}`) },
		"grant itself":             func() *testkit.Response { return as.Do(patch, "/v1/admin/keys/"+operator.ID, `{"scopes":["admin"]}`) },
		"take away":                func() *testkit.Response { return as.Do(patch, strongPath, `{"scopes":["products:read"]}`) },
		"rename":                   func() *testkit.Response { return as.Do(patch, strongPath, `{"name":"mine"}`) },
		"rotate":                   func() *testkit.Response { return as.Post(strongPath+"/rotate", nil) },
		"revoke":                   func() *testkit.Response { return as.Post(strongPath+"/revoke", nil) },
		"reset":                    func() *testkit.Response { return as.Post(strongPath+"/reset", nil) },
	} {
		if got := detail(call(), http.StatusForbidden); !strings.Contains(got, "doesn't hold") || !strings.Contains(got, "write") && !strings.Contains(got, ": admin.") {
			t.Errorf("%s: the detail doesn't name the scope: %s", name, got)
		}
	}
	for name, call := range map[string]func() *testkit.Response{
		"create for another": func() *testkit.Response {
			return as.Post("/v1/admin/keys", `{"name":"x","scopes":["products:read"],"owner":"other"}`)
		},
		"give to another": func() *testkit.Response { return as.Do(patch, weakPath, `{"owner":"other"}`) },
		"take for itself": func() *testkit.Response { return as.Do(patch, weakPath, `{"owner":"house"}`) },
	} {
		if got := detail(call(), http.StatusForbidden); !strings.Contains(got, "needs the scope admin") {
			t.Errorf("%s: %s", name, got)
		}
	}
	made(t, as, `{"name":"own","scopes":["products:read"],"owner":"house"}`)
	as.Do(patch, weakPath, `{"name":"still weak","scopes":["orders:read"]}`).Want(http.StatusOK)
	as.Post(weakPath+"/revoke", nil).Want(http.StatusOK)
	root.Do(patch, strongPath, `{"owner":"other"}`).Want(http.StatusOK)
}

func TestTheLastAdminKeyStays(t *testing.T) {
	app := newApp(t)
	last := app.admin()
	var me handlers.OwnKeyWithQuota
	last.Get("/v1/me").Want(http.StatusOK).JSON(&me)
	path := "/v1/admin/keys/" + me.ID
	soon := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	made(t, last, `{"name":"expiring","scopes":["admin"],"expires_at":"`+soon+`"}`)
	made(t, last, `{"name":"lesser","scopes":["admin:keys"]}`)
	refused := func() {
		t.Helper()
		for body, call := range map[string]*testkit.Response{
			"revoke":  last.Post(path+"/revoke", nil),
			"expire":  last.Do(patch, path, `{"expires_at":"`+soon+`"}`),
			"descope": last.Do(patch, path, `{"scopes":["admin:keys","admin:plans"]}`),
		} {
			if got := detail(call, http.StatusConflict); !strings.Contains(got, "Create another one first") {
				t.Errorf("%s: %s", body, got)
			}
		}
	}
	refused()
	other := made(t, last, `{"name":"other","scopes":["admin"]}`)
	last.Post("/v1/admin/keys/"+other.ID+"/revoke", nil).Want(http.StatusOK)
	refused()
	last.Do(patch, path, `{"name":"renamed"}`).Want(http.StatusOK)

	// Rotated, the successor is the last one.
	var successor handlers.OwnKeyWithSecret
	last.Post("/v1/me/rotate", `{"grace":"0s"}`).Want(http.StatusCreated).JSON(&successor)
	last.Get("/v1/me").Want(http.StatusUnauthorized)
	last, path = app.As(successor.Secret), "/v1/admin/keys/"+successor.ID
	refused()
}

func TestOfTwoAdminKeysThatEndEachOtherAtOnceOneStays(t *testing.T) {
	app := newApp(t)
	first := app.admin()
	second := made(t, first, `{"name":"second","scopes":["admin"]}`)
	var me handlers.OwnKeyWithQuota
	first.Get("/v1/me").Want(http.StatusOK).JSON(&me)
	app.As(second.Secret).Get("/v1/me").Want(http.StatusOK)

	// Neither can write its audit before both have begun.
	tx, err := app.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `LOCK TABLE audit_log`); err != nil {
		t.Fatal(err)
	}
	var calls sync.WaitGroup
	calls.Go(func() { first.Post("/v1/admin/keys/"+second.ID+"/revoke", nil) })
	calls.Go(func() { app.As(second.Secret).Post("/v1/admin/keys/"+me.ID+"/revoke", nil) })
	for waiting := 0; waiting < 2; {
		err := app.db.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting)
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	calls.Wait()
	var left int
	if err := app.db.QueryRow(t.Context(), `SELECT count(*) FROM api_keys WHERE revoked_at IS NULL`).Scan(&left); err != nil || left != 1 {
		t.Fatalf("%d admin keys are left, %v; want 1", left, err)
	}
}

func TestOnlyAdminReceivesAKeyOfAnotherOwner(t *testing.T) {
	app := newApp(t)
	theirs := app.key(models.NewKey{Plan: "internal", Owner: "them", Scopes: []models.Scope{models.ScopeProductsRead}})
	id, err := apikeys.ParseID(theirs)
	if err != nil {
		t.Fatal(err)
	}
	manager := app.As(app.key(models.NewKey{Plan: "internal", Owner: "us", Scopes: []models.Scope{models.ScopeAdminKeys, models.ScopeProductsRead}}))
	manager.Post("/v1/admin/keys/"+id+"/rotate", `{}`).Want(http.StatusForbidden)
	app.admin().Post("/v1/admin/keys/"+id+"/rotate", `{}`).Want(http.StatusCreated)
}

func TestARotatedKeyIsNotRevived(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	id, err := apikeys.ParseID(app.key(models.NewKey{}))
	if err != nil {
		t.Fatal(err)
	}
	admin.Post("/v1/admin/keys/"+id+"/rotate", `{"grace":"1h"}`).Want(http.StatusCreated)
	admin.Do(http.MethodPatch, "/v1/admin/keys/"+id, `{"expires_at":null}`).Want(http.StatusConflict)
	admin.Do(http.MethodPatch, "/v1/admin/keys/"+id, `{"name":"still"}`).Want(http.StatusOK)
}

func TestMetadataIsBoundedHoweverItGrows(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	id, err := apikeys.ParseID(app.key(models.NewKey{}))
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range []int{http.StatusOK, http.StatusUnprocessableEntity} {
		labels := map[string]string{}
		for i := range 40 {
			labels[fmt.Sprintf("label-%d-%d", n, i)] = "x"
		}
		admin.Do(http.MethodPatch, "/v1/admin/keys/"+id, map[string]any{"metadata": labels}).Want(want)
	}
}

// Keys that share a subject under policies of one name and several shapes have
// a counter each, and wipe none by turns.
func TestTurnsBetweenPlansOfAnOwnerMintNothing(t *testing.T) {
	app := newApp(t)
	app.plan("by-day", `[{"name":"company","algorithm":"fixed_window","limit":5,"period":"1d","per":"owner"}]`)
	app.plan("by-hour", `[{"name":"company","algorithm":"fixed_window","limit":5,"period":"1h","per":"owner"}]`)
	callers := []*testkit.Client{
		app.As(app.key(models.NewKey{Plan: "by-day", Owner: "us"})), app.As(app.key(models.NewKey{Plan: "by-hour", Owner: "us"})),
	}
	passed := 0
	for i := range 40 {
		if callers[i%2].Get("/v1/products").Status == http.StatusOK {
			passed++
		}
	}
	if passed != 10 {
		t.Errorf("%d passed; want 5 of each", passed)
	}
}
