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

// faultsOf returns the faults of a 422 as "pointer:code …".
func faultsOf(response *testkit.Response) string {
	var problem middleware.Problem
	response.Want(http.StatusUnprocessableEntity).JSON(&problem)
	var got []string
	for _, f := range problem.Errors {
		got = append(got, f.Pointer+":"+string(f.Code))
	}
	return strings.Join(got, " ")
}

// audited returns audit entries, newest first.
func (a *testApp) audited(query string) []models.AuditEntry {
	a.t.Helper()
	return everyPage[models.AuditEntry](a.t, a.admin(models.ScopeAdminAudit), "/v1/admin/audit"+query)
}

const minutely = `{"name":"minute","algorithm":"fixed_window","limit":%d,"period":"1m"}`

func minutePlan(limit int) string {
	return fmt.Sprintf(`{"description":"For tests.","policies":[`+minutely+`]}`, limit)
}

func TestPlans_lifecycle(t *testing.T) {
	app := newApp(t)
	admin := app.admin(models.ScopeAdminPlans)
	created := admin.Do(put, "/v1/admin/plans/team", minutePlan(10)).Want(http.StatusCreated)
	if got := created.Header.Get("ETag"); got != `"1"` {
		t.Errorf("got ETag %s", got)
	}
	if got := created.Header.Get("Location"); got != "/v1/admin/plans/team" {
		t.Errorf("got Location %s", got)
	}
	var plan handlers.Plan
	created.JSON(&plan)
	if plan.Name != "team" || plan.Description != "For tests." || len(plan.Policies) != 1 || plan.Policies[0].Limit != 10 || plan.Version != 1 {
		t.Errorf("got plan %+v", plan)
	}
	replaced := admin.Do(put, "/v1/admin/plans/team", minutePlan(20)).Want(http.StatusOK)
	got := admin.Get("/v1/admin/plans/team").Want(http.StatusOK)
	if string(got.Body) != string(replaced.Body) || got.Header.Get("ETag") != `"2"` {
		t.Errorf("got %s with ETag %s; want %s", got.Body, got.Header.Get("ETag"), replaced.Body)
	}
	admin.Do(put, "/v1/admin/plans/team", minutePlan(20)).Want(http.StatusOK).JSON(&plan)
	if plan.Version != 2 {
		t.Errorf("got version %d after an unchanged PUT; want 2", plan.Version)
	}
	var names []string
	for _, p := range everyPage[handlers.Plan](t, admin, "/v1/admin/plans?limit=2") {
		names = append(names, p.Name)
	}
	if fmt.Sprint(names) != "[free internal pro team]" {
		t.Errorf("got list %v", names)
	}
	admin.Do(del, "/v1/admin/plans/team", nil).Want(http.StatusNoContent)
	admin.Do(del, "/v1/admin/plans/team", nil).Want(http.StatusNotFound)
	admin.Get("/v1/admin/plans/team").Want(http.StatusNotFound)
	admin.Get("/v1/admin/plans/%00").Want(http.StatusNotFound)
	admin.Do(del, "/v1/admin/plans/%00", nil).Want(http.StatusNotFound)
}

func TestPlans_faults(t *testing.T) {
	app := newApp(t)
	admin := app.admin(models.ScopeAdminPlans)
	for body, want := range map[string]string{
		`{}`:                                   "/policies:required",
		`{"policies":null,"description":null}`: "/policies:null /description:null",
		`{"policies":[],"description":"a\u007f"}`:         "/description:control",
		`{"policies":{},"name":"x","key":1}`:              "/policies:type /key:unknown /name:read_only",
		`{"policies":[7]}`:                                "/policies/0:type",
		`{"policies":[` + fmt.Sprintf(minutely, 0) + `]}`: "/policies/0/limit:min",
		`{"policies":[{"name":"A","algorithm":"x","limit":"1","burst":3},{"name":"b","algorithm":"fixed_window","limit":5,"period":"2 minutes","group":"nowhere","Mode":"x"}],"description":5}`: "" +
			"/policies/0/limit:type /policies/1/Mode:unknown /policies/0/name:pattern /policies/0/algorithm:enum /policies/0/period:required /policies/0/burst:not_allowed /policies/1/period:pattern /policies/1/group:enum /description:type",
	} {
		if got := faultsOf(admin.Do(put, "/v1/admin/plans/team", body)); got != want {
			t.Errorf("%s:\n got faults %s\n       want %s", body, got, want)
		}
	}
	if got := faultsOf(admin.Do(put, "/v1/admin/plans/No%20name", `{}`)); got != "name:pattern /policies:required" {
		t.Errorf("got faults %s", got)
	}
	admin.Do(put, "/v1/admin/plans/team", `{`).Want(http.StatusBadRequest)
	ok := `{"policies":[{"name":"b","algorithm":"fixed_window","limit":5,"period":"2m","group":"orders:write"}]}`
	admin.Do(put, "/v1/admin/plans/team", ok).Want(http.StatusCreated)
}

