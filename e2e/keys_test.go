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
	"ratelimiter/internal/testkit"
	"ratelimiter/middleware"
	"ratelimiter/models"
)

const patch = http.MethodPatch

// createKey creates a key through the API.
func createKey(t *testing.T, admin *testkit.Client, body string) handlers.KeyWithSecret {
	t.Helper()
	var key handlers.KeyWithSecret
	admin.Post("/v1/admin/keys", body).Want(http.StatusCreated).JSON(&key)
	return key
}

// detail returns the detail of a problem. The response must have this status.
func detail(response *testkit.Response, status int) string {
	var problem middleware.Problem
	response.Want(status).JSON(&problem)
	return problem.Detail
}

func TestKeys_create_defaults(t *testing.T) {
	app := newApp(t)
	response := app.admin().Post("/v1/admin/keys", `{"name":"shop"}`).Want(http.StatusCreated)
	var key handlers.KeyWithSecret
	response.JSON(&key)
	if key.Name != "shop" || key.Plan != "free" || fmt.Sprint(key.Scopes) != "[products:read orders:read orders:write]" ||
		!strings.HasPrefix(key.Owner, "own_") || key.Subject != key.ID || key.Status != "active" || key.Version != 1 ||
		!strings.HasPrefix(key.Secret, "rl_live_"+key.ID+"_") {
		t.Errorf("got key %+v", key)
	}
	for _, part := range []string{`"ip_allow":[]`, `"metadata":{}`, `"overrides":[]`, `"expires_at":null`, `"last_used_at":null`} {
		if !strings.Contains(string(response.Body), part) {
			t.Errorf("got body %s; want it to contain %s", response.Body, part)
		}
	}
	if response.Header.Get("Location") != "/v1/admin/keys/"+key.ID || response.Header.Get("ETag") != `"1"` || response.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("got header %v", response.Header)
	}
	app.As(key.Secret).Get("/v1/products").Want(http.StatusOK)
}

const everyField = `{"name":"all","plan":"pro","scopes":["admin:keys","products:read"],"owner":"own_x","expires_at":"2999-01-02T03:04:05+01:00",
	"ip_allow":["127.0.0.1","2001:db8::/32"],"metadata":{"team":"a"},
	"overrides":[{"policy":{"name":"burst","algorithm":"token_bucket","limit":7,"period":"1s"},"expires_at":"2999-01-01T00:00:00Z","reason":"launch"},
	             {"policy":{"name":"own","algorithm":"fixed_window","limit":5,"period":"1m"}}]}`

func TestKeys_create_all_fields(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	key := createKey(t, admin, everyField)
	if !strings.HasPrefix(key.Secret, "rl_admin_") {
		t.Errorf("got key %.9s…; want the prefix rl_admin_", key.Secret)
	}
	response := admin.Get("/v1/admin/keys/" + key.ID).Want(http.StatusOK)
	var got handlers.KeyWithQuota
	response.JSON(&got)
	if got.Plan != "pro" || got.Owner != "own_x" || !got.ExpiresAt.Equal(time.Date(2999, 1, 2, 2, 4, 5, 0, time.UTC)) ||
		fmt.Sprint(got.IPAllow) != "[127.0.0.1/32 2001:db8::/32]" || got.Metadata["team"] != "a" || got.Overrides[0].Reason != "launch" {
		t.Errorf("got %+v", got)
	}
	var quota []string
	for _, p := range got.Quota {
		quota = append(quota, fmt.Sprint(p.Name, " ", p.Limit, " ", p.Origin))
	}
	if want := "burst 7 override, minute 3000 plan, monthly 100000 plan, own 5 override"; strings.Join(quota, ", ") != want {
		t.Errorf("got quota %v; want %s", quota, want)
	}
	if strings.Contains(string(response.Body), key.Secret) || strings.Contains(string(response.Body), "mac") {
		t.Errorf("the response contains a secret: %s", response.Body)
	}
	if got := app.As(key.Secret).Get("/v1/products").Want(http.StatusOK).Header.Get("RateLimit-Policy"); !strings.HasPrefix(got, `"burst";q=7;w=1, `) {
		t.Errorf("got RateLimit-Policy %s", got)
	}
}

