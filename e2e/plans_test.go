package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"ratelimiter/handlers"
	"ratelimiter/internal/testkit"
	"ratelimiter/middleware"
	"ratelimiter/models"
)

const put, del = http.MethodPut, http.MethodDelete

// faultsOf returns the faults of a 422 as pointer:code.
func faultsOf(answer *testkit.Response) string {
	var problem middleware.Problem
	answer.Want(http.StatusUnprocessableEntity).JSON(&problem)
	var got []string
	for _, f := range problem.Errors {
		got = append(got, f.Pointer+":"+f.Code)
	}
	return strings.Join(got, " ")
}

// audited lists the audit, newest first, as action:target.
func (a *testApp) audited(query string) []models.AuditEntry {
	a.t.Helper()
	return everyPage[models.AuditEntry](a.t, a.admin(models.ScopeAdminAudit), "/v1/admin/audit"+query)
}

const minutely = `{"name":"minute","algorithm":"fixed_window","limit":%d,"period":"1m"}`

func minutePlan(limit int) string {
	return fmt.Sprintf(`{"description":"For tests.","policies":[`+minutely+`]}`, limit)
}

func TestAPlanIsCreatedReplacedListedAndDeleted(t *testing.T) {
	app := newApp(t)
	admin := app.admin(models.ScopeAdminPlans)
	created := admin.Do(put, "/v1/admin/plans/team", minutePlan(10)).Want(http.StatusCreated)
	if got := created.Header.Get("ETag"); got != `"1"` {
		t.Errorf("ETag %s", got)
	}
	if got := created.Header.Get("Location"); got != "/v1/admin/plans/team" {
		t.Errorf("Location %s", got)
	}
	var plan handlers.Plan
	created.JSON(&plan)
	if plan.Name != "team" || plan.Description != "For tests." || len(plan.Policies) != 1 || plan.Policies[0].Limit != 10 || plan.Version != 1 {
		t.Errorf("created %+v", plan)
	}
	replaced := admin.Do(put, "/v1/admin/plans/team", minutePlan(20)).Want(http.StatusOK)
	got := admin.Get("/v1/admin/plans/team").Want(http.StatusOK)
	if string(got.Body) != string(replaced.Body) || got.Header.Get("ETag") != `"2"` {
		t.Errorf("got %s with ETag %s; replaced with %s", got.Body, got.Header.Get("ETag"), replaced.Body)
	}
	admin.Do(put, "/v1/admin/plans/team", minutePlan(20)).Want(http.StatusOK).JSON(&plan)
	if plan.Version != 2 {
		t.Errorf("a plan that was put as it is has become version %d", plan.Version)
	}
	var names []string
	for _, p := range everyPage[handlers.Plan](t, admin, "/v1/admin/plans?limit=2") {
		names = append(names, p.Name)
	}
	if fmt.Sprint(names) != "[free internal pro team]" {
		t.Errorf("listed %v", names)
	}
	admin.Do(del, "/v1/admin/plans/team", nil).Want(http.StatusNoContent)
	admin.Do(del, "/v1/admin/plans/team", nil).Want(http.StatusNotFound)
	admin.Get("/v1/admin/plans/team").Want(http.StatusNotFound)
	admin.Get("/v1/admin/plans/%00").Want(http.StatusNotFound)
	admin.Do(del, "/v1/admin/plans/%00", nil).Want(http.StatusNotFound)
}

