package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ratelimiter/internal/testkit"
	"ratelimiter/middleware"
	"ratelimiter/models"
)

// limitAnswer is one policy in an answer, spelled here and not taken from
// handlers, so that a renamed field fails.
type limitAnswer struct {
	Policy     string   `json:"policy"`
	Algorithm  string   `json:"algorithm"`
	Limit      int64    `json:"limit"`
	Remaining  int64    `json:"remaining"`
	ResetAfter float64  `json:"reset_after"`
	RetryAfter *float64 `json:"retry_after"`
	Mode       string   `json:"mode"`
	Charge     string   `json:"charge"`
}

type checkAnswer struct {
	Allowed          bool          `json:"allowed"`
	Limits           []limitAnswer `json:"limits"`
	ViolatedPolicies []string      `json:"violated_policies"`
	RetryAfter       *float64      `json:"retry_after"`
	Wait             float64       `json:"wait"`
	Reservation      *string       `json:"reservation"`
	ExpiresAt        *time.Time    `json:"expires_at"`
}

func checker(app *testApp, owner string) *testkit.Client {
	return app.As(app.key(models.NewKey{Plan: "internal", Owner: owner, Scopes: []models.Scope{models.ScopeLimitsCheck}}))
}

func ask(caller *testkit.Client, what, subject, plan string, cost int) checkAnswer {
	var answer checkAnswer
	caller.Post("/v1/limits/"+what, map[string]any{"subject": subject, "plan": plan, "cost": cost}).Want(http.StatusOK).JSON(&answer)
	return answer
}

const hourly = `[{"name":"hourly","algorithm":"fixed_window","limit":10,"period":"1h"}]`

func TestACheckTakesFromCountersOfItsOwn(t *testing.T) {
	app := newApp(t)
	app.plan("hourly", hourly)
	app.plan("other", hourly)
	caller := checker(app, "me")
	if got := ask(caller, "check", "tenant", "hourly", 4); !got.Allowed || len(got.Limits) != 1 || got.Limits[0].Remaining != 6 ||
		got.Limits[0].Limit != 10 || got.Limits[0].ResetAfter != 3600 || got.Limits[0].Algorithm != "fixed_window" ||
		got.Limits[0].Mode != "enforce" || got.Limits[0].Charge != "requests" || *got.RetryAfter != 0 {
		t.Errorf("first check: %+v", got)
	}
	refused := ask(caller, "check", "tenant", "hourly", 7)
	if refused.Allowed || refused.Limits[0].Remaining != 6 || strings.Join(refused.ViolatedPolicies, ",") != "hourly" || *refused.RetryAfter != 3600 {
		t.Errorf("refused check: %+v", refused)
	}
	if never := ask(caller, "check", "tenant", "hourly", 11); never.Allowed || never.RetryAfter != nil {
		t.Errorf("a check above the capacity: %+v", never)
	}
	for name, remaining := range map[string]int64{
		"the same subject":   ask(caller, "check", "tenant", "hourly", 0).Limits[0].Remaining - 6,
		"another subject":    ask(caller, "check", "tenant2", "hourly", 0).Limits[0].Remaining - 10,
		"another plan":       ask(caller, "check", "tenant", "other", 0).Limits[0].Remaining - 10,
		"another owner":      ask(checker(app, "you"), "check", "tenant", "hourly", 0).Limits[0].Remaining - 10,
		"a key of the owner": ask(checker(app, "me"), "check", "tenant", "hourly", 0).Limits[0].Remaining - 6,
	} {
		if remaining != 0 {
			t.Errorf("%s: %+d units away from what must remain", name, remaining)
		}
	}
}

// A check's subject may be written like anything else that has counters.
func TestACheckNeverTouchesAKeysCounters(t *testing.T) {
	app := newApp(t)
	app.plan("hourly", hourly)
	text := app.key(models.NewKey{Name: "shop", Plan: "hourly", Owner: "me"})
	var id string
	if err := app.db.QueryRow(t.Context(), `SELECT id FROM api_keys WHERE name = 'shop'`).Scan(&id); err != nil {
		t.Fatal(err)
	}
	caller := checker(app, "me")
	for _, subject := range []string{id, "me", text, `"me" "hourly"`} {
		ask(caller, "check", subject, "hourly", 10)
	}
	if got := app.As(text).Get("/v1/products").Want(http.StatusOK).Header.Get("RateLimit"); got != `"hourly";r=9;t=3600` {
		t.Errorf("RateLimit %s", got)
	}
}

func TestParallelChecksAreExact(t *testing.T) {
	app := newApp(t)
	app.plan("hourly", hourly)
	caller := checker(app, "me")
	var allowed atomic.Int64
	var calls sync.WaitGroup
	for range 50 {
		calls.Go(func() {
			if ask(caller, "check", "tenant", "hourly", 1).Allowed {
				allowed.Add(1)
			}
		})
	}
	calls.Wait()
	if allowed.Load() != 10 {
		t.Fatalf("%d were allowed; want 10", allowed.Load())
	}
}