func TestKeys_create_faults(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	override := `{"policy":{"name":"a","algorithm":"fixed_window","limit":5,"period":"1m"}}`
	for body, want := range map[string]string{
		`{}`: "/name:required",
		`{"name":null,"plan":null,"scopes":null,"owner":null,"expires_at":null,"ip_allow":null,"metadata":null,"overrides":null}`: "/name:null /plan:null /scopes:null /owner:null /ip_allow:null /metadata:null /overrides:null",
		`{"name":" ","plan":"","scopes":[],"owner":""}`: "/name:pattern /plan:pattern /scopes:min_items /owner:min_length",
		`{"name":"x","plan":"none"}`:                    "/plan:unknown",
		`{"name":"a\u202eb","owner":"a\u001b[31m","metadata":{"a":"b\u0085","c\u2066":"d"},"overrides":[{"policy":{"name":"a","algorithm":"fixed_window","limit":5,"period":"1m"},"reason":"a\nb"}]}`: "/name:control /owner:control /metadata/a:control /metadata/c\u2066:control /overrides/0/reason:control",
		`{"name":"x","plan":"none","expires_at":"2020-01-01T00:00:00Z","overrides":[{"policy":{"name":"a","algorithm":"fixed_window","limit":5,"period":"1m"},"expires_at":"2020-01-01T00:00:00Z"}]}`: "/expires_at:past /overrides/0/expires_at:past /plan:unknown",
		`{"name":"x","scopes":["admin","no","admin"]}`: "/scopes/1:enum /scopes/2:duplicate",
		`{"name":"x","expires_at":"2020-01-01T00:00:00Z","overrides":[{"policy":{"name":"a","algorithm":"fixed_window","limit":5,"period":"1m"},"expires_at":"2020-01-01T00:00:00Z"}]}`: "/expires_at:past /overrides/0/expires_at:past",
		`{"name":"x","expires_at":"tomorrow","ip_allow":["10.0.0.1/8","x","::ffff:1.2.3.4",7],"metadata":{"a":1,"b":"ok","c":null}}`:                                                    "/expires_at:time /ip_allow/0:cidr /ip_allow/1:cidr /ip_allow/2:cidr /ip_allow/3:type /metadata/a:type /metadata/c:null",
		`{"name":"x","overrides":[{},{"policy":{"name":"A"}},` + override + `,` + override + `,{"policy":7}]}`:                                                                          "/overrides/0/policy:required /overrides/1/policy/limit:required /overrides/1/policy/name:pattern /overrides/1/policy/algorithm:required /overrides/1/policy/period:required /overrides/4/policy:type /overrides/3/policy/name:duplicate",
		`{"name":"x","id":"me","subject":"other","version":7}`:                                                                                                                          "/id:unknown /subject:unknown /version:unknown",
		`{"name":"a\u0000b","owner":"` + strings.Repeat("o", 101) + `","metadata":{"":"x","` + strings.Repeat("n", 65) + `":"","v":"` + strings.Repeat("v", 501) + `"}}`:                "/name:nul /owner:max_length /metadata/:min_name /metadata/" + strings.Repeat("n", 65) + ":max_name /metadata/v:max_length",
	} {
		if got := faultsOf(admin.Post("/v1/admin/keys", body)); got != want {
			t.Errorf("%s:\n got faults %s\n       want %s", body, got, want)
		}
	}
	var many []string
	for i := range 14 {
		many = append(many, strings.Replace(override, `"a"`, fmt.Sprintf(`"a%d"`, i), 1))
	}
	if got := faultsOf(admin.Post("/v1/admin/keys", `{"name":"x","overrides":[`+strings.Join(many, ",")+`]}`)); got != "/overrides:max_items" {
		t.Errorf("17 policies: got faults %s", got)
	}
}

