package e2e

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// limitState is the state of one policy in a response. It is declared here, not
// imported from handlers, so that renaming a field fails the tests.
type limitState struct {
	Policy     string   `json:"policy"`
	Algorithm  string   `json:"algorithm"`
	Limit      int64    `json:"limit"`
	Remaining  int64    `json:"remaining"`
	ResetAfter float64  `json:"reset_after"`
	RetryAfter *float64 `json:"retry_after"`
	Mode       string   `json:"mode"`
	Charge     string   `json:"charge"`
}

type checkResponse struct {
	Allowed          bool         `json:"allowed"`
	Limits           []limitState `json:"limits"`
	ViolatedPolicies []string     `json:"violated_policies"`
	RetryAfter       *float64     `json:"retry_after"`
	Wait             float64      `json:"wait"`
	Reservation      *string      `json:"reservation"`
	ExpiresAt        *time.Time   `json:"expires_at"`
}

func checker(app *testApp, owner string) *testkit.Client {
	return app.As(app.key(models.NewKey{Plan: "internal", Owner: owner, Scopes: []models.Scope{models.ScopeLimitsCheck}}))
}

// decide sends a check or reserve request, which must succeed.
func decide(caller *testkit.Client, what, subject, plan string, cost int) checkResponse {
	var response checkResponse
	caller.Post("/v1/limits/"+what, map[string]any{"subject": subject, "plan": plan, "cost": cost}).Want(http.StatusOK).JSON(&response)
	return response
}

const hourly = `[{"name":"hourly","algorithm":"fixed_window","limit":10,"period":"1h"}]`

func TestCheck_separate_counters(t *testing.T) {
	app := newApp(t)
	app.plan("hourly", hourly)
	app.plan("other", hourly)
	caller := checker(app, "me")
	if got := decide(caller, "check", "tenant", "hourly", 4); !got.Allowed || len(got.Limits) != 1 || got.Limits[0].Remaining != 6 ||
		got.Limits[0].Limit != 10 || got.Limits[0].ResetAfter != 3600 || got.Limits[0].Algorithm != "fixed_window" ||
		got.Limits[0].Mode != "enforce" || got.Limits[0].Charge != "requests" || *got.RetryAfter != 0 {
		t.Errorf("first check: got %+v", got)
	}
	refused := decide(caller, "check", "tenant", "hourly", 7)
	if refused.Allowed || refused.Limits[0].Remaining != 6 || strings.Join(refused.ViolatedPolicies, ",") != "hourly" || *refused.RetryAfter != 3600 {
		t.Errorf("refused check: got %+v", refused)
	}
	if never := decide(caller, "check", "tenant", "hourly", 11); never.Allowed || never.RetryAfter != nil {
		t.Errorf("check above the capacity: got %+v", never)
	}
	for name, difference := range map[string]int64{
		"the same subject":   decide(caller, "check", "tenant", "hourly", 0).Limits[0].Remaining - 6,
		"another subject":    decide(caller, "check", "tenant2", "hourly", 0).Limits[0].Remaining - 10,
		"another plan":       decide(caller, "check", "tenant", "other", 0).Limits[0].Remaining - 10,
		"another owner":      decide(checker(app, "you"), "check", "tenant", "hourly", 0).Limits[0].Remaining - 10,
		"a key of the owner": decide(checker(app, "me"), "check", "tenant", "hourly", 0).Limits[0].Remaining - 6,
	} {
		if difference != 0 {
			t.Errorf("%s: got %+d units more than want", name, difference)
		}
	}
}

// A subject may equal the identifier of other counters.
func TestCheck_does_not_affect_keys(t *testing.T) {
	app := newApp(t)
	app.plan("hourly", hourly)
	text := app.key(models.NewKey{Name: "shop", Plan: "hourly", Owner: "me"})
	caller := checker(app, "me")
	for _, subject := range []string{idOf(text), "me", text, `"me" "hourly"`} {
		decide(caller, "check", subject, "hourly", 10)
	}
	if got := app.As(text).Get("/v1/products").Want(http.StatusOK).Header.Get("RateLimit"); got != `"hourly";r=9;t=3600` {
		t.Errorf("got RateLimit %s; want r=9", got)
	}
}

func TestCheck_parallel(t *testing.T) {
	app := newApp(t)
	app.plan("hourly", hourly)
	caller := checker(app, "me")
	var allowed atomic.Int64
	var calls sync.WaitGroup
	for range 50 {
		calls.Go(func() {
			if decide(caller, "check", "tenant", "hourly", 1).Allowed {
				allowed.Add(1)
			}
		})
	}
	calls.Wait()
	if allowed.Load() != 10 {
		t.Fatalf("got %d allowed; want 10", allowed.Load())
	}
}

