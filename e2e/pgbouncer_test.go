package e2e

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/testkit"
)

// ignored makes PgBouncer ignore startup parameters that it refuses by default.
const ignored = "ignore_startup_parameters=statement_timeout,idle_in_transaction_session_timeout"

// emptyDatabase creates a database without tables and returns its URL.
func emptyDatabase(t *testing.T) string {
	t.Helper()
	address := testkit.DatabaseURL(t)
	execute(t, address, `DROP SCHEMA public CASCADE; CREATE SCHEMA public`)
	return address
}

// TestServer_behind_PgBouncer runs instances that reach Postgres through
// PgBouncer in transaction mode.
func TestServer_behind_PgBouncer(t *testing.T) {
	t.Parallel()
	for name, settings := range map[string][]string{"refuses parameters": nil, "ignores parameters": {ignored}} {
		t.Run(name, func(t *testing.T) {
			address := emptyDatabase(t)
			pooler := "DATABASE_URL=" + testkit.NewPgBouncer(t, address, settings...)
			env := []string{pooler, "DATABASE_LISTEN_URL=" + address, "KEY_PEPPER=" + testPepper, "DATA_DIR=" + t.TempDir()}
			if code, _, stderr := runProgram(t, []string{pooler, "KEY_PEPPER=" + testPepper}, "migrate"); code != 1 ||
				!strings.Contains(stderr, "DATABASE_LISTEN_URL") || strings.Count(stderr, "\n") != 1 {
				t.Fatalf("migrate without a direct connection: got exit code %d: %s", code, stderr)
			}
			a := serveProcess(t, env...)
			admin := a.As(readDevKeys(t, strings.TrimPrefix(env[3], "DATA_DIR=")).Admin)
			b := serveProcess(t, append(env[:3:3], "DATA_DIR="+t.TempDir())...)
			polling := serveProcess(t, pooler, env[2], "DATA_DIR="+t.TempDir())
			for instance, want := range map[*process]int{a: 0, b: 0, polling: 1} {
				if got := strings.Count(instance.stderr.String(), "DATABASE_LISTEN_URL"); got != want {
					t.Errorf("got %d warnings about a missing direct connection; want %d:\n%s", got, want, instance.stderr)
				}
			}

			admin.Do(http.MethodPut, "/v1/admin/plans/calendar", map[string]any{"policies": []any{
				map[string]any{"name": "year", "algorithm": "calendar", "limit": 200, "period": "month", "charge": "requests"},
			}}).Want(http.StatusCreated)
			calendar, orders, revoked := newKey(t, admin, "calendar"), newKey(t, admin, "internal"), newKey(t, admin, "internal")

			(&testApp{t: t}).await("every retention job has run", func() bool { return jobsRun(t, address) == 10 })

			// A key is known to, and ended on, every instance.
			app := &testApp{t: t}
			for _, instance := range []*process{b, polling} {
				instance.As(revoked.Key).Get("/v1/products").Want(http.StatusOK)
			}
			admin.Post("/v1/admin/keys/"+revoked.ID+"/revoke", nil).Want(http.StatusOK)
			for _, instance := range []*process{b, polling} {
				app.await("the revocation is in force", func() bool { return instance.As(revoked.Key).Get("/v1/products").Status == http.StatusUnauthorized })
			}

			clients(t, []*process{a, b}, calendar.Key, orders.Key)
			app.await("the usage is written", func() bool {
				return strings.Contains(string(a.As(calendar.Key).Get("/v1/me/usage?bucket=day").Body), `"requests":320,`)
			})
			for _, instance := range []*process{a, b, polling} {
				if log := instance.stderr.String(); strings.Contains(log, `"level":"ERROR"`) {
					t.Errorf("got errors in the log:\n%s", log)
				}
			}
		})
	}
}

// newKey creates a key by API.
func newKey(t *testing.T, admin *testkit.Client, plan string) (key createdKey) {
	t.Helper()
	response := admin.Post("/v1/admin/keys", map[string]any{"name": "k", "plan": plan}).Want(http.StatusCreated)
	if err := json.Unmarshal(response.Body, &key); err != nil {
		t.Fatal(err)
	}
	return key
}

// clients sends 320 requests under a calendar quota of 200 and 160 orders, each
// twice, by 32 clients at once.
func clients(t *testing.T, instances []*process, calendar, orders string) {
	t.Helper()
	var admitted, replayed atomic.Int64
	var running sync.WaitGroup
	for client := range 32 {
		instance, other := instances[client%2], instances[(client+1)%2]
		running.Go(func() {
			for i := range 10 {
				switch got := instance.As(calendar).Get("/v1/products"); got.Status {
				case http.StatusOK:
					admitted.Add(1)
				case http.StatusTooManyRequests:
				default:
					t.Errorf("calendar quota: got %d %s", got.Status, got.Body)
				}
				if i%2 == 1 {
					continue
				}
				order := map[string]any{
					"items": []any{map[string]any{"product_id": "prd_0y5apuf8zs", "quantity": 1}}, "email": "a@example.com", "payment_token": "tok_ok",
				}
				key := "order-" + strconv.Itoa(client) + "-" + strconv.Itoa(i)
				for _, p := range []*process{instance, other} {
					placed := p.As(orders).Post("/v1/orders", order, "Idempotency-Key", key)
					if placed.Status == http.StatusCreated && placed.Header.Get("Idempotency-Replayed") == "true" {
						replayed.Add(1)
					} else if placed.Status != http.StatusCreated {
						t.Errorf("order: got %d %s", placed.Status, placed.Body)
					}
				}
			}
		})
	}
	running.Wait()
	if n := admitted.Load(); n > 200 || n < 190 || replayed.Load() != 160 {
		t.Errorf("got %d requests admitted and %d orders replayed; want 190 to 200, and 160", n, replayed.Load())
	}
}

// jobsRun returns how many jobs of the periodic work have run.
func jobsRun(t *testing.T, address string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	err = conn.QueryRow(t.Context(), `SELECT count(DISTINCT args) FROM river_job WHERE kind = 'periodic' AND state = 'completed'`).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