func TestKeys_list_filters(t *testing.T) {
	app := newApp(t)
	admin := app.admin(models.ScopeAdminKeys)
	past, future := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	app.key(models.NewKey{Name: "Alpha one", Owner: "a", Plan: "pro"})
	app.key(models.NewKey{Name: "beta_100%", Owner: "a", ExpiresAt: &past})
	gamma := app.key(models.NewKey{Name: "gamma", Owner: "b", ExpiresAt: &future})
	app.key(models.NewKey{Name: "delta", Owner: "ALPHA ltd"})
	app.exec(`UPDATE api_keys SET revoked_at = now() WHERE name = 'delta'`)
	names := func(query string) string {
		var names []string
		for _, key := range everyPage[handlers.Key](t, admin, "/v1/admin/keys"+query) {
			names = append(names, key.Name)
		}
		return strings.Join(names, ",")
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
		"?q=" + idOf(gamma):         "gamma",
		"?q=alpha&status=active":    "Alpha one",
		"?owner=none":               "",
		"?owner=a&plan=pro&q=alpha": "Alpha one",
	} {
		if got := names(query); got != want {
			t.Errorf("%s: got %s; want %s", query, got, want)
		}
	}
	if got := faultsOf(admin.Get("/v1/admin/keys?status=dead&q=%00&plan=%ff&limit=x")); got != "plan:utf8 status:enum q:nul limit:type" {
		t.Errorf("got faults %s", got)
	}
	admin.Get("/v1/admin/keys/none").Want(http.StatusNotFound)
	admin.Get("/v1/admin/keys/%00").Want(http.StatusNotFound)
	admin.Get("/v1/admin/keys/%00/limits").Want(http.StatusNotFound)
}

func TestKeys_merge_patch(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	key := createKey(t, admin, everyField)
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
		response := admin.Do(patch, path, step.body, "Content-Type", "application/merge-patch+json").Want(http.StatusOK)
		var k handlers.Key
		response.JSON(&k)
		expiry := "never"
		if k.ExpiresAt != nil {
			expiry = strconv.Itoa(k.ExpiresAt.Year())
		}
		got := fmt.Sprint(k.Name, " ", k.Plan, " ", k.Scopes, " ", k.Owner, " ", expiry, " ", len(k.IPAllow), " ", k.Metadata, " ", len(k.Overrides))
		if got != step.want || k.Version != step.version || response.Header.Get("ETag") != fmt.Sprintf(`"%d"`, step.version) {
			t.Errorf("%s:\n got %s, version %d\n want %s, version %d", step.body, got, k.Version, step.want, step.version)
		}
	}
	if got := faultsOf(admin.Do(patch, path, `{"name":null,"plan":"nowhere","scopes":null,"owner":"","key":"x"}`)); got != "/name:null /scopes:null /owner:min_length /key:unknown" {
		t.Errorf("got faults %s", got)
	}
	if got := faultsOf(admin.Do(patch, path, `{"plan":"nowhere"}`)); got != "/plan:unknown" {
		t.Errorf("got faults %s", got)
	}
	admin.Do(patch, path, `{"name":"x"}`, "If-Match", `"5"`).Want(http.StatusPreconditionFailed)
	admin.Do(patch, path, `{"name":"x"}`, "If-Match", `"6"`).Want(http.StatusOK)
	admin.Do(patch, "/v1/admin/keys/none", `{"name":"x"}`).Want(http.StatusNotFound)
	admin.Post("/v1/admin/keys", `{"name":"x"}`, "Content-Type", "application/merge-patch+json").Want(http.StatusUnsupportedMediaType)
}

