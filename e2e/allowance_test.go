package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ratelimiter/internal/testkit"
	"ratelimiter/middleware"
	"ratelimiter/models"
)

// monthly is a policy with a limit of 100.
const monthly = `[{"name":"monthly","algorithm":"calendar","limit":100,"period":"month"}]`

// remaining returns what is left of a caller's only policy.
func remaining(t *testing.T, c *testkit.Client) int64 {
	t.Helper()
	var limits struct{ Data []models.Limit }
	c.Get("/v1/me/limits").Want(http.StatusOK).JSON(&limits)
	return limits.Data[0].Remaining
}

// spendAll sends requests to the instances in turn until all of them refuse one, and
// returns the number of those that were admitted.
func spendAll(t *testing.T, key string, apps [2]*testApp) int {
	t.Helper()
	admitted := 0
	for {
		refused := 0
		for _, app := range apps {
			switch status := app.As(key).Get("/v1/products").Status; status {
			case http.StatusOK:
				admitted++
			case http.StatusTooManyRequests:
				refused++
			default:
				t.Fatalf("got status %d", status)
			}
		}
		if refused == len(apps) {
			return admitted
		}
	}
}

// today sets an app's clock to the time of the database, by which the counters of
// periods that ended long ago are deleted.
func today(a *testApp) *testApp {
	a.clock.Advance(time.Since(a.clock.Now()))
	return a
}

func TestAllowance_two_instances(t *testing.T) {
	t.Parallel()
	apps := twoApps(t)
	today(apps[0])
	today(apps[1])
	apps[0].plan("p", monthly)
	key := apps[0].key(models.NewKey{Plan: "p"})
	if n := spendAll(t, key, apps); n != 100 {
		t.Errorf("two instances admitted %d requests together, want 100", n)
	}
	admin := apps[0].admin()
	raised := `{"policies":[{"name":"monthly","algorithm":"calendar","limit":150,"period":"month"}]}`
	admin.Do(http.MethodPut, "/v1/admin/plans/p", raised).Want(http.StatusOK)
	if !poll(func() bool { return apps[1].As(key).Get("/v1/products").Status == http.StatusOK }) {
		t.Fatal("a raised limit isn't in force")
	}
	if n := spendAll(t, key, apps); n != 49 {
		t.Errorf("admitted %d more after the limit was raised by 50, want 49", n)
	}
	lowered := `{"policies":[{"name":"monthly","algorithm":"calendar","limit":120,"period":"month"}]}`
	admin.Do(http.MethodPut, "/v1/admin/plans/p", lowered).Want(http.StatusOK)
	admin.Post("/v1/admin/keys/"+idOf(key)+"/reset", nil).Want(http.StatusNoContent)
	if !poll(func() bool { return apps[1].As(key).Get("/v1/products").Status == http.StatusOK }) {
		t.Fatal("the reset on one instance isn't in force on the other")
	}
	if n := spendAll(t, key, apps); n != 119 {
		t.Errorf("admitted %d more after a reset and a limit of 120, want 119", n)
	}
}

func TestAllowance_restart(t *testing.T) {
	database := testkit.DatabaseURL(t)
	first := today(newApp(t, onDatabase(database)))
	first.plan("p", `[{"name":"monthly","algorithm":"calendar","limit":10000,"period":"month"}]`)
	key := first.key(models.NewKey{Plan: "p"})
	for range 7 {
		first.As(key).Get("/v1/products").Want(http.StatusOK)
	}
	first.As(key).Get("/v1/products/unknown").Want(http.StatusNotFound) // refunded
	if err := first.app.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	second := today(newApp(t, onDatabase(database)))
	if got := remaining(t, second.As(key)); got != 9993 {
		t.Errorf("%d units remain after a restart, want 9993", got)
	}
}

func withDataDir(path string) appOption { return func(o *appOptions) { o.config.DataDir = path } }