func TestAReservationIsCommittedOrReleasedOnce(t *testing.T) {
	app := newApp(t)
	app.plan("hourly", hourly)
	caller, other := checker(app, "me"), checker(app, "you")
	remaining := func() int64 { return ask(caller, "check", "tenant", "hourly", 0).Limits[0].Remaining }

	first := ask(caller, "reserve", "tenant", "hourly", 6)
	if !first.Allowed || first.Reservation == nil || first.ExpiresAt == nil || remaining() != 4 {
		t.Fatalf("reserved %+v; %d remain", first, remaining())
	}
	if refused := ask(caller, "reserve", "tenant", "hourly", 6); refused.Allowed || refused.Reservation != nil || refused.ExpiresAt != nil {
		t.Errorf("refused %+v", refused)
	}
	commit := map[string]any{"reservation": *first.Reservation, "cost": 1_000_001}
	caller.Post("/v1/limits/commit", commit).Want(http.StatusUnprocessableEntity) // more than the largest cost
	commit["cost"] = 2
	other.Post("/v1/limits/commit", commit).Want(http.StatusNotFound)
	caller.Post("/v1/limits/commit", commit).Want(http.StatusNoContent)
	if remaining() != 8 {
		t.Errorf("%d remain; want 8", remaining())
	}
	caller.Post("/v1/limits/commit", commit).Want(http.StatusNotFound)
	caller.Post("/v1/limits/release", map[string]any{"reservation": *first.Reservation}).Want(http.StatusNotFound)

	second := ask(caller, "reserve", "tenant", "hourly", 8)
	release := map[string]any{"reservation": *second.Reservation}
	other.Post("/v1/limits/release", release).Want(http.StatusNotFound)
	var ended atomic.Int64
	var calls sync.WaitGroup
	for range 20 {
		calls.Go(func() {
			if caller.Post("/v1/limits/release", release).Status == http.StatusNoContent {
				ended.Add(1)
			}
		})
	}
	calls.Wait()
	if ended.Load() != 1 || remaining() != 8 {
		t.Errorf("released %d times; %d remain, want 8", ended.Load(), remaining())
	}
}

func TestReservations_debt(t *testing.T) {
	app := newApp(t)
	app.plan("hourly", hourly)
	caller := checker(app, "me")
	reserved := ask(caller, "reserve", "tenant", "hourly", 3)
	caller.Post("/v1/limits/commit", map[string]any{"reservation": *reserved.Reservation, "cost": 14}).Want(http.StatusNoContent)
	if got := ask(caller, "check", "tenant", "hourly", 1); got.Allowed || got.Limits[0].Remaining != 0 || *got.RetryAfter != 3600 {
		t.Errorf("a check in debt: %+v", got)
	}
	app.clock.Advance(time.Hour)
	if got := ask(caller, "check", "tenant", "hourly", 0).Limits[0].Remaining; got != 10 {
		t.Errorf("%d remain in the next window; want 10", got)
	}
}

func TestAForgottenReservationExpires(t *testing.T) {
	app := newApp(t)
	app.plan("slots", `[{"name":"parallel","algorithm":"concurrency","limit":2,"hold":"30s"}]`)
	caller := checker(app, "me")
	forgotten := ask(caller, "reserve", "tenant", "slots", 1)
	kept := ask(caller, "reserve", "tenant", "slots", 1)
	if ask(caller, "reserve", "tenant", "slots", 1).Allowed {
		t.Fatal("a third slot of two was given out")
	}
	caller.Post("/v1/limits/release", map[string]any{"reservation": *kept.Reservation}).Want(http.StatusNoContent)
	if !ask(caller, "reserve", "tenant", "slots", 1).Allowed {
		t.Error("a released slot is not free")
	}
	if want := app.clock.Now().Add(30 * time.Second); !forgotten.ExpiresAt.Equal(want) {
		t.Errorf("expires at %s; want %s", forgotten.ExpiresAt, want)
	}
	app.clock.Advance(30 * time.Second)
	caller.Post("/v1/limits/release", map[string]any{"reservation": *forgotten.Reservation}).Want(http.StatusNotFound)
	for range 2 {
		if !ask(caller, "reserve", "tenant", "slots", 1).Allowed {
			t.Error("an expired slot is not free")
		}
	}
}

func TestAWrongCheckIsToldWhatIsWrong(t *testing.T) {
	app := newApp(t)
	app.plan("slots", `[{"name":"parallel","algorithm":"concurrency","limit":2}]`)
	caller := checker(app, "me")
	for body, faults := range map[string]string{
		`{}`: "/subject:required /plan:required",
		`{"subject":"` + strings.Repeat("ü", 129) + `","plan":"free","cost":-1}`: "/subject:max_length /cost:min",
		`{"subject":"s","plan":"free","cost":1000001}`:                           "/cost:max",
		`{"subject":"s","plan":"none"}`:                                          "/plan:unknown",
		`{"subject":"s","plan":"slots"}`:                                         "/plan:concurrency",
		`{"subject":"s","plan":"free","cost":null}`:                              "/cost:null",
	} {
		var problem middleware.Problem
		caller.Post("/v1/limits/check", body).Want(http.StatusUnprocessableEntity).JSON(&problem)
		var got []string
		for _, f := range problem.Errors {
			got = append(got, fmt.Sprintf("%s:%s", f.Pointer, f.Code))
		}
		if strings.Join(got, " ") != faults {
			t.Errorf("%s: %v; want %s", body, got, faults)
		}
	}
	caller.Post("/v1/limits/check", `{"subject":"`+strings.Repeat("ü", 128)+`","plan":"free"}`).Want(http.StatusOK)
	caller.Post("/v1/limits/commit", `{"reservation":"x"}`).Want(http.StatusUnprocessableEntity)
	app.caller("internal").Post("/v1/limits/check", `{"subject":"s","plan":"free"}`).Want(http.StatusForbidden)
}