func TestKeys_changes_take_effect_immediately(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	for range 20 {
		key := createKey(t, admin, `{"name":"x","plan":"internal"}`)
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
	if log := app.log.String(); strings.Contains(log, "panic") {
		t.Error(log)
	}
}

func TestKeys_extend_expired_key(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	past := time.Now().Add(-time.Minute)
	caller := app.As(app.key(models.NewKey{Name: "lapsed", Plan: "internal", ExpiresAt: &past}))
	caller.Get("/v1/products").Want(http.StatusUnauthorized) // cached
	expired := everyPage[handlers.Key](t, admin, "/v1/admin/keys?q=lapsed")[0]
	admin.Do(patch, "/v1/admin/keys/"+expired.ID, `{"expires_at":null}`).Want(http.StatusOK)
	caller.Get("/v1/products").Want(http.StatusOK)
}

func TestKeys_rotation_shares_quota(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	app.plan("ten", `[{"name":"ten","algorithm":"fixed_window","limit":10,"period":"1h"}]`)
	old := createKey(t, admin, `{"name":"x","plan":"ten","owner":"own_x","metadata":{"a":"b"},"expires_at":"2999-01-01T00:00:00Z"}`)
	for range 6 {
		app.As(old.Secret).Get("/v1/products").Want(http.StatusOK)
	}
	response := admin.Post("/v1/admin/keys/"+old.ID+"/rotate", `{"grace":"1h"}`).Want(http.StatusCreated)
	var successor handlers.KeyWithSecret
	response.JSON(&successor)
	if successor.ID == old.ID || successor.Subject != old.Subject || successor.Owner != "own_x" || successor.Plan != "ten" ||
		successor.Metadata["a"] != "b" || !successor.ExpiresAt.Equal(*old.ExpiresAt) || response.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("got successor %+[2]v\nof %+[1]v", old, successor)
	}
	// Both keys share the remaining 4 units.
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

func TestKeys_rotation_grace(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	get := func(id string) (key handlers.KeyWithQuota) {
		admin.Get("/v1/admin/keys/" + id).Want(http.StatusOK).JSON(&key)
		return key
	}
	day := createKey(t, admin, `{"name":"day"}`)
	admin.Post("/v1/admin/keys/"+day.ID+"/rotate", nil).Want(http.StatusCreated)
	if left := time.Until(*get(day.ID).ExpiresAt); left < 23*time.Hour || left > 25*time.Hour {
		t.Errorf("got default grace %s; want 24h", left)
	}
	soon := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	hour := createKey(t, admin, fmt.Sprintf(`{"name":"hour","expires_at":%q}`, soon.Format(time.RFC3339)))
	admin.Post("/v1/admin/keys/"+hour.ID+"/rotate", `{"grace":"7d"}`).Want(http.StatusCreated)
	if got := get(hour.ID).ExpiresAt; !got.Equal(soon) {
		t.Errorf("got expiry %s of the old key; want its own %s", got, soon)
	}
	now := createKey(t, admin, `{"name":"now"}`)
	app.As(now.Secret).Get("/v1/products").Want(http.StatusOK)
	admin.Post("/v1/admin/keys/"+now.ID+"/rotate", `{"grace":"0s"}`).Want(http.StatusCreated)
	app.As(now.Secret).Get("/v1/products").Want(http.StatusUnauthorized)

	// A rotated or revoked key can't be rotated.
	if got := detail(admin.Post("/v1/admin/keys/"+day.ID+"/rotate", nil), http.StatusConflict); !strings.Contains(got, "successor") {
		t.Errorf("got detail %q; want it to name the successor", got)
	}
	app.As(day.Secret).Post("/v1/me/rotate", nil).Want(http.StatusConflict)
	revoked := createKey(t, admin, `{"name":"revoked"}`)
	admin.Post("/v1/admin/keys/"+revoked.ID+"/revoke", nil).Want(http.StatusOK)
	admin.Post("/v1/admin/keys/"+revoked.ID+"/rotate", nil).Want(http.StatusConflict)
	for body, want := range map[string]string{
		`{"grace":"8d"}`: "/grace:range", `{"grace":"169h"}`: "/grace:range", `{"grace":"-1s"}`: "/grace:pattern", `{"grace":"1.5h"}`: "/grace:pattern",
		`{"grace":null}`: "/grace:null", `{"grace":24}`: "/grace:type", `{"Grace":"1h"}`: "/Grace:unknown", `{"grace":"999999999d"}`: "/grace:range",
	} {
		if got := faultsOf(admin.Post("/v1/admin/keys/"+day.ID+"/rotate", body)); got != want {
			t.Errorf("%s: got faults %s; want %s", body, got, want)
		}
	}
}

func TestKeys_reset_counters(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	app.plan("two", `[{"name":"a","algorithm":"fixed_window","limit":10,"period":"1h"},{"name":"b","algorithm":"fixed_window","limit":20,"period":"1h","mode":"shadow"}]`)
	key := createKey(t, admin, `{"name":"x","plan":"two"}`)
	caller, path := app.As(key.Secret), "/v1/admin/keys/"+key.ID
	limits := func() string {
		var seen handlers.KeyLimits
		admin.Get(path + "/limits").Want(http.StatusOK).JSON(&seen)
		var own handlers.KeyLimits
		caller.Get("/v1/me/limits").Want(http.StatusOK).JSON(&own)
		if !reflect.DeepEqual(own, seen) {
			t.Errorf("got limits %v from /v1/me; want %v as for operators", own, seen)
		}
		var states []string
		for _, l := range seen.Data {
			states = append(states, fmt.Sprintf("%s %s %d/%d %g %g %s %s", l.Policy, l.Algorithm, l.Remaining, l.Limit, l.ResetAfter, *l.RetryAfter, l.Mode, l.Charge))
		}
		return strings.Join(states, ", ")
	}
	spend := func() {
		for range 3 {
			caller.Get("/v1/products").Want(http.StatusOK)
		}
	}
	const full = "a fixed_window 10/10 3600 0 enforce requests, b fixed_window 20/20 3600 0 shadow requests"
	spend()
	if got := limits(); got != "a fixed_window 7/10 3600 0 enforce requests, b fixed_window 17/20 3600 0 shadow requests" {
		t.Errorf("after 3 requests: got %s", got)
	}
	admin.Post(path+"/reset", `{"policies":["b"]}`).Want(http.StatusNoContent)
	if got := limits(); got != "a fixed_window 7/10 3600 0 enforce requests, b fixed_window 20/20 3600 0 shadow requests" {
		t.Errorf("after the reset of b: got %s", got)
	}
	spend()
	admin.Post(path+"/reset", nil).Want(http.StatusNoContent)
	if got := limits(); got != full {
		t.Errorf("after the reset of all: got %s", got)
	}
	if got := faultsOf(admin.Post(path+"/reset", `{"policies":["a","c"]}`)); got != "/policies/1:unknown" {
		t.Errorf("got faults %s", got)
	}
	if got := faultsOf(admin.Post(path+"/reset", `{"policies":[]}`)); got != "/policies:min_items" {
		t.Errorf("got faults %s", got)
	}
	admin.Post("/v1/admin/keys/none/reset", nil).Want(http.StatusNotFound)

	spend()
	app.exec(`ALTER TABLE audit_log RENAME actor TO hidden`)
	admin.Post(path+"/reset", nil).Want(http.StatusInternalServerError)
	if got := limits(); got == full {
		t.Error("the counters were reset without an audit entry")
	}
}

func TestKeys_audit(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	key := createKey(t, admin, `{"name":"x"}`)
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
	admin.Post("/v1/admin/keys", `{"name":"not created"}`).Want(http.StatusInternalServerError)
	if keys := everyPage[handlers.Key](t, admin, "/v1/admin/keys?owner="+key.Owner); len(keys) != 1 || keys[0].Version != 1 || keys[0].ExpiresAt != nil {
		t.Fatalf("a key was changed without an audit entry: %+v", keys)
	}
	if keys := everyPage[handlers.Key](t, admin, "/v1/admin/keys?q=not+created"); len(keys) != 0 {
		t.Fatalf("a key was created without an audit entry: %+v", keys)
	}
	app.exec(`ALTER TABLE audit_log DROP CONSTRAINT broken`)
	for _, call := range calls {
		admin.Do(call.method, call.path, bodyOf(call.body), "X-Request-Id", "for-"+call.action).Want(call.status)
	}
	admin.Post(path+"/revoke", nil).Want(http.StatusOK) // changes nothing
	entries := app.audited("?target=" + key.ID)
	if len(entries) != len(calls)+1 {
		t.Fatalf("got %d entries; want %d", len(entries), len(calls)+1)
	}
	var me handlers.OwnKeyWithQuota
	admin.Get("/v1/me").Want(http.StatusOK).JSON(&me)
	for i, call := range calls {
		e := entries[len(calls)-1-i]
		if e.Action != call.action || e.Actor != me.ID || *e.RequestID != "for-"+call.action || *e.IP != "127.0.0.1" {
			t.Errorf("%s: got entry %+v", call.action, e)
		}
		if strings.Contains(string(e.Before)+string(e.After), "rl_live") {
			t.Errorf("the entry contains a secret: %+v", e)
		}
	}
	var before, after handlers.Key
	change := entries[len(calls)-1]
	if json.Unmarshal(change.Before, &before) != nil || json.Unmarshal(change.After, &after) != nil || before.Name != "x" || after.Name != "y" {
		t.Errorf("got change from %s to %s; want from x to y", change.Before, change.After)
	}
	if created := entries[len(calls)]; created.Action != "key.create" || string(created.Before) != "null" && created.Before != nil {
		t.Errorf("got entry %+v; want key.create", created)
	}
}

// bodyOf returns nil for an empty text, so that no body is sent.
func bodyOf(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func TestKeys_operator_needs_the_scopes(t *testing.T) {
	app := newApp(t)
	root := app.admin()
	operator := createKey(t, root, `{"name":"operator","scopes":["admin:keys","products:read","orders:read"],"owner":"house","plan":"internal"}`)
	as := app.As(operator.Secret)
	strong := createKey(t, root, `{"name":"strong","scopes":["products:write","products:read"]}`)
	weak := createKey(t, as, `{"name":"weak","scopes":["products:read"]}`)
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
			t.Errorf("%s: got detail %s; want it to name the scope", name, got)
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
			t.Errorf("%s: got detail %s", name, got)
		}
	}
	createKey(t, as, `{"name":"own","scopes":["products:read"],"owner":"house"}`)
	as.Do(patch, weakPath, `{"name":"still weak","scopes":["orders:read"]}`).Want(http.StatusOK)
	as.Post(weakPath+"/revoke", nil).Want(http.StatusOK)
	root.Do(patch, strongPath, `{"owner":"other"}`).Want(http.StatusOK)
}