// TestCounters_restart checks that an orderly restart keeps counters of all
// algorithms, and that a crash after it doesn't bring an older state back.
func TestCounters_restart(t *testing.T) {
	countsAlone(t)
	database, folder := testkit.DatabaseURL(t), t.TempDir()
	start := func() *testApp { return newApp(t, onDatabase(database), withDataDir(folder)) }
	first := start()
	first.plan("p", `[{"name":"hour","algorithm":"sliding_window","limit":100,"period":"1h"}]`)
	key := first.key(models.NewKey{Plan: "p"})
	first.As(key).Get("/v1/products").Want(http.StatusOK)
	check := `{"subject":"s","plan":"p","cost":40}`
	checker := first.key(models.NewKey{Plan: "internal", Scopes: []models.Scope{models.ScopeLimitsCheck}})
	first.As(checker).Post("/v1/limits/check", check).Want(http.StatusOK)
	if err := first.app.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}

	second := start()
	if got := remaining(t, second.As(key)); got != 99 {
		t.Errorf("%d units remain after a restart, want 99", got)
	}
	var checked struct{ Limits []models.Limit }
	if err := json.Unmarshal(second.As(checker).Post("/v1/limits/check", check).Want(http.StatusOK).Body, &checked); err != nil {
		t.Fatal(err)
	}
	if got := checked.Limits[0].Remaining; got != 20 {
		t.Errorf("%d units of a caller's subject remain after a restart, want 20", got)
	}
	third := start() // as after a crash of the second
	if got := remaining(t, third.As(key)); got != 100 {
		t.Errorf("%d units remain after a crash, want 100", got)
	}
}

// TestCounters_unusable_file checks that a start survives a damaged file.
func TestCounters_unusable_file(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "counters-of-keys"), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	app := newApp(t, withDataDir(folder))
	if !strings.Contains(app.log.String(), "counters not restored") {
		t.Errorf("want a warning in the log\n%s", app.log)
	}
}

// TestAllowance_killed checks the bound of what a SIGKILL wastes: 2 % of the limit.
func TestAllowance_killed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := serveProcess(t, "DATA_DIR="+dir)
	key := readDevKeys(t, dir).Demo
	of := func(p *process) int64 {
		var limits struct{ Data []models.Limit }
		p.As(key).Get("/v1/me/limits").Want(http.StatusOK).JSON(&limits)
		for _, l := range limits.Data {
			if l.Policy == "monthly" {
				return l.Remaining
			}
		}
		t.Fatal("no policy monthly")
		return 0
	}
	for range 5 {
		server.As(key).Get("/v1/products").Want(http.StatusOK)
	}
	before := of(server)
	pid := postgresPID(t, dir)
	server.end(syscall.SIGKILL)
	awaitEnd(t, pid)
	again := serveProcess(t, "DATA_DIR="+dir)
	if after := of(again); before != 9995 || after > before || after < before-200 {
		t.Errorf("%d of 10000 units remain before the kill and %d after, want 9995 and at most 200 less", before, after)
	}
}

func TestAllowance_database_down(t *testing.T) {
	app, proxy := appBehindProxy(t)
	today(app)
	app.plan("p", `[{"name":"monthly","algorithm":"calendar","limit":1000,"period":"month"}]`)
	caller := app.caller("p")
	caller.Get("/v1/products").Want(http.StatusOK) // leases 0.5 %, which is 5 units
	proxy.Cut()
	for range 4 {
		caller.Get("/v1/products").Want(http.StatusOK)
	}
	response := caller.Get("/v1/products").Want(http.StatusServiceUnavailable)
	if response.Header.Get("Retry-After") == "" {
		t.Error("want Retry-After in the 503")
	}
	var got middleware.Problem
	if response.JSON(&got); got.Code != "quota_unavailable" {
		t.Errorf("got code %q, want quota_unavailable", got.Code)
	}
	if got := remaining(t, caller); got != 995 {
		t.Errorf("%d units remain as far as is known, want 995", got)
	}
	proxy.Mend()
	deadline := time.Now().Add(20 * time.Second)
	for caller.Get("/v1/products").Status != http.StatusOK {
		if time.Now().After(deadline) {
			t.Fatal("the quota is still unavailable")
		}
	}
}