func TestEveryFaultOfEveryPolicyIsToldAtOnce(t *testing.T) {
	app := newApp(t)
	admin := app.admin(models.ScopeAdminPlans)
	for body, want := range map[string]string{
		`{}`:                                   "/policies:required",
		`{"policies":null,"description":null}`: "/policies:null /description:null",
		`{"policies":{},"name":"x"}`:           "/policies:type /name:unknown",
		`{"policies":[7]}`:                     "/policies/0:type",
		`{"policies":[` + fmt.Sprintf(minutely, 0) + `]}`: "/policies/0/limit:min",
		`{"policies":[{"name":"A","algorithm":"x","limit":"1","burst":3},{"name":"b","algorithm":"fixed_window","limit":5,"period":"2 minutes","group":"nowhere","Mode":"x"}],"description":5}`: "" +
			"/policies/0/limit:type /policies/1/Mode:unknown /policies/0/name:pattern /policies/0/algorithm:enum /policies/0/period:required /policies/0/burst:not_allowed /policies/1/period:pattern /policies/1/group:enum /description:type",
	} {
		if got := faultsOf(admin.Do(put, "/v1/admin/plans/team", body)); got != want {
			t.Errorf("%s:\n faults %s\n   want %s", body, got, want)
		}
	}
	if got := faultsOf(admin.Do(put, "/v1/admin/plans/No%20name", `{}`)); got != "name:pattern /policies:required" {
		t.Errorf("faults %s", got)
	}
	admin.Do(put, "/v1/admin/plans/team", `{`).Want(http.StatusBadRequest)
	ok := `{"policies":[{"name":"b","algorithm":"fixed_window","limit":5,"period":"2m","group":"orders:write"}]}`
	admin.Do(put, "/v1/admin/plans/team", ok).Want(http.StatusCreated)
}

func TestAStaleIfMatchChangesNoPlan(t *testing.T) {
	app := newApp(t)
	admin := app.admin(models.ScopeAdminPlans)
	admin.Do(put, "/v1/admin/plans/team", minutePlan(1), "If-Match", "*").Want(http.StatusPreconditionFailed)
	admin.Do(put, "/v1/admin/plans/team", minutePlan(1)).Want(http.StatusCreated)
	admin.Do(put, "/v1/admin/plans/team", minutePlan(2), "If-Match", `"7", "1"`).Want(http.StatusOK)
	for _, stale := range []string{`"1"`, `W/"2"`, `2`, `""`, ``} {
		answer := admin.Do(put, "/v1/admin/plans/team", minutePlan(3), "If-Match", stale).Want(http.StatusPreconditionFailed)
		if !strings.Contains(string(answer.Body), "the current one is 2") {
			t.Errorf("the answer doesn't tell the way out: %s", answer.Body)
		}
		admin.Do(del, "/v1/admin/plans/team", nil, "If-Match", stale).Want(http.StatusPreconditionFailed)
	}
	admin.Do(put, "/v1/admin/plans/team", minutePlan(3), "If-Match", "*").Want(http.StatusOK)
	admin.Do(put, "/v1/admin/plans/team", minutePlan(4), "If-None-Match", "*").Want(http.StatusPreconditionFailed)
	admin.Do(put, "/v1/admin/plans/fresh", minutePlan(4), "If-None-Match", "*").Want(http.StatusCreated)
	if got := faultsOf(admin.Do(put, "/v1/admin/plans/team", minutePlan(4), "If-None-Match", `"1"`)); got != "If-None-Match:enum" {
		t.Errorf("faults %s", got)
	}
	admin.Do(del, "/v1/admin/plans/team", nil, "If-Match", `"3"`).Want(http.StatusNoContent)
}

func TestAPlanInUseIsNotDeleted(t *testing.T) {
	app := newApp(t)
	admin := app.admin(models.ScopeAdminPlans)
	admin.Do(put, "/v1/admin/plans/team", minutePlan(1)).Want(http.StatusCreated)
	app.key(models.NewKey{Plan: "team"})
	answer := admin.Do(del, "/v1/admin/plans/team", nil).Want(http.StatusConflict)
	if !strings.Contains(string(answer.Body), "Move them to another plan") {
		t.Errorf("the answer doesn't tell the way out: %s", answer.Body)
	}
}

func TestAChangedPlanIsInForceWhenTheAnswerLeaves(t *testing.T) {
	app := newApp(t)
	admin := app.admin(models.ScopeAdminPlans)
	admin.Do(put, "/v1/admin/plans/team", minutePlan(100)).Want(http.StatusCreated)
	caller := app.caller("team")
	if got := caller.Get("/v1/products").Want(http.StatusOK).Header.Get("RateLimit"); got != `"minute";r=99;t=60` {
		t.Fatalf("RateLimit %s", got)
	}
	for limit := 101; limit < 150; limit++ {
		admin.Do(put, "/v1/admin/plans/team", minutePlan(limit)).Want(http.StatusOK)
		// One more was allowed, one more is spent; and what was spent stays spent.
		if got := caller.Get("/v1/products").Want(http.StatusOK).Header.Get("RateLimit"); got != `"minute";r=99;t=60` {
			t.Fatalf("after limit %d: RateLimit %s", limit, got)
		}
	}
}