// Without admin, a key gives only what it has.
func TestKeys_operator_gives_what_it_has(t *testing.T) {
	app := newApp(t)
	root := app.admin()
	expiry := time.Now().Add(24 * time.Hour).UTC().Truncate(time.Second)
	sooner, later := expiry.Add(-time.Hour).Format(time.RFC3339), expiry.Add(time.Hour).Format(time.RFC3339)
	operator := createKey(t, root, `{"name":"operator","scopes":["admin:keys","products:read"],"owner":"house","plan":"internal",
		"expires_at":"`+expiry.Format(time.RFC3339)+`","ip_allow":["127.0.0.0/8","2001:db8::/32"]}`)
	const override = `[{"policy":{"name":"own","algorithm":"fixed_window","limit":6,"period":"1m"}}]`
	common := `{"name":"x","scopes":["products:read"],"ip_allow":["127.0.0.1"],"expires_at":"` + sooner + `"`
	weak := createKey(t, app.As(operator.Secret), common+`,"owner":"house"}`)
	lasting := createKey(t, root, `{"name":"x","scopes":["products:read"],"owner":"house","plan":"pro","overrides":`+override+`}`)
	as, strict, loose := app.As(operator.Secret), "/v1/admin/keys/"+weak.ID, "/v1/admin/keys/"+lasting.ID
	for _, test := range []struct{ method, path, body, code string }{
		{"POST", "/v1/admin/keys", `{"name":"x","scopes":["products:read"],"ip_allow":["127.0.0.1"]}`, "admin_required"},
		{"POST", "/v1/admin/keys", `{"name":"x","scopes":["products:read"],"expires_at":"` + sooner + `"}`, "admin_required"},
		{"POST", "/v1/admin/keys", common + `,"plan":"pro"}`, "scope_missing"},
		{"POST", "/v1/admin/keys", common + `,"owner":"house","overrides":` + override + `}`, "admin_required"},
		{"POST", "/v1/admin/keys", common + `,"plan":"internal","overrides":` + override + `}`, ""},
		{patch, strict, `{"expires_at":null}`, "admin_required"},
		{patch, strict, `{"expires_at":"` + later + `"}`, "admin_required"},
		{patch, strict, `{"ip_allow":["127.0.0.1","128.0.0.1"]}`, "admin_required"},
		{patch, strict, `{"ip_allow":["126.0.0.0/7"]}`, "admin_required"},
		{patch, strict, `{"ip_allow":null}`, "admin_required"},
		{patch, strict, `{"plan":"pro"}`, "scope_missing"},
		{patch, strict, `{"overrides":` + override + `}`, "admin_required"},
		{patch, strict, `{"plan":"internal","ip_allow":["127.1.0.0/16","2001:db8::7"],"expires_at":"` + expiry.Format(time.RFC3339) + `"}`, ""},
		{patch, "/v1/admin/keys/" + operator.ID, `{"expires_at":null}`, "admin_required"},
		{patch, loose, `{"overrides":null}`, "admin_required"},
		{patch, loose, `{"name":"y","plan":"pro","overrides":` + override + `}`, ""}, // stored already
		{patch, loose, `{"expires_at":"` + later + `"}`, ""},                         // earlier than never
		{"POST", loose + "/rotate", `{}`, "admin_required"},
		{"POST", strict + "/rotate", `{}`, ""},
		{"POST", "/v1/me/rotate", `{}`, ""},
	} {
		response := as.Do(test.method, test.path, test.body)
		if test.code == "" {
			if response.Status >= 300 {
				t.Errorf("%s %s %s: got %d %s; want success", test.method, test.path, test.body, response.Status, response.Body)
			}
			continue
		}
		var problem middleware.Problem
		_ = json.Unmarshal(response.Body, &problem)
		if response.Status != http.StatusForbidden || string(problem.Code) != test.code || !strings.Contains(problem.Detail, "needs the scope admin") {
			t.Errorf("%s %s %s: got %d %s; want 403 %s", test.method, test.path, test.body, response.Status, response.Body, test.code)
		}
	}
	planner := createKey(t, root, `{"name":"planner","scopes":["admin:keys","admin:plans","products:read"]}`)
	createKey(t, app.As(planner.Secret), `{"name":"x","scopes":["products:read"],"plan":"pro"}`)
}

