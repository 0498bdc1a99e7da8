package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"ratelimiter/handlers"
	"ratelimiter/internal/testkit"
	"ratelimiter/middleware"
	"ratelimiter/models"
)

// code returns the code of a problem. The response must have this status.
func code(response *testkit.Response, status int) string {
	var problem middleware.Problem
	response.Want(status).JSON(&problem)
	return string(problem.Code)
}

// A suspended key gets 403 on every instance. Its requests cost nothing, aren't
// recorded, and don't make its address suspicious.
func TestKeys_suspend(t *testing.T) {
	countsAlone(t)
	apps := twoApps(t)
	admin := apps[0].admin()
	apps[0].plan("ten", `[{"name":"ten","algorithm":"fixed_window","limit":10,"period":"1h"}]`)
	key := createKey(t, admin, `{"name":"k","plan":"ten"}`)
	path := "/v1/admin/keys/" + key.ID
	here, there := apps[0].As(key.Secret), apps[1].As(key.Secret)
	here.Get("/v1/products").Want(http.StatusOK)
	there.Get("/v1/me").Want(http.StatusOK) // cached on both

	var suspended handlers.Key
	admin.Post(path+"/suspend", nil).Want(http.StatusOK).JSON(&suspended)
	if suspended.Status != models.KeySuspended {
		t.Errorf("got %+v", suspended)
	}
	at := time.Now()
	apps[1].await("the other instance rejects the key", func() bool { return there.Get("/v1/me/limits").Status == http.StatusForbidden }) // free until then
	if took := time.Since(at); took > boundNotified {
		t.Errorf("the suspension took %s; want at most %s", took, boundNotified)
	}
	for range 25 { // more failures than an address may have
		response := here.Get("/v1/products")
		if got := code(response, http.StatusForbidden); got != "key_suspended" || response.Header.Get("RateLimit") != "" {
			t.Fatalf("got code %s, header %v", got, response.Header)
		}
	}
	if keys := everyPage[handlers.Key](t, admin, "/v1/admin/keys?status=suspended"); len(keys) != 1 || keys[0].ID != key.ID {
		t.Errorf("got suspended keys %+v", keys)
	}
	if got := code(admin.Post(path+"/rotate", nil), http.StatusConflict); got != "key_suspended" {
		t.Errorf("rotate: got code %s", got)
	}

	admin.Post(path+"/resume", nil).Want(http.StatusOK)
	if got := here.Get("/v1/products").Want(http.StatusOK).Header.Get("RateLimit"); !strings.HasPrefix(got, `"ten";r=8;`) {
		t.Errorf("got RateLimit %s; want 8 left", got)
	}
	apps[1].await("the other instance accepts the key", func() bool { return there.Get("/v1/me").Status == http.StatusOK })
	if got := awaitUsage(t, here, "/v1/me/usage", 2).total(); got != [4]int64{2, 2, 0, 2} {
		t.Errorf("got usage %v; want the two requests before and after", got)
	}
	admin.Post(path+"/revoke", nil).Want(http.StatusOK)
	if got := code(admin.Post(path+"/resume", nil), http.StatusConflict); got != "key_ended" {
		t.Errorf("resume a revoked key: got code %s", got)
	}
	here.Get("/v1/products").Want(http.StatusUnauthorized)
}

// A thief rotates a stolen key as often as it can; one revocation of any key of the
// chain ends them all.
func TestKeys_stolen_key(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	stolen := createKey(t, admin, `{"name":"stolen"}`)
	secrets := []string{stolen.Secret}
	for {
		response := app.As(secrets[len(secrets)-1]).Post("/v1/me/rotate", `{"grace":"7d"}`)
		if response.Status != http.StatusCreated {
			var problem middleware.QuotaProblem
			response.Want(http.StatusTooManyRequests).JSON(&problem)
			if problem.Code != "too_many_rotations" || response.Header.Get("Retry-After") == "" || *problem.RetryAfter > 3600 ||
				!slices.Equal(problem.ViolatedPolicies, []string{"rotations"}) {
				t.Errorf("got %s, header %v", response.Body, response.Header)
			}
			break
		}
		var successor handlers.OwnKeyWithSecret
		response.JSON(&successor)
		secrets = append(secrets, successor.Secret)
	}
	working := func() (n int) {
		for _, secret := range secrets {
			if app.As(secret).Get("/v1/me").Status == http.StatusOK {
				n++
			}
			app.clock.Advance(time.Minute) // the failures of this address are forgotten
		}
		return n
	}
	if n := working(); len(secrets) != 11 || n != 2 {
		t.Errorf("got %d keys, %d of which work; want 11 and 2", len(secrets), n)
	}
	admin.Post("/v1/admin/keys/"+stolen.ID+"/revoke", nil).Want(http.StatusOK)
	if n := working(); n != 0 {
		t.Errorf("got %d keys that work after the revocation", n)
	}
}