func TestReservation_commit_and_release(t *testing.T) {
	app := newApp(t)
	app.plan("hourly", hourly)
	caller, other := checker(app, "me"), checker(app, "you")
	remaining := func() int64 { return decide(caller, "check", "tenant", "hourly", 0).Limits[0].Remaining }

	first := decide(caller, "reserve", "tenant", "hourly", 6)
	if !first.Allowed || first.Reservation == nil || first.ExpiresAt == nil || remaining() != 4 {
		t.Fatalf("got reservation %+v, %d remaining; want 4", first, remaining())
	}
	if refused := decide(caller, "reserve", "tenant", "hourly", 6); refused.Allowed || refused.Reservation != nil || refused.ExpiresAt != nil {
		t.Errorf("second reservation: got %+v; want a refusal", refused)
	}
	commit := map[string]any{"reservation": *first.Reservation, "cost": 1_000_001}
	caller.Post("/v1/limits/commit", commit).Want(http.StatusUnprocessableEntity) // more than the largest cost
	commit["cost"] = 2
	other.Post("/v1/limits/commit", commit).Want(http.StatusNotFound)
	caller.Post("/v1/limits/commit", commit).Want(http.StatusNoContent)
	if remaining() != 8 {
		t.Errorf("got %d remaining; want 8", remaining())
	}
	caller.Post("/v1/limits/commit", commit).Want(http.StatusNotFound)
	caller.Post("/v1/limits/release", map[string]any{"reservation": *first.Reservation}).Want(http.StatusNotFound)

	second := decide(caller, "reserve", "tenant", "hourly", 8)
	release := map[string]any{"reservation": *second.Reservation}
	other.Post("/v1/limits/release", release).Want(http.StatusNotFound)
	var released atomic.Int64
	var calls sync.WaitGroup
	for range 20 {
		calls.Go(func() {
			if caller.Post("/v1/limits/release", release).Status == http.StatusNoContent {
				released.Add(1)
			}
		})
	}
	calls.Wait()
	if released.Load() != 1 || remaining() != 8 {
		t.Errorf("got %d releases, %d remaining; want 1 and 8", released.Load(), remaining())
	}
}

func TestReservation_debt(t *testing.T) {
	app := newApp(t)
	app.plan("hourly", hourly)
	caller := checker(app, "me")
	reserved := decide(caller, "reserve", "tenant", "hourly", 3)
	caller.Post("/v1/limits/commit", map[string]any{"reservation": *reserved.Reservation, "cost": 14}).Want(http.StatusNoContent)
	if got := decide(caller, "check", "tenant", "hourly", 1); got.Allowed || got.Limits[0].Remaining != 0 || *got.RetryAfter != 3600 {
		t.Errorf("check in debt: got %+v", got)
	}
	app.clock.Advance(time.Hour)
	if got := decide(caller, "check", "tenant", "hourly", 0).Limits[0].Remaining; got != 10 {
		t.Errorf("next window: got %d remaining; want 10", got)
	}
}

func TestReservation_expires(t *testing.T) {
	countsAlone(t)
	app := newApp(t)
	app.plan("slots", `[{"name":"parallel","algorithm":"concurrency","limit":2,"hold":"30s"}]`)
	caller := checker(app, "me")
	abandoned := decide(caller, "reserve", "tenant", "slots", 1)
	kept := decide(caller, "reserve", "tenant", "slots", 1)
	if decide(caller, "reserve", "tenant", "slots", 1).Allowed {
		t.Fatal("a third reservation of two slots is allowed")
	}
	caller.Post("/v1/limits/release", map[string]any{"reservation": *kept.Reservation}).Want(http.StatusNoContent)
	if !decide(caller, "reserve", "tenant", "slots", 1).Allowed {
		t.Error("a released slot isn't available")
	}
	if want := app.clock.Now().Add(30 * time.Second); !abandoned.ExpiresAt.Equal(want) {
		t.Errorf("got expiry %s; want %s", abandoned.ExpiresAt, want)
	}
	app.clock.Advance(30 * time.Second)
	caller.Post("/v1/limits/release", map[string]any{"reservation": *abandoned.Reservation}).Want(http.StatusNotFound)
	for range 2 {
		if !decide(caller, "reserve", "tenant", "slots", 1).Allowed {
			t.Error("an expired slot isn't available")
		}
	}
}

func TestCheck_invalid_input(t *testing.T) {
	app := newApp(t)
	app.plan("slots", `[{"name":"parallel","algorithm":"concurrency","limit":2}]`)
	caller := checker(app, "me")
	for body, want := range map[string]string{
		`{}`: "/subject:required /plan:required",
		`{"subject":"` + strings.Repeat("ü", 129) + `","plan":"free","cost":-1}`: "/subject:max_length /cost:min",
		`{"subject":"s","plan":"free","cost":1000001}`:                           "/cost:max",
		`{"subject":"s","plan":"none"}`:                                          "/plan:unknown",
		`{"subject":"s","plan":"slots"}`:                                         "/plan:concurrency",
		`{"subject":"s","plan":"free","cost":null}`:                              "/cost:null",
	} {
		if got := faultsOf(caller.Post("/v1/limits/check", body)); got != want {
			t.Errorf("%s: got faults %s; want %s", body, got, want)
		}
	}
	caller.Post("/v1/limits/check", `{"subject":"`+strings.Repeat("ü", 128)+`","plan":"free"}`).Want(http.StatusOK)
	caller.Post("/v1/limits/commit", `{"reservation":"x"}`).Want(http.StatusUnprocessableEntity)
	app.caller("internal").Post("/v1/limits/check", `{"subject":"s","plan":"free"}`).Want(http.StatusForbidden)
}