func TestKeys_last_admin_key(t *testing.T) {
	app := newApp(t)
	last := app.admin()
	var me handlers.OwnKeyWithQuota
	last.Get("/v1/me").Want(http.StatusOK).JSON(&me)
	path := "/v1/admin/keys/" + me.ID
	soon := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	createKey(t, last, `{"name":"expiring","scopes":["admin"],"expires_at":"`+soon+`"}`)
	createKey(t, last, `{"name":"lesser","scopes":["admin:keys"]}`)
	refused := func() {
		t.Helper()
		for name, call := range map[string]*testkit.Response{
			"revoke":  last.Post(path+"/revoke", nil),
			"expire":  last.Do(patch, path, `{"expires_at":"`+soon+`"}`),
			"descope": last.Do(patch, path, `{"scopes":["admin:keys","admin:plans"]}`),
		} {
			if got := detail(call, http.StatusConflict); !strings.Contains(got, "Create another one first") {
				t.Errorf("%s: got detail %s", name, got)
			}
		}
	}
	refused()
	other := createKey(t, last, `{"name":"other","scopes":["admin"]}`)
	last.Post("/v1/admin/keys/"+other.ID+"/revoke", nil).Want(http.StatusOK)
	refused()
	last.Do(patch, path, `{"name":"renamed"}`).Want(http.StatusOK)

	// After a rotation, the successor is the last admin key.
	var successor handlers.OwnKeyWithSecret
	last.Post("/v1/me/rotate", `{"grace":"0s"}`).Want(http.StatusCreated).JSON(&successor)
	last.Get("/v1/me").Want(http.StatusUnauthorized)
	last, path = app.As(successor.Secret), "/v1/admin/keys/"+successor.ID
	refused()
}