func TestKeys_revoke_by_owner_or_subject(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	const path = "/v1/admin/keys/revoke"
	first, second := createKey(t, admin, `{"name":"a","owner":"o"}`), createKey(t, admin, `{"name":"b","owner":"o"}`)
	other := createKey(t, admin, `{"name":"c"}`)
	app.As(first.Secret).Get("/v1/me").Want(http.StatusOK)
	for body, want := range map[string]int{`{"subject":"` + second.ID + `"}`: 1, `{"owner":"none"}`: 0} {
		var revoked handlers.RevokedKeys
		if admin.Post(path, body).Want(http.StatusOK).JSON(&revoked); revoked.Revoked != want {
			t.Errorf("%s: got %d revoked; want %d", body, revoked.Revoked, want)
		}
	}
	var revoked handlers.RevokedKeys
	if admin.Post(path, `{"owner":"o"}`).Want(http.StatusOK).JSON(&revoked); revoked.Revoked != 1 {
		t.Errorf("got %d revoked of the owner; want the first", revoked.Revoked)
	}
	app.As(first.Secret).Get("/v1/me").Want(http.StatusUnauthorized)
	app.As(other.Secret).Get("/v1/me").Want(http.StatusOK)
	for body, want := range map[string]string{
		`{}`:                          "/owner:required",
		`{"owner":"o","subject":"s"}`: "/subject:not_allowed",
		`{"owner":"","subject":null}`: "/owner:min_length /subject:null",
		`{"id":"x"}`:                  "/id:unknown /owner:required",
	} {
		if got := faultsOf(admin.Post(path, body)); got != want {
			t.Errorf("%s: got faults %s; want %s", body, got, want)
		}
	}
	if got := faultsOf(admin.Post("/v1/admin/keys/"+other.ID+"/revoke", `{"chain":1}`)); got != "/chain:type" {
		t.Errorf("got faults %s", got)
	}
	for _, body := range []any{`{"chain":false}`, `{}`, nil} {
		admin.Post("/v1/admin/keys/"+other.ID+"/revoke", body).Want(http.StatusOK)
	}
}

// Every text that is stored, or shown to others, is refused with control characters
// or invisible ones.
func TestTexts_without_control_characters(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	caller := app.caller("internal", models.ScopeOrdersWrite, models.ScopeLimitsCheck)
	key := "/v1/admin/keys/" + createKey(t, admin, `{"name":"k"}`).ID
	const override = `"overrides":[{"policy":{"name":"a","algorithm":"fixed_window","limit":5,"period":"1m"},"reason":"X"}]`
	for _, hidden := range []string{`\t`, `\u001b`, `\u007f`, `\u009b`, `\u061c`, `\u200b`, `\u200e`, `\u2028`, `\u202e`, `\u2066`, `\ufeff`, `\udb40\udc41`} {
		for _, test := range []struct {
			as                       *testkit.Client
			method, path, body, want string
		}{
			{admin, "POST", "/v1/admin/keys", `{"name":"X","owner":"X","metadata":{"a":"X"},` + override + `}`, "/name /owner /metadata/a /overrides/0/reason"},
			{admin, patch, key, `{"name":"X","owner":"X","metadata":{"a":"X"},` + override + `}`, "/name /owner /metadata/a /overrides/0/reason"},
			{admin, "PUT", "/v1/admin/plans/p", `{"description":"X","policies":[]}`, "/description"},
			{caller, "POST", "/v1/limits/check", `{"subject":"X","plan":"free"}`, "/subject"},
			{caller, "POST", "/v1/orders", `{"items":[{"product_id":"X","quantity":1}],"email":"X@example.com","payment_token":"X"}`, "/items/0/product_id /email /payment_token"},
		} {
			got := faultsOf(test.as.Do(test.method, test.path, strings.ReplaceAll(test.body, "X", "a"+hidden+"b")))
			if got = strings.ReplaceAll(got, ":control", ""); got != test.want {
				t.Errorf("%s: %s %s: got faults %s; want control at %s", hidden, test.method, test.path, got, test.want)
			}
		}
	}
}