func TestChangesOfPlansAreAudited(t *testing.T) {
	app := newApp(t)
	admin := app.admin(models.ScopeAdminPlans)
	admin.Do(put, "/v1/admin/plans/team", minutePlan(1), "X-Request-Id", "create").Want(http.StatusCreated)
	admin.Do(put, "/v1/admin/plans/team", minutePlan(2), "X-Request-Id", "replace").Want(http.StatusOK)
	admin.Do(put, "/v1/admin/plans/team", minutePlan(2)).Want(http.StatusOK) // changes nothing
	admin.Do(del, "/v1/admin/plans/team", nil, "X-Request-Id", "delete").Want(http.StatusNoContent)
	entries := app.audited("?target=team&limit=2")
	var told []string
	for _, e := range slices.Backward(entries) {
		var limits [2]int64
		for i, state := range []json.RawMessage{e.Before, e.After} {
			var plan handlers.Plan
			if err := json.Unmarshal(state, &plan); err != nil {
				t.Fatal(err)
			}
			if len(plan.Policies) > 0 {
				limits[i] = plan.Policies[0].Limit
			}
		}
		told = append(told, fmt.Sprint(e.Action, " ", limits, " ", *e.RequestID, " ", *e.IP))
	}
	want := "plan.create [0 1] create 127.0.0.1\nplan.replace [1 2] replace 127.0.0.1\nplan.delete [2 0] delete 127.0.0.1"
	if got := strings.Join(told, "\n"); got != want {
		t.Errorf("audited:\n%s\nwant:\n%s", got, want)
	}
}

func TestAPlanChangesOnlyIfItIsAudited(t *testing.T) {
	app := newApp(t)
	admin := app.admin(models.ScopeAdminPlans)
	admin.Do(put, "/v1/admin/plans/team", minutePlan(1)).Want(http.StatusCreated)
	app.exec(`ALTER TABLE audit_log ADD CONSTRAINT broken CHECK (false) NOT VALID`)
	admin.Do(put, "/v1/admin/plans/other", minutePlan(1)).Want(http.StatusInternalServerError)
	admin.Do(put, "/v1/admin/plans/team", minutePlan(2)).Want(http.StatusInternalServerError)
	admin.Do(del, "/v1/admin/plans/team", nil).Want(http.StatusInternalServerError)
	admin.Get("/v1/admin/plans/other").Want(http.StatusNotFound)
	var plan handlers.Plan
	admin.Get("/v1/admin/plans/team").Want(http.StatusOK).JSON(&plan)
	if plan.Version != 1 || plan.Policies[0].Limit != 1 {
		t.Errorf("the plan has changed: %+v", plan)
	}
}

func TestAPlanCannotGiveAKeyTooManyPolicies(t *testing.T) {
	app := newApp(t)
	admin := app.admin(models.ScopeAdminPlans)
	admin.Do(put, "/v1/admin/plans/team", minutePlan(1)).Want(http.StatusCreated)
	caller := app.caller("team")
	app.exec(`UPDATE api_keys SET overrides = '[{"policy":{"name":"own","algorithm":"fixed_window","limit":5,"period":"1m"},"expires_at":null,"reason":""}]' WHERE plan = 'team'`)
	var policies []string
	for i := range 16 {
		policies = append(policies, fmt.Sprintf(`{"name":"p%d","algorithm":"fixed_window","limit":5,"period":"1m"}`, i))
	}
	body := `{"policies":[` + strings.Join(policies, ",") + `]}`
	if got := faultsOf(admin.Do(put, "/v1/admin/plans/team", body)); got != "/policies:max_items" {
		t.Errorf("faults %s", got)
	}
	admin.Do(put, "/v1/admin/plans/unused", body).Want(http.StatusCreated)
	caller.Get("/v1/products").Want(http.StatusOK)
}