func TestKeys_concurrent_revocation_of_admin_keys(t *testing.T) {
	app := newApp(t)
	first := app.admin()
	second := createKey(t, first, `{"name":"second","scopes":["admin"]}`)
	var me handlers.OwnKeyWithQuota
	first.Get("/v1/me").Want(http.StatusOK).JSON(&me)
	app.As(second.Secret).Get("/v1/me").Want(http.StatusOK)

	// Both requests start before one of them can write its audit entry.
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
	app.await("both requests are blocked", func() bool {
		return app.count(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) >= 2
	})
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	calls.Wait()
	if n := app.count(`SELECT count(*) FROM api_keys WHERE revoked_at IS NULL`); n != 1 {
		t.Fatalf("got %d admin keys left; want 1", n)
	}
}

func TestKeys_rotate_for_other_owner(t *testing.T) {
	app := newApp(t)
	theirs := app.key(models.NewKey{Plan: "internal", Owner: "them", Scopes: []models.Scope{models.ScopeProductsRead}})
	path := "/v1/admin/keys/" + idOf(theirs) + "/rotate"
	manager := app.As(app.key(models.NewKey{Plan: "internal", Owner: "us", Scopes: []models.Scope{models.ScopeAdminKeys, models.ScopeProductsRead}}))
	manager.Post(path, `{}`).Want(http.StatusForbidden)
	app.admin().Post(path, `{}`).Want(http.StatusCreated)
}