func TestPlans_preconditions(t *testing.T) {
	app := newApp(t)
	admin := app.admin(models.ScopeAdminPlans)
	admin.Do(put, "/v1/admin/plans/team", minutePlan(1), "If-Match", "*").Want(http.StatusPreconditionFailed)
	admin.Do(put, "/v1/admin/plans/team", minutePlan(1)).Want(http.StatusCreated)
	admin.Do(put, "/v1/admin/plans/team", minutePlan(2), "If-Match", `"7", "1"`).Want(http.StatusOK)
	for _, stale := range []string{`"1"`, `W/"2"`, `2`, `""`, ``} {
		response := admin.Do(put, "/v1/admin/plans/team", minutePlan(3), "If-Match", stale).Want(http.StatusPreconditionFailed)
		if !strings.Contains(string(response.Body), "the current one is 2") {
			t.Errorf("got %s; want it to name the current version", response.Body)
		}
		admin.Do(del, "/v1/admin/plans/team", nil, "If-Match", stale).Want(http.StatusPreconditionFailed)
	}
	admin.Do(put, "/v1/admin/plans/team", minutePlan(3), "If-Match", "*").Want(http.StatusOK)
	admin.Do(put, "/v1/admin/plans/team", minutePlan(4), "If-None-Match", "*").Want(http.StatusPreconditionFailed)
	admin.Do(put, "/v1/admin/plans/fresh", minutePlan(4), "If-None-Match", "*").Want(http.StatusCreated)
	if got := faultsOf(admin.Do(put, "/v1/admin/plans/team", minutePlan(4), "If-None-Match", `"1"`)); got != "If-None-Match:enum" {
		t.Errorf("got faults %s", got)
	}
	admin.Do(del, "/v1/admin/plans/team", nil, "If-Match", `"3"`).Want(http.StatusNoContent)
}

func TestPlans_delete_in_use(t *testing.T) {
	app := newApp(t)
	admin := app.admin(models.ScopeAdminPlans)
	admin.Do(put, "/v1/admin/plans/team", minutePlan(1)).Want(http.StatusCreated)
	app.key(models.NewKey{Plan: "team"})
	response := admin.Do(del, "/v1/admin/plans/team", nil).Want(http.StatusConflict)
	if !strings.Contains(string(response.Body), "Move them to another plan") {
		t.Errorf("got %s; want it to suggest another plan", response.Body)
	}
}

func TestPlans_changes_take_effect_immediately(t *testing.T) {
	app := newApp(t)
	admin := app.admin(models.ScopeAdminPlans)
	admin.Do(put, "/v1/admin/plans/team", minutePlan(100)).Want(http.StatusCreated)
	caller := app.caller("team")
	if got := caller.Get("/v1/products").Want(http.StatusOK).Header.Get("RateLimit"); got != `"minute";r=99;t=60` {
		t.Fatalf("got RateLimit %s; want r=99", got)
	}
	for limit := 101; limit < 150; limit++ {
		admin.Do(put, "/v1/admin/plans/team", minutePlan(limit)).Want(http.StatusOK)
		// The limit and the spent units both increase by one.
		if got := caller.Get("/v1/products").Want(http.StatusOK).Header.Get("RateLimit"); got != `"minute";r=99;t=60` {
			t.Fatalf("limit %d: got RateLimit %s; want r=99", limit, got)
		}
	}
}

func TestPlans_audit(t *testing.T) {
	app := newApp(t)
	admin := app.admin(models.ScopeAdminPlans)
	admin.Do(put, "/v1/admin/plans/team", minutePlan(1), "X-Request-Id", "create").Want(http.StatusCreated)
	admin.Do(put, "/v1/admin/plans/team", minutePlan(2), "X-Request-Id", "replace").Want(http.StatusOK)
	admin.Do(put, "/v1/admin/plans/team", minutePlan(2)).Want(http.StatusOK) // changes nothing
	admin.Do(del, "/v1/admin/plans/team", nil, "X-Request-Id", "delete").Want(http.StatusNoContent)
	entries := app.audited("?target=team&limit=2")
	var audited []string
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
		audited = append(audited, fmt.Sprint(e.Action, " ", limits, " ", *e.RequestID, " ", *e.IP))
	}
	want := "plan.create [0 1] create 127.0.0.1\nplan.replace [1 2] replace 127.0.0.1\nplan.delete [2 0] delete 127.0.0.1"
	if got := strings.Join(audited, "\n"); got != want {
		t.Errorf("got audit\n%s\nwant\n%s", got, want)
	}
}

func TestPlans_unchanged_if_audit_fails(t *testing.T) {
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
		t.Errorf("got plan %+v; want it unchanged", plan)
	}
}

func TestPlans_policies_per_key(t *testing.T) {
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
		t.Errorf("got faults %s", got)
	}
	admin.Do(put, "/v1/admin/plans/unused", body).Want(http.StatusCreated)
	caller.Get("/v1/products").Want(http.StatusOK)
}