func TestKeys_rotated_key_keeps_its_expiry(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	path := "/v1/admin/keys/" + idOf(app.key(models.NewKey{}))
	admin.Post(path+"/rotate", `{"grace":"1h"}`).Want(http.StatusCreated)
	admin.Do(patch, path, `{"expires_at":null}`).Want(http.StatusConflict)
	admin.Do(patch, path, `{"name":"renamed"}`).Want(http.StatusOK)
}

func TestKeys_metadata_limit_applies_to_the_result(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	id := idOf(app.key(models.NewKey{}))
	for n, want := range []int{http.StatusOK, http.StatusUnprocessableEntity} {
		labels := map[string]string{}
		for i := range 40 {
			labels[fmt.Sprintf("label-%d-%d", n, i)] = "x"
		}
		response := admin.Do(patch, "/v1/admin/keys/"+id, map[string]any{"metadata": labels}).Want(want)
		if want == http.StatusOK {
			continue
		}
		if got := faultsOf(response); got != "/metadata:max_items" {
			t.Errorf("got faults %s", got)
		}
		response = admin.Do(patch, "/v1/admin/keys/"+id, map[string]any{"metadata": labels, "plan": "none", "expires_at": "2020-01-01T00:00:00Z"})
		if got := faultsOf(response); got != "/metadata:max_items /expires_at:past /plan:unknown" {
			t.Errorf("got faults %s; want all of them", got)
		}
	}
}

// Policies of the same name, subject and different periods have separate
// counters, which don't reset each other.
func TestKeys_counters_by_policy_shape(t *testing.T) {
	app := newApp(t)
	app.plan("by-day", `[{"name":"company","algorithm":"fixed_window","limit":5,"period":"1d","per":"owner"}]`)
	app.plan("by-hour", `[{"name":"company","algorithm":"fixed_window","limit":5,"period":"1h","per":"owner"}]`)
	callers := []*testkit.Client{
		app.As(app.key(models.NewKey{Plan: "by-day", Owner: "us"})), app.As(app.key(models.NewKey{Plan: "by-hour", Owner: "us"})),
	}
	allowed := 0
	for i := range 40 {
		if callers[i%2].Get("/v1/products").Status == http.StatusOK {
			allowed++
		}
	}
	if allowed != 10 {
		t.Errorf("got %d allowed; want 5 by each plan", allowed)
	}
}
